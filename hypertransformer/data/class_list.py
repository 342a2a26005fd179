"""The class list of a dataset: the split and the name of each class.

It is the file classes.csv in the directory of the dataset, or NAME.classes.csv beside NAME.npy,
with the columns class (the number), split, name and images (how many there are). Converters write
it. Training does not need it.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError

FILE_NAME = 'classes.csv'
_COLUMNS = ('class', 'split', 'name', 'images')


class ClassEntry(NamedTuple):
  """The split of a class, such as 'train', and its name."""

  split: str
  name: str


def beside(path: pathlib.Path) -> pathlib.Path:
  """Return the path of the class list of a dataset NAME.npy or NAME/."""
  if path.suffix == '.npy':
    return path.with_name(f'{path.stem}.{FILE_NAME}')
  return path / FILE_NAME


def write(
  path: pathlib.Path, entries: Sequence[ClassEntry], sizes: Sequence[int] | np.ndarray
) -> None:
  """Write a class list.

  Args:
    path: The file.
    entries: The split and the name of each class. Bytes of names that are not text are escaped.
    sizes: The number of images of each class.
  """
  with open(path, 'w', encoding='utf-8', errors='backslashreplace', newline='') as file:
    table = csv.writer(file)
    table.writerow(_COLUMNS)
    for number, (entry, size) in enumerate(zip(entries, sizes, strict=True)):
      table.writerow([number, entry.split, entry.name, size])


def read(path: pathlib.Path, sizes: np.ndarray) -> list[ClassEntry]:
  """Read a class list.

  Args:
    path: The file; a byte order mark and empty lines are ignored.
    sizes: int64 [classes], the number of images of each class of the dataset.

  Returns:
    The split and the name of each class; nothing if there is no such file.

  Raises:
    InputError: The file is malformed, or lists other classes or numbers of images.
  """
  if not path.exists():
    return []
  try:
    with open(path, encoding='utf-8-sig', newline='') as file:
      rows = list(csv.DictReader(file, strict=True))
    if [(int(row['class']), int(row['images'])) for row in rows] != list(enumerate(sizes.tolist())):
      raise ValueError(f'it does not list the {len(sizes)} classes and their images')
    return [ClassEntry(row['split'], row['name']) for row in rows]
  except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
    raise InputError(
      f'cannot read the class list {path} ({files.reason(error)}); make it again or remove it'
    ) from error
