"""Learns new classes task after task, without keeping an image, with a model that has been trained.

  python examples/continual.py logs data_numpy_dir/omniglot.npy

The model must have been trained with --continual_scenario=class_incremental --mixed_queries.
"""

import sys

import numpy as np

from hypertransformer.datasets.specs import shuffled_classes
from hypertransformer.learners import ContinualLearner

checkpoint, data = sys.argv[1:]
with ContinualLearner(checkpoint) as learner:
  k = learner.num_labels  # classes of a task
  images = np.load(data)  # uint8 [classes, samples, height, width, channels]
  # The order of classes in the scripts of Omniglot, which train on the first 1,150.
  order = shuffled_classes(len(images), seed=2022)
  images = images[order[-3 * k :]]
  for start in (0, k, 2 * k):
    learner.learn(images[start : start + k, 0], np.arange(start, start + k))
    predicted = learner.predict(np.concatenate(images[: start + k, 1:6]))
    right = np.mean(predicted == np.repeat(np.arange(start + k), 5))
    print(f'{learner.num_tasks} tasks, {start + k} classes, accuracy: {right}')
  learner.save('learned.npz')  # another process can go on: learner.load('learned.npz')
