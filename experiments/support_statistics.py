"""Compare estimates of the batch-norm statistics that a learner freezes at `fit`.

  python experiments/support_statistics.py --data=./data_numpy_dir/omniglot.npy --ways=5 MODEL ...

It prints a row for each model and each estimate: the difference in points to the accuracy with the
statistics of a query batch of 100 images, on tasks of the validation classes (1150-1199 of shuffle
seed 2022) or, with --split=test, on those of the test classes. Intervals are 95 %, paired by tasks.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import numpy as np
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

import tensorflow.compat.v1 as tf

from hypertransformer.data.specs import shuffled_classes
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners import FewShotLearner
from hypertransformer.model.hypertransformer import CnnWeights, HyperTransformer

DATA = flags.DEFINE_string('data', './data_numpy_dir/omniglot.npy', 'The images.')
SPLIT = flags.DEFINE_enum('split', 'val', ['val', 'test'], 'The classes.')
WAYS = flags.DEFINE_integer('ways', 5, 'Classes of a task.')
TASKS = flags.DEFINE_integer('tasks', 300, 'The number of tasks.')
CLASSES = {'val': slice(1150, 1200), 'test': slice(1200, None)}
QUERIES, HELD_OUT, OTHERS = 100, 5, 10  # images of a query batch; samples of each class

STRAIGHT = [(1, 0), (-1, 0), (0, 1), (0, -1)]
DIAGONAL = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
others: np.ndarray = np.zeros(0)  # further images of the task's classes, which no learner has


def shifted(images: tf.Tensor, moves: list[tuple[int, int]], pixels: int) -> list[tf.Tensor]:
  """Return the images, and copies that are moved in each direction."""
  return [images, *(tf.roll(images, (pixels * y, pixels * x), (1, 2)) for y, x in moves)]


def scaled(images: tf.Tensor, factor: float) -> tf.Tensor:
  """Return the images at another scale about their center, on the same background."""
  side, background = images.shape[1], tf.reduce_min(images)
  offset = (side - 1) / 2 * (1 - 1 / factor)
  transform = tf.constant([[1 / factor, 0, offset, 0, 1 / factor, offset, 0, 0]])
  moved = tf.raw_ops.ImageProjectiveTransformV3(
    images=images - background,
    transforms=tf.tile(transform, [tf.shape(images)[0], 1]),
    output_shape=[side, side],
    fill_value=0.0,
    interpolation='BILINEAR',
  )
  return tf.ensure_shape(moved + background, images.shape)


def with_others(images: tf.Tensor) -> list[tf.Tensor]:
  """Return other images of the same classes: what a perfect estimate would know."""
  found = tf.numpy_function(lambda: (others / 127.5 - 1).astype(np.float32), [], tf.float32)
  return [tf.ensure_shape(found, [None, *images.shape[1:]])]


ESTIMATES = {
  'support images': lambda images: [images],
  'shifted by 3 pixels, four directions': lambda images: shifted(images, STRAIGHT, 3),
  'shifted by 3 pixels, eight directions': lambda images: shifted(images, STRAIGHT + DIAGONAL, 3),
  'shifted by 5 pixels, four directions': lambda images: shifted(images, STRAIGHT, 5),
  'shifted, and scaled by 0.85 and 1.15': lambda images: [
    *shifted(images, STRAIGHT, 3), scaled(images, 0.85), scaled(images, 1.15)
  ],
  'ten other images of each class': with_others,
}  # fmt: skip


def frozen_by(estimate: str) -> None:
  """Let all learners that are opened from now on use an estimate."""

  def freeze(model: HyperTransformer, weights: CnnWeights, images: tf.Tensor) -> CnnWeights:
    seen = model.classify(tf.concat(ESTIMATES[estimate](images), 0), weights).statistics
    return dataclasses.replace(weights, statistics=tf.stack([tf.stack(each) for each in seen]))

  HyperTransformer.freeze = freeze  # type: ignore[assignment, method-assign]


def accuracies(name: str, statistics: str, images: np.ndarray) -> np.ndarray:
  """Return the accuracy on each task."""
  global others
  found = []
  with FewShotLearner(name, statistics) as learner:
    for seed in range(TASKS.value):
      rng = np.random.default_rng(seed)
      task = images[rng.permutation(len(images))[: WAYS.value]]
      task = np.stack([each[rng.permutation(len(each))] for each in task])
      shots = learner.shots
      others = np.concatenate(task[:, shots : shots + OTHERS])
      labels: np.ndarray = np.arange(QUERIES) % WAYS.value
      queries = task[labels, -rng.integers(1, HELD_OUT + 1, QUERIES)]
      fitted = learner.fit(np.concatenate(task[:, :shots]), np.arange(WAYS.value).repeat(shots))
      found.append(np.mean(fitted.predict(queries) == labels))
  return np.array(found)


def main(argv: list[str]) -> None:
  """Print a row for each model and each estimate."""
  images = np.load(DATA.value)
  images = images[shuffled_classes(len(images), seed=2022)[CLASSES[SPLIT.value]]]
  print('| model | statistics | difference, points |')
  for name in argv[1:]:
    batch = accuracies(name, 'query', images)
    for estimate in ESTIMATES:
      frozen_by(estimate)
      mean, ci95 = mean_and_ci95(100 * (accuracies(name, 'support', images) - batch))
      print(f'| {name} | {estimate} | {mean:.1f} ± {ci95:.1f} |', flush=True)


if __name__ == '__main__':
  app.run(main)
