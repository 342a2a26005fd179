"""Draws the weights that a trained model generates: the figures of the paper's appendix.

  python utils/plot_weights.py CHECKPOINT --data_numpy_dir=data_numpy_dir --output=weights.png
  python utils/plot_weights.py CHECKPOINT --figure=episodes --output=episodes.png
  python utils/plot_weights.py CHECKPOINT --figure=change --output=change.png
  python utils/plot_weights.py CHECKPOINT OTHER --figure=allocation --output=allocation.png

CHECKPOINT is the path of a checkpoint without .index, its folder, or the name of a model that comes
with the package, such as omniglot_1shot. The figures are

- kernels: all generated kernels of one episode;
- episodes: those of several episodes side by side;
- change: how much they change from one episode to another, layer by layer;
- allocation: the kernels of two models for the same episode, of which one was trained with
  --lw_weight_allocation=output and the other with spatial.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app, flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.errors import InputError, require
from hypertransformer.learners.learner import pretrained_folder, pretrained_names
from hypertransformer.reports import drawing, generated, weight_figures

FLAGS = flags.FLAGS
flags.DEFINE_string('output', 'weights.png', 'The file of the figure, .png or .svg.')
flags.DEFINE_enum(
  'figure', 'kernels', ['kernels', 'episodes', 'change', 'allocation'], 'Which figure to draw.'
)
flags.DEFINE_string(
  'data_numpy_dir', './data_numpy_dir', 'Folder with NAME.npy or the folder NAME.'
)
flags.DEFINE_string(
  'dataset', '', 'Classes of the episodes, NAME:0-9. Default: the test classes of the training.'
)
flags.DEFINE_integer(
  'episodes', 0, 'How many episodes. Default: 3 side by side, 200 for the change.', lower_bound=0
)
flags.DEFINE_integer('seed', 0, 'Seed of the choice of episodes.', lower_bound=0)

EPISODES = {'kernels': 1, 'episodes': 3, 'change': 200, 'allocation': 1}


def draw(
  figure: str, checkpoints: Sequence[str], data: str, dataset: str, count: int, seed: int
) -> Any:
  """Draws a figure.

  Args:
    figure: its name, see above.
    checkpoints: two checkpoints for 'allocation', else one.
    data: the folder of the dataset.
    dataset: the spec of its classes; '' for the test classes of the training.
    count: how many episodes; 0 for the default of the figure.
    seed: chooses the episodes.

  Raises:
    InputError: a checkpoint or the dataset cannot be used, or they are not those of the figure.
  """
  wanted = 2 if figure == 'allocation' else 1
  require(
    len(checkpoints) == wanted,
    f'{len(checkpoints)} checkpoints are given; --figure={figure} is drawn of {wanted}.',
  )
  require(
    figure != 'change' or count == 0 or count > 1, '--figure=change needs --episodes=2 or more.'
  )
  count = count or EPISODES[figure]
  found = [generated.generate(_place(c), data, dataset, count, seed) for c in checkpoints]
  if figure == 'allocation':
    _require_both(found)
    return weight_figures.allocations(found)
  if figure == 'change':
    return weight_figures.change(generated.changes(found[0]), count // 2)
  names = [f'episode {number + 1}' for number in range(count)] if figure == 'episodes' else ['']
  rows = dict(zip(names, found[0].episodes, strict=False))
  title = {'kernels': 'All kernels generated from one support set'}
  return weight_figures.kernels(
    rows, title.get(figure, 'Kernels generated from several support sets')
  )


def _place(checkpoint: str) -> str:
  """The folder of a model that comes with the package, or the path itself."""
  return str(pretrained_folder(checkpoint)) if checkpoint in pretrained_names() else checkpoint


def _require_both(found: Sequence[generated.Generated]) -> None:
  names = [each.allocation for each in found]
  require(
    sorted(names) == ['output', 'spatial'],
    f'both checkpoints were trained with --lw_weight_allocation={names[0]}: give one of output and '
    'one of spatial.',
  )
  require(
    found[0].shapes == found[1].shapes,
    f'the checkpoints generate different layers, {found[0].shapes} and {found[1].shapes}: give two '
    'of the same CNN.',
  )


def main(argv: list[str]) -> None:
  """Reads the flags and the checkpoints; bad input ends in one line and exit status 2."""
  with cli.exit_on_bad_input():
    if len(argv) < 2:
      raise InputError('no checkpoint is given: plot_weights.py CHECKPOINT --output=weights.png')
    output = pathlib.Path(FLAGS.output)
    drawing.check_output(output)
    drawn = draw(
      FLAGS.figure, argv[1:], FLAGS.data_numpy_dir, FLAGS.dataset, FLAGS.episodes, FLAGS.seed
    )
    drawing.save(drawn, output, f'Generated weights ({FLAGS.figure}) of {", ".join(argv[1:])}')
    print(f'wrote {output}')


if __name__ == '__main__':
  app.run(main)
