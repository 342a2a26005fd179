"""Measure how much the weights of a Continual HyperTransformer depend on the task, and to what use.

  python experiments/task_dependence.py --data_numpy_dir=./data_numpy_dir LOG_DIR [LOG_DIR ...]

Tasks are sampled in pairs, and the model learns each as the first task of a sequence. Printed are

- for each layer, the relative change of its weights (the trained part included) from one task to
  the other: see pictures/kernels.py;
- the accuracy on the second task with its own weights, and with the weights of the first task, used
  for the prototypes and for the queries alike. If both are equal, the change is of no use.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import app, flags

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.errors import require
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners.engine import Engine, find
from hypertransformer.pictures.kernels import relative_change
from hypertransformer.settings.config import CONTINUAL_METHODS

FOLDER = flags.DEFINE_string('data_numpy_dir', './data_numpy_dir', 'Directory with the dataset.')
DATASET = flags.DEFINE_string(
  'dataset', 'omniglot:1200-1622', 'Dataset, and classes that were not trained on, NAME:0-9.'
)
PAIRS = flags.DEFINE_integer('pairs', 300, 'The number of pairs of tasks.')


class Probe:
  """A checkpoint, and the tasks that it is shown."""

  def __init__(self, folder: str) -> None:
    """Open the newest checkpoint of a run.

    Raises:
      InputError: it is not of a Continual HyperTransformer, or the dataset does not fit it.
    """
    found = find(folder)
    settings = found.settings
    method = settings.continual and settings.continual.method
    require(method == CONTINUAL_METHODS[0], f'{folder} is of continual_method={method}.')
    episodes = dataclasses.replace(
      settings.episodes, query_samples=25, unlabeled_per_class=0, balanced=True, disjoint_query=True
    )
    data = DataFolder(FOLDER.value, settings.data.shuffle_labels_seed).open(DATASET.value)
    shape = data.arrays.image_shape
    require(
      shape == found.image_shape,
      f'{DATASET.value} has images {shape}, the model takes {found.image_shape}: convert it.',
    )
    self.engine = Engine(found, 'query')
    self.sampler = EpisodeSampler(data, episodes, seed=1, stream=0)

  def images(self, rows: np.ndarray) -> np.ndarray:
    """Return images by their rows, float32 [n, H, W, C] in 0..255."""
    return self.sampler.class_set.arrays.gather(rows).astype(np.float32)

  def blocks(self, task: Draw) -> dict[str, Any]:
    """Return the weights after learning a task as the first one of a sequence."""
    support = self.images(task.support_rows)
    return self.engine.learn(support, task.support_labels, self.engine.no_blocks()).blocks

  def accuracy(self, task: Draw, blocks: dict[str, Any]) -> float:
    """Return the accuracy on a task with these weights for prototypes and queries."""
    unused = self.engine.no_statistics
    outputs = self.engine.outputs(self.images(task.support_rows), blocks, unused)
    classes = range(task.support_labels.max() + 1)
    prototypes = np.stack([outputs[task.support_labels == k].mean(axis=0) for k in classes])
    scores = self.engine.scores(self.images(task.query_rows), blocks, unused, prototypes)
    return float(np.mean(scores.argmax(axis=1) == task.query_positions))

  def pair(self, number: int) -> tuple[list[float], list[float]]:
    """Return the changes of the layers and the accuracies (own, other) of a pair of tasks."""
    first, second = (self.sampler.draw(2 * number + each) for each in range(2))
    before, after = self.blocks(first), self.blocks(second)
    changes = [relative_change(after[name], before[name]) for name in after]
    return changes, [self.accuracy(second, blocks) for blocks in (after, before)]


def report(folder: str) -> str:
  """Measure the newest checkpoint of a run and describe it in a line."""
  probe = Probe(folder)
  changes, accuracies = zip(*(probe.pair(number) for number in range(PAIRS.value)), strict=True)
  own, other = np.array(accuracies).T
  texts = [
    '{:.1f} ± {:.1f}'.format(*(100 * x for x in mean_and_ci95(each)))
    for each in (own, other, own - other)
  ]
  change = '  '.join(f'{100 * layer:.1f}' for layer in np.mean(changes, axis=0))
  return (
    f'{folder}: change of the weights by layer, %: {change}; accuracy, %: own {texts[0]}, '
    f'of the other task {texts[1]}, difference {texts[2]}'
  )


def main(argv: list[str]) -> None:
  """Print a line for each directory of the command line."""
  with cli.exit_on_bad_input():
    for folder in argv[1:]:
      print(report(folder), flush=True)


if __name__ == '__main__':
  app.run(main)
