"""Classify a folder of images by a few labeled ones.

  hypertransformer predict --support=symbols --query=scans --output=answers.csv

--support has a folder for each class with one image or more; --query is a folder of images. The
answers are CSV: the file, the class, its probability, and the second best class. Images may have
any format and size; they are converted to the form of the model.
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
import sys

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

import numpy as np

from hypertransformer.converters import image_sources
from hypertransformer.data import files
from hypertransformer.data.images import Form, read_all
from hypertransformer.errors import require
from hypertransformer.learners import FewShotLearner
from hypertransformer.pictures import canvas, episode
from hypertransformer.progress import progress

FLAGS = flags.FLAGS
flags.DEFINE_string('support', None, 'Folder with a folder of labeled images for each class.')
flags.DEFINE_string('query', None, 'Folder of the images to classify.')
flags.DEFINE_string(
  'model', 'omniglot_1shot', 'Name of a packaged model, a checkpoint, or its directory.'
)
flags.DEFINE_bool('invert', False, 'Invert all images: for dark ink on white.')
flags.DEFINE_string('output', '', 'The .csv file to write. Default: standard output.')
flags.DEFINE_string('sheet', '', 'A .png file for a picture of the answers, a row for each class.')
flags.DEFINE_bool('overwrite', False, 'Replace existing files.')

_AT_A_TIME = 256  # images
_ON_SHEET = 12  # images of a class


def main() -> None:
  """Print or write the answers.

  Raises:
    InputError: a folder, an image or the model cannot be used, or a file cannot be written.
  """
  support, query = (_folder(name) for name in ('support', 'query'))
  outputs = [files.expanded(path) for path in (FLAGS.output, FLAGS.sheet) if path]
  for path in outputs:
    files.require_new(path, FLAGS.overwrite)
  paths = image_sources.ImageTree(query).entries(os.fspath(query))[1]
  require(bool(paths), f'--query={query} contains no images.')
  with FewShotLearner(FLAGS.model) as learner, progress('predict', len(paths), 'images') as bar:
    form = Form(learner.image_shape[0], learner.image_shape[2], invert=FLAGS.invert)
    learner.fit(*image_sources.labeled(support, form))
    images, chances = [], []
    for start in range(0, len(paths), _AT_A_TIME):
      images.append(read_all(paths[start : start + _AT_A_TIME], form))
      chances.append(learner.predict_proba(images[-1]))
      bar.update(len(images[-1]))
    found, names = np.concatenate(chances), learner.classes_
  _write(paths, found, names)
  if FLAGS.sheet:
    _draw(files.expanded(FLAGS.sheet), np.concatenate(images), found, names)


def _folder(flag: str) -> pathlib.Path:
  require(bool(FLAGS[flag].value), f'--{flag} is not given; give a folder of images.')
  path = files.expanded(FLAGS[flag].value)
  files.require_folder(path)
  return path


def _write(paths: list[str], found: np.ndarray, names: np.ndarray) -> None:
  """Write the answers as CSV; found: the probabilities, [images, classes]."""
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow(['file', 'class', 'probability', 'runner-up'])
  for path, row in zip(paths, found, strict=True):
    second, best = np.argsort(row)[-2:]
    table.writerow([os.path.basename(path), names[best], f'{row[best]:.4f}', names[second]])
  if not FLAGS.output:
    sys.stdout.write(text.getvalue())
    return
  with files.atomic_file(files.expanded(FLAGS.output)) as file:
    file.write(text.getvalue().encode())


def _draw(path: pathlib.Path, images: np.ndarray, found: np.ndarray, names: np.ndarray) -> None:
  """Draw the images that were given to each class, as the model sees them."""
  best = found.argmax(axis=1)
  rows = [
    (str(name), images[best == number][:_ON_SHEET])
    for number, name in enumerate(names)
    if (best == number).any()
  ]
  with files.atomic_file(path) as file:
    file.write(canvas.png(episode.contact_sheet(rows)))


if __name__ == '__main__':
  cli.run(main)
