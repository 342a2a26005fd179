"""A picture of random classes: a row of samples for each, to look at a dataset."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.errors import InputError
from hypertransformer.files import writing

_SMALLEST_CELL, _LARGEST_CELL = 56, 128
_GAP = 2
_NUMBER_WIDTH, _NAME_WIDTH = 44, 150  # of the column on the left, without and with names
_GROUND, _INK = 72, 255  # levels of grey: black and white images both stand out
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
  """Writes a PNG of random samples of random classes, in ascending order, and returns the classes.

  Args:
    path: the .png file.
    arrays: the dataset.
    seed: of the choice.
    names: of all classes, to be written beside their numbers.
    rows: classes to show, if there are as many.
    columns: samples of each, if it has as many.
    overwrite: replace an existing file.

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
  if path.exists() and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')


def draw(
  arrays: ClassArrays, seed: int, names: Sequence[str], rows: int, columns: int
) -> tuple[Image.Image, list[int]]:
  """The sheet, grey or RGB, and its classes from top to bottom."""
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
  """Width and height of an image on the sheet: enlarged by a whole number, or reduced."""
  longest = max(height, width)
  if longest < _SMALLEST_CELL:
    factor = -(-_SMALLEST_CELL // longest)
    return width * factor, height * factor
  scale = min(1.0, _LARGEST_CELL / longest)
  return max(1, round(width * scale)), max(1, round(height * scale))


def _shown(image: np.ndarray, cell: tuple[int, int]) -> Image.Image:
  """Enlarged pixels stay squares, so that one sees what the model gets."""
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  enlarged = cell[0] > picture.width
  return picture.resize(cell, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def _label(cls: int, names: Sequence[str]) -> str:
  """The number of a class and the end of its name (its beginning is often common to many), in
  letters of the font.
  """
  name = names[cls] if names else ''
  if len(name) > _LABEL_LETTERS:
    name = '..' + name[2 - _LABEL_LETTERS :]
  return f'{cls}\n{name.encode("ascii", "replace").decode()}'
