"""The chunks of a dataset in the original's form: which files they are, and in which order."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.files import paths


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the chunks of a folder, in the order in which the original reads them.

  This is the order of their names as text, with chunk_10 before chunk_2. Another one would give
  classes other numbers than those that models were trained with.

  Raises:
    InputError: the folder cannot be read.
  """
  try:
    names = sorted(os.listdir(folder))
  except OSError as error:
    raise InputError(f'{folder} cannot be read ({paths.reason(error)})') from error
  return [folder / name for name in names if name.endswith('.npy') and not name.startswith('.')]


def warn_of_order(chunks: Sequence[pathlib.Path]) -> None:
  """Logs a warning if chunks are read in another order than people would count them.

  Args:
    chunks: the files as `find` gives them, at least one.
  """
  counted = sorted(chunks, key=lambda path: _counted(path.name))
  for text, number in zip(chunks, counted, strict=True):
    if text != number:
      logging.warning(
        '%s: chunks are read in the order of their names as text, as by the original, so %s comes '
        'before %s and classes are numbered so; for another order write the numbers with zeros, '
        'as in 02',
        text.parent,
        text.name,
        number.name,
      )
      return


def _counted(name: str) -> list[tuple[int, int, str]]:
  """Returns a key by which names are sorted with the numbers in them by size."""
  pieces = re.findall(r'[0-9]+|[^0-9]+', name)
  # A number without leading zeros is the smaller one if it is shorter; numbers come before text.
  return [
    (0, len(digits), digits)
    if (digits := piece.lstrip('0')) != piece or piece.isdecimal()
    else (1, 0, piece)
    for piece in pieces
  ]
