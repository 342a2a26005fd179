"""Learns new classes from one image each, with a model that has been trained.

python examples/few_shot.py logs data_numpy_dir/omniglot.npy
"""

import sys

import numpy as np

from hypertransformer.datasets.specs import shuffled_classes
from hypertransformer.learners import FewShotLearner

checkpoint, data = sys.argv[1:]
with FewShotLearner(checkpoint) as learner:
  images = np.load(data)  # uint8 [classes, samples, height, width, channels]
  # The order of classes in the scripts of Omniglot, which train on the first 1,150.
  order = shuffled_classes(len(images), seed=2022)
  images = images[order[-learner.num_labels :]]
  names = [f'class {number}' for number in range(learner.num_labels)]
  learner.fit(images[:, 0], names)  # one image of each class
  predicted = learner.predict(np.concatenate(images[:, 1:6]))
  print('accuracy:', np.mean(predicted == np.repeat(names, 5)))
