"""Learns new characters from few images each, with a model that comes with the package.

  python examples/few_shot.py
  python examples/few_shot.py CHECKPOINT IMAGES.npy     # a model and images of your own

The characters in examples/data were never trained on: they are among the test classes of Omniglot.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from hypertransformer.learners import FewShotLearner

DRAWINGS = pathlib.Path(__file__).resolve().parent / 'data' / 'omniglot_unseen.npz'


def accuracy(learner: FewShotLearner, images: np.ndarray, seed: int) -> float:
  """The share of right answers on one task, 0..1.

  It is learned from as many images of each class as the model was trained for (fewer would do, and
  be worse), and asked for five others, or for as many as there are.

  Args:
    learner: a trained model.
    images: uint8 [classes, samples, height, width, channels], of classes that are new to it, with
      two samples at least.
    seed: which classes and samples are drawn.
  """
  rng = np.random.default_rng(seed)
  task = images[rng.permutation(len(images))[: learner.num_labels]]
  sample = rng.permutation(images.shape[1])
  names = [f'class {number}' for number in range(len(task))]
  shots = min(learner.shots, len(sample) - 1)
  learner.fit(np.concatenate(task[:, sample[:shots]]), np.repeat(names, shots))
  others = sample[shots : shots + 5]
  predicted = learner.predict(np.concatenate(task[:, others]))
  return float(np.mean(predicted == np.repeat(names, len(others))))


def main() -> None:
  """Prints the mean accuracy on ten tasks."""
  if len(sys.argv) > 1:
    learner, images = FewShotLearner(sys.argv[1]), np.load(sys.argv[2])
  else:
    learner, images = FewShotLearner.pretrained('omniglot_1shot'), np.load(DRAWINGS)['images']
  with learner:
    tasks = [accuracy(learner, images, seed) for seed in range(10)]
  print(f'{learner.num_labels}-way {learner.shots}-shot, 10 tasks, accuracy: {np.mean(tasks)}')


if __name__ == '__main__':
  main()
