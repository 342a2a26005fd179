"""What the pickles of published image sets have in common: a dict, and labels in it. They come from
strangers.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.files import safe_pickle


def read_dict(path: pathlib.Path, expected: str) -> dict[str, Any]:
  """The dict in a pickle of Python 2 or 3; keys written as bytes are given as text.

  Args:
    path: of the pickle.
    expected: what the dict should be, for errors.

  Raises:
    InputError: see safe_pickle.load; or it holds something else.
  """
  value = safe_pickle.load(path)
  if not isinstance(value, dict):
    raise InputError(f'{path} holds a {type(value).__name__}; expected {expected}')
  return {
    key.decode('latin1') if isinstance(key, bytes) else key: item
    for key, item in value.items()
    if isinstance(key, str | bytes)
  }


def keys_found(content: dict[str, Any]) -> str:
  """The keys of a dict, for errors; cut when they are long."""
  text = ', '.join(repr(key) for key in list(content)[:8])
  return text[:300] or 'none'


def numbers(values: Any, what: str) -> np.ndarray:
  """A list, tuple, range or array of whole numbers as int64 [n]; `what` names it in errors.

  Raises:
    InputError: anything else, or numbers beyond 64 bits.
  """
  if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in 'iu':
    return np.asarray(values).astype(np.int64)
  flat = _flat(values, what, 'whole numbers')
  if not all(isinstance(value, int | np.integer) for value in flat):
    raise InputError(
      f'{what} holds other things than numbers; expected a list or array of whole numbers'
    )
  try:
    return np.array([int(value) for value in flat], np.int64)
  except OverflowError as error:
    raise InputError(f'{what} holds a number beyond 64 bits') from error


def ranks(labels: Any, what: str) -> tuple[np.ndarray, int]:
  """Labels as class numbers in ascending order of the labels.

  Args: labels: a list, tuple or array [n] of whole numbers or of strings; a split may number its
    classes from any
      number on, with gaps or without.
    what: names them in errors.

  Returns:
    The class of each image, int64 [n], from 0 on; and how many classes there are.

  Raises:
    InputError: anything else.
  """
  flat = _flat(labels, what, 'labels')
  for kind in (int | np.integer, str, bytes):
    if all(isinstance(label, kind) for label in flat):
      order = {label: rank for rank, label in enumerate(sorted(set(flat)))}
      return np.fromiter((order[label] for label in flat), np.int64, len(flat)), len(order)
  raise InputError(
    f'{what} are not of one kind; expected whole numbers, or strings, one for each image'
  )


def _flat(values: Any, what: str, expected: str) -> Sequence[Any]:
  if isinstance(values, np.ndarray) and values.ndim == 1:
    return values.tolist()
  if isinstance(values, list | tuple | range):
    return values
  found = (
    f'{values.dtype} {list(values.shape)}'
    if isinstance(values, np.ndarray)
    else f'a {type(values).__name__}'
  )
  raise InputError(f'{what} is {found}; expected a list or array [n] of {expected}')
