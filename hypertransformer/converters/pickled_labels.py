"""Reads what the pickles of published image sets have in common: a dict with labels in it.

Their labels are class numbers or class names, one for each image. The files come from strangers, so
everything in them is checked.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypertransformer.converters import class_names, signatures
from hypertransformer.data import pickles
from hypertransformer.errors import InputError


def read_dict(path: pathlib.Path, expected: str) -> dict[str, Any]:
  """Reads the dict in a pickle of Python 2 or 3.

  Keys that are bytes become text; entries whose key is neither text nor bytes are left out.

  Args:
    path: the pickle file.
    expected: what the dict should be, for errors; such as "a dict with 'labels'".

  Raises:
    InputError: the file cannot be read as a pickle (see `safe_pickle.load`), or it holds something
      other than a dict.
  """
  signatures.refuse_other_file(path, 'a pickle')
  value = pickles.load(path)
  if not isinstance(value, dict):
    raise InputError(f'{path} holds a {type(value).__name__}; expected {expected}')
  return {
    key.decode('latin1') if isinstance(key, bytes) else key: item
    for key, item in value.items()
    if isinstance(key, str | bytes)
  }


def read_images(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Reads the images, uint8 [n, H, W, C], and the labels, int64 [n], of a split of FC100.

  Raises:
    InputError: the pickle does not hold a dict of these two.
  """
  expected = 'a dict with the entries data and labels, as in a split of FC100'
  found = read_dict(path, expected)
  if not {'data', 'labels'} <= set(found):
    raise InputError(f'{path} holds a dict with {keys_found(found)}; expected {expected}')
  images = np.asarray(found['data'])
  labels = numbers(found['labels'], f'labels of {path}')
  if (
    images.ndim != 4
    or images.dtype != np.uint8
    or images.shape[-1] not in (1, 3)
    or images.size == 0
  ):
    raise InputError(
      f'{path}: data is {images.dtype} {list(images.shape)}; expected uint8 [n, H, W, 3]'
    )
  if len(labels) != len(images):
    raise InputError(
      f'{path} has {len(labels)} labels for {len(images)} images; expected one for each'
    )
  return images, labels


def keys_found(content: dict[str, Any]) -> str:
  """Returns the first keys of a dict as text, for errors."""
  text = ', '.join(repr(key) for key in list(content)[:8])
  return text[:300] or 'none'


def described(value: Any) -> str:
  """Returns what a value is, for errors: the dtype and shape of an array, or the type."""
  if isinstance(value, np.ndarray):
    return f'{value.dtype} {list(value.shape)}'
  return f'a {type(value).__name__}'


def numbers(values: Any, what: str) -> np.ndarray:
  """Returns whole numbers as an array, int64 [n].

  Args:
    values: a list, tuple, range or array [n] of whole numbers.
    what: its name in errors.

  Raises:
    InputError: `values` is something else, or a number needs more than 64 bits.
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


def ranks(labels: Any, what: str) -> tuple[np.ndarray, list[str]]:
  """Numbers the classes of a split from 0 on, in ascending order of their labels.

  Args:
    labels: a list, tuple or array [n] of whole numbers or of strings, one for each image. Numbers
      may begin anywhere and have gaps.
    what: the name of the labels in errors.

  Returns:
    The class number of each image, int64 [n], and the label of each class as a text.

  Raises:
    InputError: `labels` is something else, or labels of different kinds are mixed.
  """
  flat = _flat(labels, what, 'labels')
  for kind in (int | np.integer, str, bytes):
    if all(isinstance(label, kind) for label in flat):
      named = {label: name_of(label) for label in sorted(set(flat))}
      names = list(dict.fromkeys(named.values()))  # two spellings of one name are one class
      order = {name: rank for rank, name in enumerate(names)}
      return np.fromiter((order[named[label]] for label in flat), np.int64, len(flat)), names
  raise InputError(
    f'{what} are not of one kind; expected whole numbers, or strings, one for each image'
  )


def name_of(label: Any) -> str:
  """Returns a label as the name of a class, in one spelling (see `class_names`)."""
  text = label.decode('utf-8', 'replace') if isinstance(label, bytes) else str(label)
  return class_names.canonical(text)


def _flat(values: Any, what: str, expected: str) -> Sequence[Any]:
  """Returns `values` if it is a sequence; raises InputError, with these names, if it is not."""
  if isinstance(values, np.ndarray) and values.ndim == 1:
    return values.tolist()
  if isinstance(values, list | tuple | range):
    return values
  raise InputError(f'{what} is {described(values)}; expected a list or array [n] of {expected}')
