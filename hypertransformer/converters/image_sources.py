"""Finds out which image belongs to which split and class, before any image is decoded.

There are four ways to tell: folders, lists of classes, CSV files and pickles, with one function
`from_...` for each (utils/cache_image_folder.py). A mistake in the layout is thus reported before
the long work begins.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from hypertransformer.converters import pickled_labels
from hypertransformer.errors import InputError
from hypertransformer.files import sniff

# The names that a folder of a split may have, in the order in which the classes are numbered.
_SPLIT_ORDER = ('train', 'val', 'valid', 'validation', 'test')
NO_SPLIT = 'all'  # the name of the split if there is only one
# Files and folders that operating systems leave behind.
_CLUTTER = ('thumbs.db', 'desktop.ini', '__macosx')


@dataclasses.dataclass(frozen=True, eq=False)
class ImageClass:
  """A class of a dataset to be made.

  Attributes:
    name: the name of the class.
    images: the paths of its image files, or its pixels, uint8 [n, H, W, C].
  """

  name: str
  images: Sequence[str] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Split:
  """A split of a dataset to be made.

  Attributes:
    name: the name of the split, such as 'train'.
    classes: its classes, in the order in which they are numbered.
  """

  name: str
  classes: tuple[ImageClass, ...]

  @property
  def num_images(self) -> int:
    """The number of images of all classes together."""
    return sum(len(cls.images) for cls in self.classes)


def from_folders(root: pathlib.Path) -> list[Split]:
  """Takes each folder in `root` as a class.

  But if all folders in `root` are called train, val (or valid, or validation) and test, with train
  among them, they are splits, and the folders in them are classes. All files in the folder of a
  class are taken as images, except hidden ones and those that operating systems leave behind, such
  as Thumbs.db. The images of a class may also be in a single folder inside its folder.

  Raises:
    InputError: there are no classes, a class has no images, a link is broken or leads back to a
      folder above it, or a class is in two splits.
  """
  folders, files = _entries(root)
  if files:
    logging.warning('%s: %d files beside the folders are left out', root, len(files))
  names = [pathlib.Path(folder).name for folder in folders]
  if 'train' in names and set(names) <= set(_SPLIT_ORDER):
    splits = [Split(name, _folder_classes(root / name)) for name in _SPLIT_ORDER if name in names]
  else:
    splits = [Split(NO_SPLIT, _folder_classes(root))]
  return _checked(splits)


def from_lists(root: pathlib.Path, lists: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each list as a split: a text file of class names, one on each line (as for CIFAR-FS).

  Args:
    root: the folder with a folder of images for each class.
    lists: the text files; the name of a file, without its ending, is the name of the split.

  Raises:
    InputError: as `from_folders`, or a list names a folder that is not there or names a class
      twice; the message has the line.
  """
  splits = []
  for path in lists:
    classes = {}
    for number, line in enumerate(_text(path, 'a list of class names').splitlines(), 1):
      if name := line.strip():
        _refuse_outside(name, f'{path}, line {number}')
        if not (root / name).is_dir():
          raise InputError(
            f'{path}, line {number}: {root} has no folder {name!r}; expected one folder for each '
            'class name: correct --input_path or the list'
          )
        if name in classes:
          raise InputError(
            f'{path}, line {number}: the class {name!r} is listed twice; list it once'
          )
        classes[name] = ImageClass(name, _class_files(str(root / name)))
    splits.append(Split(path.stem, _sorted(classes.values())))
  _warn_unlisted(root, splits)
  return _checked(splits)


def from_csvs(root: pathlib.Path, tables: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each table as a split: a CSV file with the columns filename and label (as miniImageNet).

  Args:
    root: the folder that the file names are relative to.
    tables: the CSV files; the name of a file, without its ending, is the name of the split. The
      label of an image is the name of its class.

  Raises:
    InputError: a table does not have these columns; it names an image that is missing, outside
      `root` or named before (the message has the line); or a class is in two splits.
  """
  seen: set[str] = set()
  splits = []
  for path in tables:
    classes: dict[str, list[str]] = {}
    missing: list[str] = []
    for where, name, label in _rows(path):
      file = os.path.join(root, name)
      if file in seen:
        raise InputError(f'{where}: {name!r} is named before already; name each image once')
      seen.add(file)
      classes.setdefault(label, []).append(file)
      if not os.path.isfile(file):
        missing.append(f'{where}: {name!r} is not a file in {root}')
    if missing:
      more = f' (and {len(missing) - 1} further files of it)' if len(missing) > 1 else ''
      raise InputError(
        f'{missing[0]}{more}; expected every image that is named: correct --input_path or the table'
      )
    splits.append(
      Split(path.stem, _sorted(ImageClass(label, files) for label, files in classes.items()))
    )
  return _checked(splits)


def from_pickles(pickles: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each pickle as a split: a dict of `data`, uint8 [n, H, W, C], and `labels`, [n] (FC100).

  All pixels go into memory. Each file numbers its labels anew, so the name of a class is
  SPLIT/LABEL, where SPLIT is the name of the file without its ending.

  Raises:
    InputError: a file does not hold such a dict.
  """
  splits = []
  for path in pickles:
    images, labels = _pickled(path)
    order = np.argsort(labels, kind='stable')
    values, starts = np.unique(labels[order], return_index=True)
    parts = np.split(images[order], starts[1:])
    splits.append(
      Split(
        path.stem,
        tuple(
          ImageClass(f'{path.stem}/{label}', part)
          for label, part in zip(values, parts, strict=True)
        ),
      )
    )
  return _checked(splits)


def _pickled(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Reads the images, uint8 [n, H, W, C], and the labels, int64 [n], of one pickle."""
  expected = 'a dict with the entries data and labels, as in a split of FC100'
  found = pickled_labels.read_dict(path, expected)
  if not {'data', 'labels'} <= set(found):
    raise InputError(
      f'{path} holds a dict with {pickled_labels.keys_found(found)}; expected {expected}'
    )
  images, labels = (
    np.asarray(found['data']),
    pickled_labels.numbers(found['labels'], f'labels of {path}'),
  )
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


def _folder_classes(folder: pathlib.Path) -> tuple[ImageClass, ...]:
  """Takes each visible folder in `folder` as a class."""
  folders, _ = _entries(folder)
  if not folders:
    raise InputError(f'{folder} holds no folders; expected a folder of images for each class')
  return _sorted(ImageClass(os.path.basename(path), _class_files(path)) for path in folders)


def _class_files(folder: str) -> list[str]:
  """Returns the paths of the image files of a class, sorted by name.

  Raises:
    InputError: there are none, or the class has further folders beside images or beside each other.
  """
  folders, files = _entries(folder)
  while folders:
    if files or len(folders) > 1:
      raise InputError(
        f'the class folder {folder} holds the folder {os.path.relpath(folders[0], folder)!r} '
        f'beside {"images" if files else "others"}; expected images only. If it is a group of '
        'classes, name the classes by --splits (GROUP/CLASS, one a line) or give '
        '--input_path=GROUP'
      )
    folders, files = _entries(folders[0])
  if not files:
    raise InputError(f'the class folder {folder} holds no images; add some or remove it')
  return files


def _entries(folder: str | pathlib.Path) -> tuple[list[str], list[str]]:
  """Lists the visible folders and the visible files in a folder, as paths sorted by name.

  Raises:
    InputError: the folder cannot be read, or a link in it leads nowhere or back to a folder above.
  """
  folders, files = [], []
  try:
    with os.scandir(folder) as found:
      entries = sorted(found, key=lambda entry: entry.name)
  except OSError as error:
    raise InputError(
      f'the folder {folder} cannot be read ({error.strerror}); expected images by class'
    ) from error
  for entry in entries:
    if entry.name.startswith('.') or entry.name.lower() in _CLUTTER:
      continue
    if os.path.isdir(entry.path):
      if entry.is_symlink() and _leads_back(entry.path):
        raise InputError(f'{entry.path} is a link that leads back to a folder above it; remove it')
      folders.append(entry.path)
    elif os.path.isfile(entry.path):
      files.append(entry.path)
    elif entry.is_symlink():
      raise InputError(f'{entry.path} is a broken link, or one in a circle; remove it')
  return folders, files


def _leads_back(link: str) -> bool:
  """Tells whether a link to a folder leads to one that contains the link."""
  target, folder = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
  return os.path.commonpath([target, folder]) == target


def _rows(path: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """Yields each row of a CSV file: its place, such as 'train.csv, line 2', file name and label."""
  table = csv.DictReader(io.StringIO(_text(path, 'a CSV file'), newline=''), strict=True)
  try:
    if not {'filename', 'label'} <= set(table.fieldnames or ()):
      raise InputError(
        f'{path}: the first line is {",".join(table.fieldnames or ())[:80]!r}; expected the '
        'columns filename,label'
      )
    for row in table:
      where = f'{path}, line {table.line_num}'
      name, label = row['filename'], row['label']
      if not name or not label:
        raise InputError(f'{where}: the file name or the label is missing; expected filename,label')
      _refuse_outside(name, where)
      yield where, name, label
  except csv.Error as error:
    raise InputError(
      f'{path}, line {table.reader.line_num}: {error}; expected filename,label'
    ) from error


def _text(path: pathlib.Path, expected: str) -> str:
  """Reads a text file in UTF-8, with or without a byte order mark; `expected` is for errors."""
  sniff.refuse_page_or_empty(path, expected)
  try:
    return path.read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError(
      f'{path} is not text in UTF-8 ({error.reason}); expected {expected}'
    ) from error


def _refuse_outside(name: str, where: str) -> None:
  """Raises InputError if a name in a list, which comes from a stranger, leads out of the folder."""
  if os.path.isabs(name) or '..' in pathlib.PurePath(name).parts:
    raise InputError(
      f'{where}: {name!r} leads outside --input_path; expected a name relative to it'
    )


def _sorted(classes: Iterable[ImageClass]) -> tuple[ImageClass, ...]:
  return tuple(sorted(classes, key=lambda cls: cls.name))


def _warn_unlisted(root: pathlib.Path, splits: Sequence[Split]) -> None:
  """Logs a warning if some folders in `root` are in no split."""
  listed = {pathlib.PurePath(cls.name).parts[0] for split in splits for cls in split.classes}
  unlisted = [name for name in map(os.path.basename, _entries(root)[0]) if name not in listed]
  if unlisted:
    logging.warning(
      '%s: %d folders (%s, ...) are in no split and left out', root, len(unlisted), unlisted[0]
    )


def _checked(splits: list[Split]) -> list[Split]:
  """Returns `splits`, if each has classes and no two have the same name or the same class."""
  split_of: dict[str, str] = {}
  for number, split in enumerate(splits):
    if split.name in [other.name for other in splits[:number]]:
      raise InputError(f'two splits are called {split.name!r}; give their files different names')
    if not split.classes:
      raise InputError(f'the split {split.name!r} has no classes; expected at least one')
    for cls in split.classes:
      if cls.name in split_of:
        raise InputError(
          f'the class {cls.name!r} is in two splits, {split_of[cls.name]} and {split.name}; '
          'expected splits of different classes, on which few-shot learning is tested: give '
          '--input_path one of the splits, or name the classes of each by --splits'
        )
      split_of[cls.name] = split.name
  return splits
