"""The class list of a dataset, which tells the name and the split of each class.

It is the file classes.csv in the dataset's folder, or NAME.classes.csv beside NAME.npy. Converters
write it, for people, for `utils/inspect_data.py` and for `identity`. Training does not need it. It
is a table with the columns class (the number), split, name and images
(how many there are), with one row for each class in the order of the numbers.
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


def beside(path: pathlib.Path) -> pathlib.Path:
  """Returns where the class list of a dataset is, if it has one.

  Args:
    path: the file NAME.npy or the folder NAME of the dataset.
  """
  if path.suffix == '.npy':
    return path.with_name(f'{path.stem}.{FILE_NAME}')
  return path / FILE_NAME


class ClassEntry(NamedTuple):
  """The split of a class, such as 'train', and the name of the class."""

  split: str
  name: str


def write(
  path: pathlib.Path, entries: Sequence[ClassEntry], sizes: Sequence[int] | np.ndarray
) -> None:
  """Writes the table.

  Args:
    path: the file to write.
    entries: the split and the name of each class, in the order of the class numbers. Names of files
      need not be text; bytes that are none are written as escapes.
    sizes: the number of images of each class.
  """
  with open(path, 'w', encoding='utf-8', errors='backslashreplace', newline='') as file:
    table = csv.writer(file)
    table.writerow(_COLUMNS)
    for number, (entry, size) in enumerate(zip(entries, sizes, strict=True)):
      table.writerow([number, entry.split, entry.name, size])


def read(path: pathlib.Path, sizes: np.ndarray) -> list[ClassEntry]:
  """Reads the table and checks that it belongs to the dataset beside it.

  Table programs may have added a byte order mark, blanks around the titles and numbers, or empty
  lines; these are passed over.

  Args:
    path: the file to read.
    sizes: int64 [classes], the number of images of each class of the dataset.

  Returns:
    The split and the name of each class, in the order of the class numbers.

  Raises:
    InputError: the file cannot be read, or it lists other classes or other numbers of images.
  """
  try:
    with open(path, encoding='utf-8-sig', newline='') as file:
      rows = [row for row in csv.reader(file, strict=True) if row]
  except OSError as error:
    raise InputError(
      f'{path} cannot be read ({files.reason(error)}); make it again or remove it'
    ) from error
  except (UnicodeDecodeError, csv.Error) as error:
    raise InputError(f'{path} cannot be read ({error}); make it again or remove it') from error
  expected = [[str(number), str(size)] for number, size in enumerate(sizes.tolist())]
  if (
    [[title.strip() for title in row] for row in rows[:1]] != [list(_COLUMNS)]
    or any(len(row) != len(_COLUMNS) for row in rows)
    or [[row[0].strip(), row[3].strip()] for row in rows[1:]] != expected
  ):
    raise InputError(
      f'{path} does not list the {len(sizes)} classes and their images; make the dataset '
      'again, or remove this file'
    )
  return [ClassEntry(split, name) for _, split, name, _ in rows[1:]]
