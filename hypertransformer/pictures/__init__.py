"""Pictures of what a model does, drawn with NumPy and Pillow: episodes, kernels, attention, scores.

Every picture is a uint8 array [height, width, 3], white where nothing is. It is at most as wide as
TensorBoard shows a picture (canvas.WIDTH), so that it is read there without enlarging it.
"""
