"""Task after task, no image kept: python examples/continual.py logs/model-20000
data_numpy_dir/omniglot.npy
"""

import sys

import numpy as np

from hypertransformer.datasets.specs import shuffled_classes
from hypertransformer.learners import ContinualLearner

checkpoint, data = sys.argv[1:]
with ContinualLearner(
  checkpoint
) as learner:  # --continual_scenario=class_incremental --mixed_queries
  k = learner.num_labels
  images = np.load(data)
  images = images[
    shuffled_classes(len(images), seed=2022)[-3 * k :]
  ]  # not trained on, see few_shot.py
  for start in (0, k, 2 * k):
    learner.learn(images[start : start + k, 0], np.arange(start, start + k))
    predicted = learner.predict(np.concatenate(images[: start + k, 1:6]))
    right = np.mean(predicted == np.repeat(np.arange(start + k), 5))
    print(f'{learner.num_tasks} tasks, {start + k} classes, accuracy: {right}')
  learner.save('learned.npz')  # goes on in another process: learner.load('learned.npz')
