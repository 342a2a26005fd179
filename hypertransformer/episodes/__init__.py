"""Episodes: how tasks are sampled from a dataset, and how their images are changed and delivered.

sampling.py samples the images of an episode, augmentation.py changes them at random, pipeline.py
delivers the result as tensors, and sequences.py cuts episodes into sequences of tasks.
"""
