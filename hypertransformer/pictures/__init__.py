"""Draw what a model does with NumPy and Pillow: episodes, kernels, attention, accuracies.

Every picture is a uint8 array [height, width, 3], white where nothing is. It is as wide as
TensorBoard shows pictures (canvas.WIDTH), so that it is read there without enlarging it. Only the
heat map of a long sequence is wider.
"""
