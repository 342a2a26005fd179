"""Checks that the splits of a dataset have no class and no image in common.

Few-shot learning is tested on classes that were never seen. A class in two splits would make the
accuracy too good, without a word.
"""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np
from absl import logging

from hypertransformer.converters.class_names import canonical, shown
from hypertransformer.errors import InputError


class SplitChecks:
  """Takes the classes and images of all splits in turn, and refuses those that came before."""

  def __init__(self) -> None:
    """Begins without classes."""
    self._split_of: dict[str, str] = {}
    self._file: dict[tuple[int, int], tuple[str, str]] = {}
    self._content: dict[bytes, tuple[str, str]] = {}

  def add_name(self, split: str, name: str) -> None:
    """Adds a class by its name.

    Raises:
      InputError: there is one of this name, in some spelling, already.
    """
    plain = canonical(name)
    if plain in self._split_of:
      before = self._split_of[plain]
      where = f'two splits, {before} and {split}' if before != split else f'{split} twice'
      raise InputError(
        f'the class {shown(plain)!r} is in {where}; expected splits of different classes, on which '
        'few-shot learning is tested: take it out of one of them, or convert one split only'
      )
    self._split_of[plain] = split

  def add_files(self, split: str, paths: Iterable[str]) -> None:
    """Adds images by their paths; two paths, such as those of a link, may lead to the same file.

    Raises:
      InputError: one of them is in another split already.
    """
    for path in paths:
      try:
        found = os.stat(path)
      except OSError:
        continue  # the error comes when it is decoded
      if not found.st_ino:  # a file system without such numbers
        continue
      other, before = self._file.setdefault((found.st_dev, found.st_ino), (split, path))
      if other != split:
        raise InputError(
          f'the image {path} of {split} is {before} of {other}, the same file; expected splits of '
          'different images: remove it from one of them'
        )

  def add_pixels(self, split: str, name: str, images: Sequence[np.ndarray] | np.ndarray) -> None:
    """Adds the images of a class, of any shape, in memory.

    Raises:
      InputError: a class of another split has just the same images, in any order.
    """
    single = sorted(hashlib.blake2b(np.ascontiguousarray(image).data).digest() for image in images)
    digest = hashlib.blake2b(b''.join(single)).digest()
    other, before = self._content.setdefault(digest, (split, name))
    if other != split:
      raise InputError(
        f'the class {shown(name)!r} of {split} has the same images as {shown(before)!r} of '
        f'{other}; expected splits of different classes: was a file copied under two names?'
      )

  def warn_of_case(self) -> None:
    """Logs a warning about names that differ in upper and lower case only."""
    alike = collections.defaultdict(list)
    for name in self._split_of:
      alike[name.casefold()].append(name)
    for first, second, *_ in (names for names in alike.values() if len(names) > 1):
      logging.warning('%r and %r are taken as two classes', shown(first), shown(second))
      break
