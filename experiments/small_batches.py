"""Measure the accuracy of learners by the query batch, and with unequal support sets.

  python experiments/small_batches.py --data=./data_numpy_dir/omniglot.npy --ways=5 MODEL ...
  python experiments/small_batches.py --ways=5 --support=15,1,1,1,1 --batches=100 omniglot_1shot

MODEL is the name of a packaged model or a directory. It prints a row for each model and each value
of batch_statistics: the accuracy in % on tasks of unseen classes (1200-1622 of shuffle seed 2022),
by the images of a query batch. A model of sequences learns --sequence tasks, and chooses among the
classes of all. Intervals are 95 % over tasks or sequences; all rows have the same ones.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

from hypertransformer.data import files
from hypertransformer.data.specs import shuffled_classes
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners import ContinualLearner, FewShotLearner
from hypertransformer.settings import flags_file

DATA = flags.DEFINE_string('data', './data_numpy_dir/omniglot.npy', 'The images.')
WAYS = flags.DEFINE_integer('ways', 0, 'Classes of a task; 0: as many as in training.')
SUPPORT = flags.DEFINE_list('support', [], 'Support images of each class; empty: as in training.')
SEQUENCE = flags.DEFINE_integer('sequence', 5, 'Tasks of a sequence.')
TASKS = flags.DEFINE_integer('tasks', 200, 'The number of tasks or sequences.')
BATCHES = flags.DEFINE_list('batches', ['1', 'one class', '2', '25', '100'], 'Keys of SIZES.')
SIZES = {'1': 1, 'one class': 0, '2': 2, '25': 25, '100': 100}  # images of a query batch
QUERIES, HELD_OUT = 100, 5  # query images of a task; samples of each class from which they are


def opened(name: str, statistics: str) -> FewShotLearner | ContinualLearner:
  """Open a packaged model, or that in a directory."""
  folder = files.checkpoint(name)
  if flags_file.read_settings(folder).continual is None:
    return FewShotLearner(folder, statistics)
  return ContinualLearner(folder, statistics)


def learned(learner: FewShotLearner | ContinualLearner, task: np.ndarray) -> None:
  """Learn from the first samples of each class; task [all classes, samples, H, W, C]."""
  ways = WAYS.value or learner.num_labels
  support = [int(size) for size in SUPPORT.value] or [learner.shots] * ways
  for first in range(0, len(task), ways):
    shown = np.concatenate([task[first + k, :size] for k, size in enumerate(support)])
    labels: np.ndarray = np.repeat(np.arange(first, first + ways), support)
    (learner.learn if isinstance(learner, ContinualLearner) else learner.fit)(shown, labels)


def accuracies(
  learner: FewShotLearner | ContinualLearner, images: np.ndarray, seed: int
) -> list[float]:
  """Return the accuracies on one task or sequence by the size of the query batches."""
  rng = np.random.default_rng(seed)
  length = SEQUENCE.value if isinstance(learner, ContinualLearner) else 1
  total = length * (WAYS.value or learner.num_labels)
  task = images[rng.permutation(len(images))[:total]]
  task = np.stack([each[rng.permutation(len(each))] for each in task])
  learned(learner, task)
  labels: np.ndarray = rng.permutation(np.arange(QUERIES) % total)
  queries = task[labels, -rng.integers(1, HELD_OUT + 1, QUERIES)]
  found = []
  for size in (SIZES[name] for name in BATCHES.value):
    batches = [np.flatnonzero(labels == k) for k in range(total)]  # of one class each
    if size:
      batches = np.split(np.arange(QUERIES), range(size, QUERIES, size))
    right = [learner.predict(queries[batch]) == labels[batch] for batch in batches]
    found.append(float(np.mean(np.concatenate(right))))
  return found


def main(argv: list[str]) -> None:
  """Print a row for each model and each kind of statistics."""
  images = np.load(DATA.value)
  images = images[shuffled_classes(len(images), seed=2022)[1200:]]
  print(f'| model | batch_statistics | {" | ".join(BATCHES.value)} |')
  for name in argv[1:]:
    for statistics in ('support', 'query'):
      with opened(name, statistics) as learner:
        new = vars(learner).copy()  # a learner of sequences remembers all tasks until it is new
        rows = []
        for seed in range(TASKS.value):
          vars(learner).update(new)
          rows.append(accuracies(learner, images, seed))
      cells = [
        '{:.1f} ± {:.1f}'.format(*(100 * x for x in mean_and_ci95(row)))
        for row in np.transpose(rows)
      ]
      print(f'| {pathlib.Path(name).name} | {statistics} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  app.run(main)
