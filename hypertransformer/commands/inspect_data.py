"""Inspect a dataset.

  hypertransformer inspect strokes --data_numpy_dir=data_numpy_dir --contact_sheet=strokes.png

The report has the classes and images, their brightness, the splits with the usual few-shot tasks
that they have images for, and the images that occur more than once. No file is written except the
contact sheet, if it is asked for: a picture of random classes, each with a row of samples.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from hypertransformer import cli
from hypertransformer.data import files, inspection
from hypertransformer.data.arrays import ClassArrays
from hypertransformer.errors import InputError
from hypertransformer.pictures import canvas, episode

_ROWS, _COLUMNS = 12, 10  # of the contact sheet

FLAGS = flags.FLAGS
flags.DEFINE_string('data_numpy_dir', './data_numpy_dir', 'Directory that has NAME.npy or NAME/.')
flags.DEFINE_string(
  'splits',
  '',
  'Splits to look for duplicates across, train=NAME:0-63,test=NAME:64-99. Default: '
  'those that the converter wrote, or the presets of a known dataset, or none.',
)
flags.DEFINE_integer(
  'shuffle_labels_seed', 0, 'Permute the classes first, like the same flag of training.'
)
flags.DEFINE_string('contact_sheet', '', 'A .png file for samples of random classes.')
flags.DEFINE_integer(
  'seed', 0, 'Seed for sampling the classes of the contact sheet.', lower_bound=0
)
flags.DEFINE_bool('overwrite', False, 'Replace an existing contact sheet.')


def run(arguments: Sequence[str]) -> None:
  """Print the report about a dataset and draw the contact sheet.

  Raises:
    InputError: The dataset does not exist or is malformed, or the sheet cannot be written.
  """
  if len(arguments) != 1:
    raise InputError(f'{len(arguments)} names are given; give the name of one dataset')
  path = files.expanded(FLAGS.contact_sheet)
  if FLAGS.contact_sheet and path.suffix != '.png':
    raise InputError(f'--contact_sheet={path} does not end in .png; give a name such as sheet.png')
  if FLAGS.contact_sheet:
    files.require_new(path, FLAGS.overwrite)
  arrays, lines = inspection.report(
    arguments[0], FLAGS.data_numpy_dir, FLAGS.splits, FLAGS.shuffle_labels_seed
  )
  print(*lines, sep='\n')
  if FLAGS.contact_sheet:
    classes = _draw(path, arrays, FLAGS.seed)
    print(f'wrote {path}: classes {", ".join(map(str, classes))}')


def _draw(path: pathlib.Path, arrays: ClassArrays, seed: int) -> list[int]:
  """Draw random samples of random classes, and return the numbers of these classes."""
  rng = np.random.default_rng(seed)
  classes = sorted(rng.permutation(arrays.num_classes)[:_ROWS].tolist())
  rows = []
  for cls in classes:
    samples = rng.permutation(int(arrays.sizes[cls]))[:_COLUMNS]
    label = f'{cls} {arrays.names[cls]}' if arrays.names else str(cls)
    rows.append((label, arrays.gather(arrays.rows(cls, samples))))
  with files.atomic_file(path, FLAGS.overwrite) as file:
    file.write(canvas.png(episode.contact_sheet(rows)))
  return classes


if __name__ == '__main__':
  cli.run_with_arguments(run)
