"""Measures how much the weights of a Continual HyperTransformer depend on the task, and what for.

  python experiments/task_dependence.py --data_numpy_dir=./data_numpy_dir LOG_DIR [LOG_DIR ...]

Tasks are drawn in pairs, and the model learns each as the first task of a sequence. Printed are

- for each layer, how much its weights (the trained part included) change from one task to the
  other, in % of their mean size;
- the accuracy on the second task with its own weights, and with the weights of the first task, used
  for the prototypes and for the queries alike. If both are equal, the change of the weights is of
  no use.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import app, flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners.engine import Blocks, Engine, find
from hypertransformer.settings.config import CONTINUAL_METHODS, EpisodeConfig

FOLDER = flags.DEFINE_string('data_numpy_dir', './data_numpy_dir', 'folder with the dataset')
DATASET = flags.DEFINE_string(
  'dataset', 'omniglot:1200-1622', 'dataset, and classes of it that were not trained on: NAME:0-9'
)
PAIRS = flags.DEFINE_integer('pairs', 300, 'pairs of tasks that are drawn')


@dataclasses.dataclass(frozen=True)
class Task:
  """One task, as arrays.

  Attributes:
    support: support images, float32 [Ns, H, W, C] in 0..255.
    support_labels: their labels, int [Ns], 0 to K - 1.
    query: query images, float32 [Nq, H, W, C] in 0..255.
    query_labels: their labels, int [Nq], 0 to K - 1.
  """

  support: np.ndarray
  support_labels: np.ndarray
  query: np.ndarray
  query_labels: np.ndarray


def draw(sampler: EpisodeSampler, index: int, image_shape: tuple[int, ...]) -> Task:
  """Draws a task, without augmentation.

  Args:
    sampler: draws the images of a task.
    index: number of the task; the same number gives the same task.
    image_shape: [H, W, C] of the images that the model takes.

  Raises:
    InputError: the images of the dataset have another shape.
  """
  one = sampler.draw(index)
  arrays = sampler.class_set.arrays
  support, query = arrays.gather(one.support_rows), arrays.gather(one.query_rows)
  if support.shape[1:] != image_shape:
    raise InputError(
      f'{DATASET.value} has images {list(support.shape[1:])}, the model sees {list(image_shape)}: '
      'convert the dataset to that size.'
    )
  return Task(
    support.astype(np.float32), one.support_labels, query.astype(np.float32), one.query_positions
  )


def accuracy(engine: Engine, task: Task, blocks: Blocks) -> float:
  """Returns the accuracy on a task if given weights make its prototypes and embed its queries."""
  outputs = engine.outputs(task.support, blocks)
  classes = range(task.support_labels.max() + 1)
  prototypes = np.stack([outputs[task.support_labels == k].mean(axis=0) for k in classes])
  return float(
    np.mean(engine.scores(task.query, blocks, prototypes).argmax(axis=1) == task.query_labels)
  )


def report(folder: str) -> str:
  """Measures the newest checkpoint of a run and returns a line of text.

  Args:
    folder: the --train_log_dir of the run.

  Raises:
    InputError: the folder has no checkpoint of a Continual HyperTransformer, or the dataset does
      not fit it.
  """
  found = find(folder)
  if found.continual is None or found.continual.method != CONTINUAL_METHODS[0]:
    raise InputError(f'{folder} is not of continual_method={CONTINUAL_METHODS[0]}.')
  engine = Engine(found)
  settings = flags.settings_from(found.values)
  config = EpisodeConfig(
    num_labels=settings.model.num_labels,
    support_samples=settings.episodes.support_samples,
    query_samples=25,
    balanced=True,
    disjoint_query=True,
  )
  data = DataFolder(FOLDER.value, settings.data.shuffle_labels_seed).open(DATASET.value)
  sampler = EpisodeSampler(data, config, seed=1, stream=0)
  accuracies, changes = [], []
  for pair in range(PAIRS.value):
    first, second = (draw(sampler, 2 * pair + number, found.image_shape) for number in range(2))
    before, after = (
      engine.learn(task.support, task.support_labels, engine.no_blocks()).blocks
      for task in (first, second)
    )
    changes.append(
      [np.abs(after[name] - before[name]).mean() / np.abs(after[name]).mean() for name in after]
    )
    accuracies.append([accuracy(engine, second, blocks) for blocks in (after, before)])
  own, other = np.array(accuracies).T
  change = '  '.join(f'{100 * layer:.1f}' for layer in np.mean(changes, axis=0))
  texts = [
    '{:.1f} +- {:.1f}'.format(*(100 * x for x in mean_and_ci95(each)))
    for each in (own, other, own - other)
  ]
  return (
    f'{folder}: change of the weights by layer, %: {change}; accuracy, %: own {texts[0]}, '
    f'of the other task {texts[1]}, difference {texts[2]}'
  )


def main(argv: list[str]) -> None:
  """Prints a line for each folder after the name of the program."""
  with cli.exit_on_bad_input():
    for folder in argv[1:]:
      print(report(folder), flush=True)


if __name__ == '__main__':
  app.run(main)
