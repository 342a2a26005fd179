r"""Measure how the kernels of the CNN learn: docs/learning.md is written from it.

  python experiments/learning.py omniglot_1shot_v2 --name=v2 --train_steps=6000 --seed=1 \
    --data_numpy_dir=./data_numpy_dir --output=learning.csv
  python experiments/learning.py --plot --output=learning.csv

It trains without a directory of a run and appends rows of (run, step, part, quantity, value):

- of the episodes since the last rows: loss and accuracy;
- of every layer of the CNN: the relative change of its kernel by one update (see
  pictures/kernels.py), and its energy, the mean of kernel^2 over 8 tasks with 4 support sets each.
  Of a generated kernel also the shares of that energy: the mean of all channels ("mean"), and what
  differs between channels, between tasks, and between support sets of one task;
- of every generator, and of the trained kernels: the norms of gradient and update by that of the
  variables.
"""

from __future__ import annotations

import collections
import pathlib
import sys
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from absl import flags

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassSet
from hypertransformer.episodes import image_ops
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.pictures.kernels import relative_change
from hypertransformer.progress import progress
from hypertransformer.runtime import sessions
from hypertransformer.settings import recipes
from hypertransformer.settings.config import Settings
from hypertransformer.training import graph as graph_lib

NAME = flags.DEFINE_string('name', 'run', 'What the run is called in the table.')
OUTPUT = flags.DEFINE_string('output', 'learning.csv', 'The table.')
EVERY = flags.DEFINE_integer('every', 100, 'Steps from one measurement to the next.')
PLOT = flags.DEFINE_bool('plot', False, 'Draw the table instead, beside it as .png.')

TASKS, SUPPORT_SETS = 8, 4
SHARES = ('mean', 'channels', 'tasks', 'support sets')
Kernels = dict[str, np.ndarray]  # by layer: [tasks, support sets, channels, numbers]
Row = tuple[int, str, str, float]


def support_sets(classes: ClassSet, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
  """Return images [tasks, support sets, Ns, H, W, C] from 0 to 255, and labels [Ns]."""
  rng, arrays = np.random.default_rng(0), classes.arrays
  ways, shots = settings.episodes.num_labels, settings.episodes.shots
  found = []
  for _ in range(TASKS):
    task = rng.permutation(classes.classes)[:ways]
    drawn = [
      arrays.rows(each, rng.permutation(arrays.sizes[each])[: SUPPORT_SETS * shots])
      for each in task
    ]
    rows = np.reshape(drawn, (ways, SUPPORT_SETS, shots)).swapaxes(0, 1)
    found.append(
      arrays.gather(rows.ravel()).reshape(SUPPORT_SETS, ways * shots, *arrays.image_shape)
    )
  return np.array(found, np.float32), np.arange(ways).repeat(shots)


class Probe:
  """The kernels that the model generates for support sets which stay the same."""

  def __init__(self, model: HyperTransformer, classes: ClassSet, settings: Settings) -> None:
    """Add what generates them to the graph, whose variables are made."""
    self._sets, labels = support_sets(classes, settings)
    self._images = tf.placeholder(tf.float32, self._sets.shape[2:])
    images = image_ops.normalise(self._images, settings.data.image_size)
    weights = model.generate(Support(images, tf.constant(labels)))
    _, weights = model.support_outputs(weights)
    self._generated = model.used_blocks(weights)
    self._trained = {
      plan.name: kernel
      for plan in model.plans
      for kernel in tf.trainable_variables(f'model/cnn/{plan.name}/.*kernel')
      if plan.layout is None
    }

  def __call__(self, session: tf.Session) -> Kernels:
    """Return the kernels of all layers; trained ones as if there were one support set."""
    found: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    for images in self._sets.reshape(-1, *self._sets.shape[2:]):
      for name, blocks in session.run(self._generated, {self._images: images}).items():
        found[name].append(blocks)
    shape = self._sets.shape[:2]
    generated = {name: np.reshape(each, (*shape, *each[0].shape)) for name, each in found.items()}
    trained = session.run(self._trained)
    return generated | {
      name: kernel.reshape(1, 1, -1, kernel.shape[-1]).swapaxes(2, 3)
      for name, kernel in trained.items()
    }


def shares(kernels: np.ndarray) -> list[float]:
  """Return the parts of the mean of kernel^2, in the order of SHARES, which add up to 1."""
  task = kernels.mean(axis=1, keepdims=True)
  channel = task.mean(axis=0, keepdims=True)
  mean = channel.mean(axis=2, keepdims=True)
  inner = np.var(kernels, axis=1, ddof=1).mean()  # of one support set to another
  between = np.var(task, axis=0, ddof=1).mean() - inner / kernels.shape[1]
  total = np.square(kernels).mean()
  parts = [np.square(mean).mean(), np.square(channel - mean).mean(), max(between, 0.0)]
  return [float(part / total) for part in (*parts, max(total - sum(parts), 0.0))]


def part_of(variable: tf.Variable) -> str:
  """Return what a variable is counted as: its generator, the trained kernels, or others."""
  scope, kernel = variable.op.name.split('/')[1], variable.op.name.endswith('kernel')
  if scope.startswith('generator'):
    return scope
  return 'trained kernels' if scope == 'cnn' and kernel else 'others'


def norms(values: dict[tf.Variable, np.ndarray]) -> dict[str, float]:
  """Return the Euclidean norm of values by part."""
  squares: dict[str, float] = collections.defaultdict(float)
  for variable, value in values.items():
    squares[part_of(variable)] += float(np.square(value).sum())
  return {part: square**0.5 for part, square in squares.items()}


def rows_of_layers(before: Kernels, after: Kernels) -> Iterator[tuple[str, str, float]]:
  """Yield the rows of every layer from its kernels before and after an update."""
  for layer, kernels in before.items():
    yield layer, 'change', relative_change(after[layer], kernels)
    yield layer, 'energy', float(np.square(kernels).mean())
    if kernels.shape[1] > 1:
      yield from ((layer, *each) for each in zip(SHARES, shares(kernels), strict=True))


def train(settings: Settings) -> Iterator[Row]:
  """Train, and yield rows of (step, part, quantity, value)."""
  seed = settings.run.seed or 0
  tf.set_random_seed(seed)
  inputs = graph_lib.open_inputs(settings, seed)
  graph = graph_lib.build(settings, inputs)
  probe = Probe(inputs.model, inputs.train.class_set, settings)
  gradients = {
    variable: tf.convert_to_tensor(gradient)  # those of embeddings are sparse
    for gradient, variable in graph.gradients
    if gradient is not None
  }
  variables = {variable: variable.read_value() for variable in gradients}
  measured = {
    'loss': graph.objective.loss,
    'accuracy': graph.objective.metrics['accuracy/accuracy'],
  }
  steps = settings.run.train_steps
  with tf.Session(config=sessions.config(tf.get_default_graph())) as session:
    session.run(tf.global_variables_initializer())
    session.run(graph.train_stream.initializer, {graph.train_stream.first: 0})
    step_of: Callable[[], list] = session.make_callable([graph.step_done, *measured.values()])
    with progress('step', steps) as bar:
      for step in range(0, steps, EVERY.value):
        kernels, old = probe(session), session.run(variables)
        slopes, _ = session.run([gradients, graph.step_done])
        change = {v: new - old[v] for v, new in session.run(variables).items()}
        yield from ((step, *row) for row in rows_of_layers(kernels, probe(session)))
        size, of_gradient, of_update = norms(old), norms(slopes), norms(change)
        for part in size:
          yield step, part, 'gradient', of_gradient[part] / size[part]
          yield step, part, 'update', of_update[part] / size[part]
        means = np.mean([step_of()[1:] for _ in range(EVERY.value - 1)], axis=0)
        yield from (
          (step, 'episodes', name, float(x)) for name, x in zip(measured, means, strict=True)
        )
        bar.update(EVERY.value)


def plot(table: pd.DataFrame, output: pathlib.Path) -> None:
  """Draw accuracy, change of kernels by an update, and the shares of their energy."""
  import matplotlib

  matplotlib.use('agg')
  import matplotlib.pyplot as plt

  names = list(table['run'].unique())
  width = max(3, len(names))
  figure, axes = plt.subplots(3, width, figsize=(3.6 * width, 9))
  layers = {
    'a convolution': table[table['part'].str.fullmatch('layer_[1-4]')],
    'the logits layer': table[table['part'] == 'layer_5'],
  }
  lines = [('accuracy of training episodes', table, 'accuracy')]
  lines += [(f'change of {name} by an update', rows, 'change') for name, rows in layers.items()]
  for (title, rows, quantity), where in zip(lines, axes[0], strict=False):
    chosen = rows[rows['quantity'] == quantity]
    means = chosen.pivot_table(index='step', columns='run', values='value')[names]
    means = means.rolling(3, min_periods=1).mean()
    means.plot(ax=where, title=title, logy=quantity == 'change', legend=False)
  axes[0, 2].legend(bbox_to_anchor=(1.05, 1), loc='upper left').set_in_layout(False)
  for (layer, rows), line in zip(layers.items(), axes[1:], strict=True):
    for name, where in zip(names, line, strict=False):
      chosen = rows[(rows['run'] == name) & rows['quantity'].isin(SHARES)]
      if len(chosen):
        parts = chosen.pivot_table(index='step', columns='quantity', values='value')[list(SHARES)]
        parts.plot.area(
          ax=where, ylim=(0, 1), title=f'{layer}: {name}', lw=0, legend=name == names[0]
        )
  for where in axes.flat:
    where.set_visible(where.has_data())
  figure.tight_layout()
  figure.savefig(output, dpi=80)


def main(settings: Settings) -> None:
  """Make a run of the table, or draw it."""
  output = pathlib.Path(OUTPUT.value)
  if PLOT.value:
    plot(pd.read_csv(output), output.with_suffix('.png'))
    return
  rows = pd.DataFrame(train(settings), columns=['step', 'part', 'quantity', 'value'])
  rows.insert(0, 'run', NAME.value)
  rows.to_csv(output, mode='a', header=not output.exists(), index=False, float_format='%.5g')


if __name__ == '__main__':
  cli.run_settings(main, recipes.flagfile)
