"""Learns new classes task after task, without keeping an image, with a model that has been trained.

  python examples/continual.py
  python examples/continual.py CHECKPOINT IMAGES.npy     # a model and images of your own

The model should have been trained with --continual_scenario=class_incremental --mixed_queries.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from hypertransformer.learners import ContinualLearner

DRAWINGS = pathlib.Path(__file__).resolve().parent / 'data' / 'omniglot_unseen.npz'
TASKS = 3


def accuracies(learner: ContinualLearner, images: np.ndarray, seed: int) -> list[float]:
  """The share of right answers among the classes of all tasks so far, after each task, 0..1.

  Args:
    learner: a trained model that has learned nothing yet.
    images: uint8 [classes, samples, height, width, channels], of classes that are new to it.
    seed: which classes and samples are drawn.
  """
  rng = np.random.default_rng(seed)
  k = learner.num_labels  # classes of a task
  chosen = images[rng.permutation(len(images))[: TASKS * k]]
  sample = rng.permutation(images.shape[1])
  found = []
  for end in range(k, TASKS * k + 1, k):
    learner.learn(chosen[end - k : end, sample[0]], np.arange(end - k, end))
    predicted = learner.predict(np.concatenate(chosen[:end, sample[1:6]]))  # five others of each
    found.append(float(np.mean(predicted == np.repeat(np.arange(end), 5))))
  return found


def main() -> None:
  """Prints the accuracy after each of three tasks, and keeps what was learned."""
  if len(sys.argv) > 1:
    learner, images = ContinualLearner(sys.argv[1]), np.load(sys.argv[2])
  else:
    learner, images = ContinualLearner.pretrained('omniglot_continual'), np.load(DRAWINGS)['images']
  with learner:
    for number, accuracy in enumerate(accuracies(learner, images, seed=0), start=1):
      print(f'{number} tasks, {number * learner.num_labels} classes, accuracy: {accuracy}')
    learner.save('learned.npz')  # another process can continue: learner.load('learned.npz')


if __name__ == '__main__':
  main()
