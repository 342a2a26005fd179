"""Draws a contact sheet: a picture of random classes, each with a row of samples.

It is for looking at a dataset (utils/inspect_data.py --contact_sheet).
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.errors import InputError
from hypertransformer.files import paths, writing

# All lengths are in pixels of the sheet.
_SMALLEST_CELL, _LARGEST_CELL = 56, 128  # the longer side of an image
_GAP = 2  # between images
_NUMBER_WIDTH, _NAME_WIDTH = 44, 150  # the width of the left column, without and with names
_GROUND, _INK = 72, 255  # levels of grey, such that black and white images both stand out
_LABEL_LETTERS = 24


def save(
  path: pathlib.Path,
  arrays: ClassArrays,
  seed: int = 0,
  names: Sequence[str] = (),
  rows: int = 12,
  columns: int = 10,
  overwrite: bool = False,
) -> list[int]:
  """Writes a contact sheet as a PNG file.

  Args:
    path: the .png file to write.
    arrays: the dataset.
    seed: the seed of the choice of classes and samples, 0 or more.
    names: the names of all classes, to be written beside their numbers; empty for none.
    rows: how many classes to show; all of them if the dataset has fewer.
    columns: how many samples of each class to show; all of them if it has fewer.
    overwrite: whether an existing file may be replaced.

  Returns:
    The numbers of the classes shown, from top to bottom, ascending.

  Raises:
    InputError: the file exists or cannot be written, or the images have neither 1 nor 3 channels.
  """
  check(path, overwrite)
  sheet, classes = draw(arrays, seed, names, rows, columns)
  with writing.atomic_file(path) as file:
    sheet.save(file, 'PNG')
  return classes


def check(path: pathlib.Path, overwrite: bool) -> None:
  """Raises InputError unless `path` is a .png file that may be written."""
  if path.suffix.lower() != '.png':
    raise InputError(
      f'the contact sheet {path} is not a .png file; expected a name such as sheet.png'
    )
  if paths.exists(path) and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')


def draw(
  arrays: ClassArrays, seed: int, names: Sequence[str], rows: int, columns: int
) -> tuple[Image.Image, list[int]]:
  """Draws the sheet that `save` writes.

  Returns:
    The picture, grey or RGB as the images are, and the numbers of its classes from top to bottom.

  Raises:
    InputError: the images have neither 1 nor 3 channels.
  """
  height, width, channels = arrays.image_shape
  if channels not in (1, 3):
    raise InputError(
      f'dataset {arrays.name!r} has {channels} channels; a contact sheet can show 1 or 3'
    )
  rng = np.random.default_rng(seed)
  classes = sorted(rng.permutation(arrays.num_classes)[:rows].tolist())
  cell = _cell(height, width)
  left = _NAME_WIDTH if names else _NUMBER_WIDTH
  size = left + columns * (cell[0] + _GAP), len(classes) * (cell[1] + _GAP)
  sheet = Image.new(
    'L' if channels == 1 else 'RGB', size, _GROUND if channels == 1 else (_GROUND,) * 3
  )
  pen = ImageDraw.Draw(sheet)
  for row, cls in enumerate(classes):
    top = row * (cell[1] + _GAP)
    pen.multiline_text(
      (4, top + 4), _label(cls, names), fill=_INK if channels == 1 else (_INK,) * 3
    )
    samples = rng.permutation(int(arrays.sizes[cls]))[:columns]
    for column, image in enumerate(arrays.gather(arrays.rows(cls, samples))):
      sheet.paste(_shown(image, cell), (left + column * (cell[0] + _GAP), top))
  return sheet, classes


def _cell(height: int, width: int) -> tuple[int, int]:
  """Returns the width and height that an image of `height` x `width` pixels gets on the sheet.

  Small images are enlarged by a whole factor, large ones are reduced.
  """
  longest = max(height, width)
  if longest < _SMALLEST_CELL:
    factor = -(-_SMALLEST_CELL // longest)
    return width * factor, height * factor
  scale = min(1.0, _LARGEST_CELL / longest)
  return max(1, round(width * scale)), max(1, round(height * scale))


def _shown(image: np.ndarray, cell: tuple[int, int]) -> Image.Image:
  """Resizes an image, uint8 [H, W, C], to the size `cell`, (width, height).

  When it is enlarged, each of its pixels becomes a plain rectangle, so that one sees exactly what
  the model gets.
  """
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  enlarged = cell[0] > picture.width
  return picture.resize(cell, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def _label(cls: int, names: Sequence[str]) -> str:
  """Returns the text beside a row: the number of the class, and its name below.

  Of a long name the end is kept, because many classes may share its beginning. Letters that the
  font does not have become question marks.
  """
  name = names[cls] if names else ''
  if len(name) > _LABEL_LETTERS:
    name = '..' + name[2 - _LABEL_LETTERS :]
  return f'{cls}\n{name.encode("ascii", "replace").decode()}'
