"""Where the images of a dataset are, by split and class: folders, CSV files, lists of classes,
pickles.

Nothing is decoded here: a mistake in the layout is told before the long work begins.
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

# Folders of splits, in the order in which their classes are numbered.
_SPLIT_ORDER = ('train', 'val', 'valid', 'validation', 'test')
NO_SPLIT = 'all'
_CLUTTER = ('thumbs.db', 'desktop.ini', '__macosx')


@dataclasses.dataclass(frozen=True, eq=False)
class ImageClass:
  """One class. images: paths of files, or pixels, uint8 [images, H, W, C]."""

  name: str
  images: Sequence[str] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Split:
  """The classes of a split, in the order of their numbers."""

  name: str
  classes: tuple[ImageClass, ...]

  @property
  def num_images(self) -> int:
    return sum(len(cls.images) for cls in self.classes)


def from_folders(root: pathlib.Path) -> list[Split]:
  """Class folders in `root`; or in `root`/train, val and test, if these are all of its folders.

  All files in a class folder are images, except hidden ones and what systems leave behind
  (Thumbs.db). A class folder may have its images in a single folder of its own.

  Raises: InputError: no classes, a class without images, a link that is broken or leads back, a
    class in two splits.
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
  """Splits are text files of class names, one a line (CIFAR-FS); classes are the folders of these
  names in `root`.

  Raises:
    InputError: as from_folders, or a list names a folder that is not there (with the line).
  """
  splits = []
  for path in lists:
    classes = {}
    for number, line in enumerate(_text(path, 'a list of class names').splitlines(), 1):
      if name := line.strip():
        _refuse_outside(name, f'{path}, line {number}')
        if not (root / name).is_dir():
          raise InputError(
            f'{path}, line {number}: {root} has no folder {name!r}; expected one folder for each class '
            'name: correct --input_path or the list'
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
  """Splits are CSV files with the columns filename and label (miniImageNet); file names are
  relative to `root`.

  Raises: InputError: no such columns, a file that is missing, outside `root` or named twice (with
    the line), a class in two
      splits.
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
  """Splits are pickled dicts of `data` uint8 [n, H, W, C] and `labels` [n] (FC100); all pixels go
  into memory.

  Labels are numbered anew in each file, so classes are called SPLIT/LABEL.

  Raises:
    InputError: not such a pickle.
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
  """uint8 [n, H, W, C] and integer labels [n] of one file."""
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
  """Every visible folder is a class."""
  folders, _ = _entries(folder)
  if not folders:
    raise InputError(f'{folder} holds no folders; expected a folder of images for each class')
  return _sorted(ImageClass(os.path.basename(path), _class_files(path)) for path in folders)


def _class_files(folder: str) -> list[str]:
  """The files of a class, sorted by name."""
  folders, files = _entries(folder)
  while folders:
    if files or len(folders) > 1:
      raise InputError(
        f'the class folder {folder} holds the folder {os.path.relpath(folders[0], folder)!r} beside '
        f'{"images" if files else "others"}; expected images only. If it is a group of classes, name '
        'the classes by --splits (GROUP/CLASS, one a line) or give --input_path=GROUP'
      )
    folders, files = _entries(folders[0])
  if not files:
    raise InputError(f'the class folder {folder} holds no images; add some or remove it')
  return files


def _entries(folder: str | pathlib.Path) -> tuple[list[str], list[str]]:
  """Paths of the visible folders and files in `folder`, sorted; InputError for links that lead
  nowhere or back.
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
  target, folder = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
  return os.path.commonpath([target, folder]) == target


def _rows(path: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """('train.csv, line 2', file name, label) of every row of a table."""
  table = csv.DictReader(io.StringIO(_text(path, 'a CSV file'), newline=''), strict=True)
  try:
    if not {'filename', 'label'} <= set(table.fieldnames or ()):
      raise InputError(
        f'{path}: the first line is {",".join(table.fieldnames or ())[:80]!r}; expected the columns '
        'filename,label'
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
  """A text file of UTF-8, with or without a byte order mark."""
  sniff.refuse_page_or_empty(path, expected)
  try:
    return path.read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError(
      f'{path} is not text in UTF-8 ({error.reason}); expected {expected}'
    ) from error


def _refuse_outside(name: str, where: str) -> None:
  """Lists come from strangers: they name nothing outside the folder."""
  if os.path.isabs(name) or '..' in pathlib.PurePath(name).parts:
    raise InputError(
      f'{where}: {name!r} leads outside --input_path; expected a name relative to it'
    )


def _sorted(classes: Iterable[ImageClass]) -> tuple[ImageClass, ...]:
  return tuple(sorted(classes, key=lambda cls: cls.name))


def _warn_unlisted(root: pathlib.Path, splits: Sequence[Split]) -> None:
  listed = {pathlib.PurePath(cls.name).parts[0] for split in splits for cls in split.classes}
  unlisted = [name for name in map(os.path.basename, _entries(root)[0]) if name not in listed]
  if unlisted:
    logging.warning(
      '%s: %d folders (%s, ...) are in no split and left out', root, len(unlisted), unlisted[0]
    )


def _checked(splits: list[Split]) -> list[Split]:
  """Every split has classes, and no two have the same name or the same class."""
  split_of: dict[str, str] = {}
  for number, split in enumerate(splits):
    if split.name in [other.name for other in splits[:number]]:
      raise InputError(f'two splits are called {split.name!r}; give their files different names')
    if not split.classes:
      raise InputError(f'the split {split.name!r} has no classes; expected at least one')
    for cls in split.classes:
      if cls.name in split_of:
        raise InputError(
          f'the class {cls.name!r} is in two splits, {split_of[cls.name]} and {split.name}; expected '
          'splits of different classes, on which few-shot learning is tested: give --input_path one '
          'of the splits, or name the classes of each by --splits'
        )
      split_of[cls.name] = split.name
  return splits
