"""Measure the accuracy of a learner on small query batches, and on tasks with fewer classes.

  python experiments/small_batches.py --data=./data_numpy_dir/omniglot.npy --ways=5 LOG_DIR ...

It prints a row for each directory: the accuracy in % on tasks of unseen classes (1200-1622 of
shuffle seed 2022) with one support image per class, by the size of the query batch, with the
support images added to small batches and without (bare). Intervals are 95 % over tasks.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.data.specs import shuffled_classes
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners import FewShotLearner

DATA = flags.DEFINE_string('data', './data_numpy_dir/omniglot.npy', 'The images.')
WAYS = flags.DEFINE_integer('ways', 0, 'Classes of a task; 0: as many as in training.')
TASKS = flags.DEFINE_integer('tasks', 200, 'The number of tasks.')
SIZES = (1, 2, 5, 25, 100)  # images of a query batch
QUERIES = 100  # query images of a task, in batches


def accuracies(learner: FewShotLearner, images: np.ndarray, ways: int, seed: int) -> list[float]:
  """Return the accuracies on one task: for each size with support images, then for each bare."""
  rng = np.random.default_rng(seed)
  task = images[rng.permutation(len(images))[:ways]]
  sample = np.stack([rng.permutation(task.shape[1]) for _ in range(ways)])
  each = np.arange(ways)
  learner.fit(task[each, sample[:, 0]], each)
  place = rng.integers(1, task.shape[1], QUERIES)
  labels = rng.permutation(np.arange(QUERIES) % ways)
  queries = task[labels, sample[labels, place]]
  found = []
  for bare in (False, True):
    for size in SIZES:
      right = [
        learner.predict(queries[start : start + size], bare) == labels[start : start + size]
        for start in range(0, QUERIES, size)
      ]
      found.append(float(np.mean(np.concatenate(right))))
  return found


def main(argv: list[str]) -> None:
  """Print a row for each directory."""
  images = np.load(DATA.value)
  images = images[shuffled_classes(len(images), seed=2022)[1200:]]
  print('| model | ways | ' + ' | '.join([*map(str, SIZES), *(f'{n} bare' for n in SIZES)]) + ' |')
  for folder in argv[1:]:
    with FewShotLearner(folder) as learner:
      ways = WAYS.value or learner.num_labels
      table = np.array([accuracies(learner, images, ways, seed) for seed in range(TASKS.value)])
    cells = ['{:.1f} +- {:.1f}'.format(*(100 * x for x in mean_and_ci95(row))) for row in table.T]
    print(f'| {pathlib.Path(folder).name} | {ways} | ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
  app.run(main)
