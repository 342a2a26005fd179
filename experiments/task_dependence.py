"""Measure how much generated weights depend on the task, and to what use.

  python experiments/task_dependence.py --data_numpy_dir=./data_numpy_dir LOG_DIR [LOG_DIR ...]

Tasks are sampled in pairs. Printed are, for the newest checkpoint of each run,

- for each generated layer, the relative change of its weights (the trained part included) from one
  task to the other: see pictures/kernels.py;
- the accuracy on the second task with its own weights, and with those of the first task: all of
  them for a Continual HyperTransformer, which learns each task as the first one of a sequence, and
  the convolutions otherwise. If both are equal, the change is of no use;
- unless the run is a continual one, the accuracy of the nearest class mean of what enters the
  logits layer (Prototypical Networks). If it is equal too, generating that layer is of no use.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

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
from hypertransformer.learners.engine import BlockArrays, Engine, find
from hypertransformer.pictures.kernels import relative_change

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
      InputError: nothing is generated in it, or the dataset does not fit it.
    """
    found = find(folder)
    settings = found.settings
    method = settings.continual and settings.continual.method
    require(
      method != 'constant_protonet',
      f'{folder} has continual_method={method}, which generates nothing.',
    )
    self.sequences = method is not None
    episodes = dataclasses.replace(
      settings.episodes,
      query_samples=5 * settings.episodes.num_labels,
      unlabeled_per_class=0,
      balanced=True,
      disjoint_query=True,
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

  def blocks(self, task: Draw) -> BlockArrays:
    """Return the weights after learning a task, in a continual run as the first one."""
    before = self.engine.no_blocks() if self.sequences else {}
    return self.engine.learn(self.images(task.support_rows), task.support_labels, before).blocks

  def outputs(self, rows: np.ndarray, blocks: BlockArrays) -> np.ndarray:
    """Return the outputs of the CNN for images, which batch norm sees together."""
    return self.engine.outputs(self.images(rows), blocks, self.engine.no_statistics)

  def means(self, task: Draw, values: np.ndarray) -> np.ndarray:
    """Return the mean over the support images of each class of values [Ns, d], as [ways, d]."""
    ways = task.support_labels.max() + 1
    return np.stack([values[task.support_labels == k].mean(axis=0) for k in range(ways)])

  def class_means(self, task: Draw, blocks: BlockArrays) -> np.ndarray:
    """Return the blocks of the logits layer whose classifier is the nearest class mean.

    What enters the layer are the outputs of layers that each pick some of it, again from the first
    when there is nothing left to pick.
    """
    *_, last = blocks
    ways, width = blocks[last].shape
    inputs = width - 1  # the last column is the bias
    picks = np.resize(np.eye(inputs, width, dtype=np.float32), (-(-inputs // ways), ways, width))
    outputs = [self.outputs(task.support_rows, blocks | {last: layer}) for layer in picks]
    means = self.means(task, np.concatenate(outputs, axis=1)[:, :inputs])
    return np.concatenate([2 * means, -np.square(means).sum(axis=1, keepdims=True)], axis=1)

  def accuracy(self, task: Draw, blocks: BlockArrays) -> float:
    """Return the accuracy on the queries of a task with these weights."""
    if self.sequences:
      means = self.means(task, self.outputs(task.support_rows, blocks))
      images, unused = self.images(task.query_rows), self.engine.no_statistics
      scores = self.engine.scores(images, blocks, unused, means)
    else:
      scores = self.outputs(task.query_rows, blocks)
    return float(np.mean(scores.argmax(axis=1) == task.query_positions))

  def pair(self, number: int) -> tuple[list[float], list[float]]:
    """Return the changes of the layers and the accuracies of a pair of tasks."""
    first, second = (self.sampler.draw(2 * number + each) for each in range(2))
    before, after = self.blocks(first), self.blocks(second)
    changes = [relative_change(after[name], before[name]) for name in after]
    *_, last = after
    if self.sequences:
      used = [after, before]
    else:
      means = after | {last: self.class_means(second, after)}
      used = [after, before | {last: after[last]}, means]
    return changes, [self.accuracy(second, blocks) for blocks in used]


def report(folder: str) -> str:
  """Measure the newest checkpoint of a run and describe it in a line."""
  probe = Probe(folder)
  changes, accuracies = zip(*(probe.pair(number) for number in range(PAIRS.value)), strict=True)
  own, *others = np.array(accuracies).T
  named = {'own weights': own}
  for name, each in zip(('weights of the other task', 'class means'), others, strict=False):
    named |= {name: each, f'own minus {name}': own - each}
  change = '  '.join(f'{100 * layer:.1f}' for layer in np.mean(changes, axis=0))
  texts = [
    '{}: {:.1f} ± {:.1f}'.format(name, *(100 * x for x in mean_and_ci95(each)))
    for name, each in named.items()
  ]
  return f'{folder}: change of the weights by layer, %: {change}; accuracy, %: {", ".join(texts)}'


def main(argv: list[str]) -> None:
  """Print a line for each directory of the command line."""
  with cli.exit_on_bad_input():
    for folder in argv[1:]:
      print(report(folder), flush=True)


if __name__ == '__main__':
  app.run(main)
