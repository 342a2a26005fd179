"""Writes the class list beside an array, so that everybody can see which number is which.

In the folder NAME/ it is classes.csv, beside NAME.npy it is NAME.classes.csv; `class_list` says
what is in it. Nothing takes it for data, because readers look for names that end in .npy only.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from hypertransformer.converters import path_flags
from hypertransformer.data import class_list, files
from hypertransformer.errors import InputError


def output_file(text: str, default_name: str, overwrite: bool = False) -> pathlib.Path:
  """Returns the .npy file that --output_path means; see `writing.output_file`.

  Raises:
    InputError: the path cannot be used, or an older file or list may not be replaced.
  """
  path = path_flags.given(text, 'output_path')
  array = files.output_file(str(path), default_name, overwrite)
  check(array, overwrite)
  return array


def check(array: pathlib.Path, overwrite: bool) -> None:
  """Raises InputError if the class list of the array NAME.npy is there and may not be replaced."""
  path = class_list.beside(array)
  if path.is_dir() or (path.exists() and not overwrite):
    raise InputError(
      f'{path} exists already, where the class list is to be written; remove it or give '
      '--overwrite to replace it'
    )


@contextlib.contextmanager
def atomic_array(path: pathlib.Path) -> Iterator[tuple[BinaryIO, pathlib.Path]]:
  """Opens the array NAME.npy for writing, and its class list; see `writing.atomic_file`.

  Both get their names only when the `with` block has succeeded, and nothing is left if it has not.

  Yields:
    The array file, and the path to which `class_list.write` is to write the list.

  Raises:
    InputError: the folder or one of the files cannot be written.
  """
  with files.atomic_file(class_list.beside(path)) as listing, files.atomic_file(path) as array:
    yield array, pathlib.Path(listing.name)
