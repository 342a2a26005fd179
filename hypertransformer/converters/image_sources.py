"""Find the split and the class of each image, before any image is decoded.

There is a function `from_...` for each of the four ways to tell them: folders, lists of classes,
CSV files and pickles. The classes of a split are in the natural order of their names (`classes`).
"""

from __future__ import annotations

import csv
import functools
import io
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from hypertransformer.converters import classes, miniimagenet
from hypertransformer.converters.classes import SplitChecks, canonical, natural_key
from hypertransformer.data import files
from hypertransformer.data.files import shown
from hypertransformer.data.images import Form, read_all
from hypertransformer.errors import InputError

# The names that the folder of a split may have, in the order in which its classes are numbered.
_SPLIT_ORDER = ('train', 'val', 'valid', 'validation', 'test')
NO_SPLIT = 'all'  # the name of the split if there is only one
_COLUMNS = ['filename', 'label']


# The images of a class: the paths of their files, or their pixels, uint8 [n, H, W, C].
Images = Sequence[str] | np.ndarray
# For each split, the images of each class, in the order of the class numbers.
Splits = dict[str, dict[str, Images]]


class ImageTree:
  """A folder of images without the leftovers of systems.

  Links are followed, also those that lead out of the folder: its owner made them, and images are
  only read through them.
  """

  def __init__(self, root: pathlib.Path) -> None:
    """Keep the root folder."""
    self.root = os.fspath(root)
    self.leftovers: list[str] = []
    self.entries = functools.cache(self._entries)
    self._absolute = os.path.abspath(root)

  def _entries(self, folder: str) -> tuple[list[str], list[str]]:
    """Return the paths of the folders and of the files in a folder, in natural order.

    Raises:
      InputError: the folder cannot be read.
    """
    folders: list[str] = []
    found: list[str] = []
    try:
      with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: natural_key(entry.name))
    except OSError as error:
      raise InputError(
        f'{folder} is not a folder that can be read ({error.strerror}); correct --input_path'
      ) from error
    for entry in entries:
      path, is_folder = entry.path, os.path.isdir(entry.path)
      is_device = os.path.exists(path) and not is_folder and not os.path.isfile(path)
      if is_device or classes.leftover_in(entry.name):
        self.leftovers.append(entry.name)
        continue
      (folders if is_folder else found).append(path)
    return folders, found

  def relative(self, name: str, where: str) -> str:
    """Return the path below the root of a file or folder that a list names.

    Args:
      name: a path relative to the root, or an absolute one below it.
      where: the place in the list, for errors.

    Raises:
      InputError: the path leads out of the root.
    """
    path = os.path.normpath(os.path.join(self._absolute, name.strip()))
    if os.path.commonpath([self._absolute, path]) != self._absolute:
      raise InputError(
        f'{where}: {shown(name)!r} is outside of --input_path={self.root}; give a relative name'
      )
    return os.path.relpath(path, self._absolute)


def from_folders(root: pathlib.Path) -> Splits:
  """Take each folder in `root` as a class.

  If the folders in `root` are called train, val (or valid, validation) and test, with train among
  them, they are splits and hold the folders of classes. All files in the folder of a class are
  images, except leftovers of systems; they may also be in a single folder inside it, with files
  beside it only if it is called images. Folders whose names are two spellings of one name are one
  class.

  Raises:
    InputError: there are no classes, a class has no images or has folders, or a class or an image
      is in two splits.
  """
  tree = ImageTree(root)
  folders, others = tree.entries(tree.root)
  if others:
    logging.warning('%s: skipped %d files beside the folders', root, len(others))
  by_name = {os.path.basename(folder): folder for folder in folders}
  if 'train' in by_name and set(by_name) <= set(_SPLIT_ORDER):
    names = sorted(by_name, key=_SPLIT_ORDER.index)
    splits = {name: _folder_classes(tree, by_name[name]) for name in names}
  else:
    splits = {NO_SPLIT: _folder_classes(tree, tree.root)}
  return _checked(splits, tree)


def labeled(root: pathlib.Path, form: Form) -> tuple[np.ndarray, list[str]]:
  """Read the images in a folder that has a folder for each class.

  Returns:
    The images, uint8 [n, form.size, form.size, form.channels], and the name of each one's class.

  Raises:
    InputError: as `from_folders`, there are splits, or an image cannot be read.
  """
  splits = from_folders(root)
  if len(splits) > 1:
    raise InputError(f'{root} contains splits; give the folder of one, such as {root}/train')
  ((_, found),) = splits.items()
  names = [name for name, paths in found.items() for _ in paths]
  return read_all([str(path) for paths in found.values() for path in paths], form), names


def _folder_classes(tree: ImageTree, root: str) -> dict[str, Images]:
  """Take each folder in `root` as a class."""
  folders, _ = tree.entries(root)
  if not folders:
    raise InputError(f'{root} contains no folders; expected a folder of images for each class')
  images: dict[str, list[str]] = {}
  for folder in folders:
    name = canonical(os.path.basename(folder))
    images.setdefault(name, []).extend(_class_images(tree, folder))
  return dict(images)


def _class_images(tree: ImageTree, folder: str) -> list[str]:
  """Return the paths of the images of a class.

  Raises:
    InputError: there are none, or there are folders beside images or beside each other.
  """
  folders, images = tree.entries(folder)
  if len(folders) == 1 and (not images or os.path.basename(folders[0]) == 'images'):
    if images:
      logging.warning('%s: skipped %d files beside images/', folder, len(images))
    folders, images = tree.entries(folders[0])
  if folders:
    raise InputError(
      f'the class folder {folder} contains the folder {os.path.relpath(folders[0], folder)!r} and '
      'others; expected images only. Call the folders of splits train, val and test, list groups '
      'of classes as GROUP/CLASS in --splits, or give --input_path=GROUP'
    )
  if not images:
    raise InputError(f'the class folder {folder} contains no images; add some or remove it')
  return images


def from_lists(root: pathlib.Path, lists: Sequence[pathlib.Path]) -> Splits:
  """Take each text file of class names, one a line, as a split (CIFAR-FS).

  Args:
    root: the folder with a folder of images for each class.
    lists: the text files; the name of a file, without its suffix, is the name of the split.

  Raises:
    InputError: as `from_folders`, or there is no folder of a name (the message has the line).
  """
  tree = ImageTree(root)
  splits: Splits = {}
  for split, path in _by_stem(lists).items():
    images: dict[str, list[str]] = {}
    for number, line in enumerate(_text(path, 'a list of class names').splitlines(), 1):
      where = f'{path}, line {number}'
      name = tree.relative(line, where)
      if leftover := classes.leftover_in(name):
        tree.leftovers.append(leftover)
      elif line.strip():
        if not os.path.isdir(folder := os.path.join(tree.root, name)):
          raise InputError(f'{where}: {shown(name)!r} is not a folder in {root}')
        images[canonical(name)] = _class_images(tree, folder)
    splits[split] = dict(images)
  return _checked(splits, tree)


def from_csvs(root: pathlib.Path, tables: Sequence[pathlib.Path]) -> Splits:
  """Take each CSV file with the columns filename and label as a split (miniImageNet).

  Args:
    root: the folder to which the file names are relative; absolute ones must be below it.
    tables: the CSV files; the name of a file, without its suffix, is the name of the split.

  Raises:
    InputError: a file does not have these columns; it names an image that is missing, outside of
      `root` or named before (the message has the line); or a class or an image is in two splits.
  """
  tree = ImageTree(root)
  seen: dict[str, str] = {}
  splits: Splits = {}
  for split, path in _by_stem(tables).items():
    images: dict[str, list[str]] = {}
    for where, name, label in _rows(path):
      plain = tree.relative(name, where)
      if leftover := classes.leftover_in(plain):
        tree.leftovers.append(leftover)
        continue
      file = os.path.join(tree.root, plain)
      if not os.path.isfile(file):
        raise InputError(f'{where}: {shown(name)!r} is not a file in {root}')
      if file in seen:
        raise InputError(f'{where}: {shown(name)!r} is named before ({seen[file]})')
      seen[file] = where
      images.setdefault(label, []).append(file)
    splits[split] = dict(images)
  return _checked(splits, tree)


def _rows(path: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """Yield the place, the file name and the label of each row of a CSV file.

  Raises:
    InputError: a column or an entry is missing; the message has the line.
  """
  table = csv.DictReader(io.StringIO(_text(path, 'a CSV file'), newline=''), strict=True)
  try:
    table.fieldnames = [canonical(name).lower() for name in table.fieldnames or ()]
    if not set(_COLUMNS) <= set(table.fieldnames):
      raise InputError(
        f'{path}: the columns are {classes.sequence(table.fieldnames)}; expected filename and '
        'label, separated by a comma'
      )
    if ignored := sorted(set(table.fieldnames) - {*_COLUMNS, ''}):
      logging.warning(
        '%s: the columns %s are ignored; if one is the split, give a CSV file for each split',
        path,
        classes.sequence(ignored),
      )
    for row in table:
      where, label = f'{path}, line {table.line_num}', canonical(row['label'] or '')
      if not (row['filename'] or '').strip() or not label:
        raise InputError(f'{where}: the file name or the label is missing')
      yield where, row['filename'], label
  except csv.Error as error:
    raise InputError(f'{path}, line {table.reader.line_num}: {error}') from error


def _text(path: pathlib.Path, expected: str) -> str:
  """Return the content of a text file in UTF-8, with or without a byte order mark."""
  files.refuse_page_or_empty(path, expected)
  try:
    return path.read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError(f'{path} is not {expected} in UTF-8 ({error.reason})') from error


def from_pickles(pickles: Sequence[pathlib.Path]) -> Splits:
  """Take each pickle, a dict of `data`, uint8 [n, H, W, C], and `labels`, [n], as a split (FC100).

  All pixels go into memory. The name of a class is SPLIT/LABEL, as each file may number its labels
  from 0; SPLIT is the name of the file without its suffix.

  Raises:
    InputError: a file contains something else, or classes of two files have the same images.
  """
  splits: Splits = {}
  for split, path in _by_stem(pickles).items():
    images, members = miniimagenet.read(path)
    splits[split] = {
      f'{split}/{name}': np.stack([images[index] for index in indices]) for name, indices in members
    }
  return _checked(splits)


def _by_stem(paths: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
  """Return the files of splits by their names without the suffix."""
  found = {path.stem: path for path in paths}
  if len(found) < len(paths):
    raise InputError(f'two of {classes.sequence(map(str, paths))} have the same name; rename one')
  return found


def _checked(splits: Splits, tree: ImageTree | None = None) -> Splits:
  """Return `splits` with the classes of each in natural order, and report what `tree` skipped.

  Raises:
    InputError: a split is empty, or two have a class or an image in common.
  """
  if tree is not None:
    classes.report_leftovers(tree.root, tree.leftovers)
  checks = SplitChecks()
  for split, named in splits.items():
    if not named:
      raise InputError(f'the split {split!r} has no classes')
    for name, images in named.items():
      checks.add_name(split, name)
      if isinstance(images, np.ndarray):
        checks.add_pixels(split, name, images)
      else:
        checks.add_files(split, images)
  return {
    split: {name: named[name] for name in sorted(named, key=natural_key)}
    for split, named in splits.items()
  }
