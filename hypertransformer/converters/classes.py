"""Class names, the checks of splits, and the output of every converter."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import decimal
import hashlib
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from hypertransformer.data import class_list, files, specs
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.data.files import shown
from hypertransformer.errors import InputError

# A byte order mark, a zero-width space and a word joiner.
_INVISIBLE = dict.fromkeys(map(ord, '\ufeff\u200b\u2060'))
_DECIMAL = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)')
# What network drives, Windows, macOS, Linux and programs leave between images; hidden files too.
# A colon before a stream such as Zone.Identifier may have become another character.
_LEFTOVER = re.compile(
  r'\..*|[\s\ufeff\u200b\u2060]*'
  r'|@eadir|@tmp|@syno(eastream|resource)|.*@syno(eastream|resource)|#recycle|#snapshot'
  r'|@recycle|@recently-snapshot|network trash folder|temporary items'
  r'|(eh)?thumbs(_vista)?\.db|zbthumbnail\.info|desktop\.ini|picasa\.ini|\$recycle\.bin'
  r'|system volume information|.*zone\.identifier|.*:\$data|.*:(afp_\w+|com\.(apple|dropbox)\..*)'
  r'|__macosx|icon[\r\uf00d]|desktop d[bf]|lost\+found|__pycache__|~\$.*|.*~|#.*#'
  r'|.*\.(bak|orig|tmp|temp|swp|swo|part|partial|crdownload|download|pyc)',
  re.IGNORECASE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Release:
  """The size of a published dataset.

  Attributes:
    splits: the number of classes of each split, in the order in which they are written.
    images: the number of images of all splits together.
    side: the width and height of an image in pixels.
  """

  splits: dict[str, int]
  images: int
  side: int

  @property
  def classes(self) -> int:
    """The number of classes of all splits together."""
    return sum(self.splits.values())

  @property
  def samples(self) -> int:
    """The mean number of images per class."""
    return self.images // self.classes


def canonical(name: str) -> str:
  """Return the one spelling of a class name, so that equal classes have equal names.

  Unicode is composed (NFC), invisible characters and surrounding white space are removed, and inner
  white space becomes one space. Empty parts of a path and `.` are dropped: `./birds//crow /`
  becomes `birds/crow`. Upper and lower case stay different.

  Returns:
    The name, or '' if nothing is left of it.
  """
  visible = unicodedata.normalize('NFC', name.translate(_INVISIBLE))
  parts = [' '.join(part.split()) for part in visible.split('/')]
  return '/'.join(part for part in parts if part not in ('', '.'))


def _as_numbers(name: str) -> tuple[str | decimal.Decimal, ...]:
  """Return the parts of a class name; those that are decimal numbers as numbers (2.0 is 2)."""
  return tuple(
    decimal.Decimal(part) if _DECIMAL.fullmatch(part) else part for part in name.split('/')
  )


def natural_key(name: str) -> tuple[list[Any], str]:
  """Return the key of the natural sort order, in which 2 comes before 10."""
  pieces: list[Any] = re.split('([0-9]+)', name)
  digits = [piece.lstrip('0') for piece in pieces[1::2]]
  pieces[1::2] = [(len(piece), piece) for piece in digits]
  return pieces, name


def sequence(names: Iterable[str], most: int = 12) -> str:
  """Return names as text, separated by commas; of more than `most`, the middle is left out."""
  listed = [shown(name) for name in names]
  if len(listed) > most:
    listed[most - 3 : -2] = ['...']
  return ', '.join(listed)


def leftover_in(path: str) -> str | None:
  """Return the first part of a path that is hidden or left by a system; None if there is none."""
  parts = (part for part in path.split('/') if part not in ('', '.', '..'))
  return next((part for part in parts if _LEFTOVER.fullmatch(part)), None)


def report_leftovers(where: object, names: Sequence[str]) -> None:
  """Log a warning that names the skipped files and folders, if there are any."""
  if names:
    counts = sorted(collections.Counter(names).items())
    listed = sequence(f'{name} ({count})' for name, count in counts)
    logging.warning('%s: skipped hidden and system files: %s', where, listed)


class SplitChecks:
  """Refuses classes and images that occur in two splits, on which test accuracy is too high."""

  def __init__(self) -> None:
    """Start without classes."""
    self._first: dict[object, tuple[str, str]] = {}

  def add_name(self, split: str, name: str) -> None:
    """Add a class by its name, which no other split may have in any spelling."""
    self._add(canonical(name), split, f'the class {shown(name)!r}')
    _, alike = self._first.setdefault(('alike', _as_numbers(name.casefold())), (split, name))
    if alike != name and _as_numbers(alike) == _as_numbers(name):
      raise InputError(
        f'the classes {shown(alike)!r} and {shown(name)!r} are one number in two spellings; use one'
      )
    if alike != name:
      logging.warning('%r and %r are two classes', shown(alike), shown(name))

  def add_files(self, split: str, paths: Iterable[str]) -> None:
    """Add images by their paths; no path of another split may be, or link to, the same file."""
    for path in paths:
      with contextlib.suppress(OSError):  # reported when the image is read
        found = os.stat(path)
        if found.st_ino:  # some file systems have none
          self._add((found.st_dev, found.st_ino), split, f'the image {path}')

  def add_pixels(self, split: str, name: str, images: Iterable[np.ndarray]) -> None:
    """Add the images of a class in memory, which no other split may have, in any order."""
    single = sorted(hashlib.blake2b(np.ascontiguousarray(image).data).digest() for image in images)
    digest = hashlib.blake2b(b''.join(single)).digest()
    self._add(digest, split, f'the images of the class {shown(name)!r}')

  def _add(self, key: object, split: str, what: str) -> None:
    other, before = self._first.setdefault(key, (split, what))
    if other != split:
      raise InputError(f'{what} of {split} and {before} of {other} are the same; keep one of them')


def output_path(text: str, default: str = '', overwrite: bool = False) -> pathlib.Path:
  """Return the file NAME.npy or the folder NAME that a converter writes.

  Args:
    text: the value of --output_path.
    default: the name of the dataset's file or folder if `text` is the folder above it; '' if `text`
      is the dataset itself.
    overwrite: whether an existing dataset may be replaced.

  Raises:
    InputError: the path exists and may not be replaced, or the dataset's name cannot be used in
      flags.
  """
  path = files.expanded(text)
  if default and (path.suffix != '.npy' if default.endswith('.npy') else path.name != default):
    path /= default
  if path.suffix == '.npy':
    specs.parse_dataset(path.stem.replace(':', '?'))
    for file in (path, class_list.beside(path)):
      if os.path.isdir(file) or (os.path.lexists(file) and not overwrite):
        raise InputError(f'{file} exists already; remove it or give --overwrite to replace a file')
  else:
    specs.parse_dataset(path.name.replace(':', '?'))
    files.check_folder(path, overwrite)
    if os.path.exists(array := path.with_name(f'{path.name}.npy')):
      raise InputError(f'{array} would be read instead of the folder {path}; remove it')
  return path


@contextlib.contextmanager
def new_dataset(
  path: pathlib.Path, overwrite: bool = False
) -> Iterator[tuple[BinaryIO, Callable[[Sequence[ClassEntry], Sequence[int]], None]]]:
  """Write a dataset and its class list, which get their names when the block has succeeded.

  Args:
    path: the file NAME.npy, or the folder NAME that gets images.npy and class_sizes.npy.
    overwrite: whether an existing dataset may be replaced.

  Yields:
    The .npy file of the images, open for writing, and a function that writes the class list, given
    the entry and the number of images of each class.

  Raises:
    InputError: the disk has no room, or the files cannot be written. Nothing is left then.
  """
  with contextlib.ExitStack() as stack:
    folder: pathlib.Path | None = None
    if path.suffix == '.npy':
      beside = files.atomic_file(class_list.beside(path), overwrite)
      listing = pathlib.Path(stack.enter_context(beside).name)
      file = stack.enter_context(files.atomic_file(path, overwrite))
    else:
      folder = stack.enter_context(files.atomic_folder(path, overwrite))
      listing = class_list.beside(folder)
      file = stack.enter_context(open(folder / 'images.npy', 'wb'))

    def write_classes(entries: Sequence[ClassEntry], sizes: Sequence[int]) -> None:
      class_list.write(listing, entries, sizes)
      if folder:
        np.save(folder / 'class_sizes.npy', np.array(sizes, np.int64))

    yield file, write_classes
    if not folder:  # an array that has its name never goes with the class list of an older one
      file.flush()
      class_list.beside(path).unlink(missing_ok=True)
