"""Finds out which image belongs to which split and class, before any image is decoded.

There are four ways to tell: folders, lists of classes, CSV files and pickles, with one function
`from_...` for each (utils/cache_image_folder.py). A mistake in the layout is thus reported before
the long work begins. The classes of a split are in the natural order of their names, 2 before 10;
names are compared in one spelling (`class_names`).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.converters import class_names, leftovers, pickled_labels, split_checks, tables
from hypertransformer.converters.image_tree import ImageTree
from hypertransformer.errors import InputError

# The names that a folder of a split may have, in the order in which the classes are numbered.
_SPLIT_ORDER = ('train', 'val', 'valid', 'validation', 'test')
# What others call them.
_SPLIT_LIKE = frozenset(
  (
    *_SPLIT_ORDER,
    *('training', 'trn', 'base', 'background', 'images_background', 'meta-train', 'meta_train'),
    *('dev', 'eval', 'evaluation', 'images_evaluation', 'meta-val', 'meta_val', 'metaval'),
    *('testing', 'tst', 'novel', 'query', 'support', 'meta-test', 'meta_test', 'metatest'),
    *('metatrain', 'train_set', 'val_set', 'test_set', 'trainset', 'valset', 'testset'),
  )
)
NO_SPLIT = 'all'  # the name of the split if there is only one


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
  class are taken as images, except leftovers (see `leftovers`). The images of a class may also be
  in a single folder inside its folder. Folders whose names are two spellings of one name, such as
  'cat' and 'cat ', are one class.

  Raises:
    InputError: there are no classes, a class has no images, a link is broken or leads back to a
      folder above it, the folders look like splits of other names, or a class or an image is in two
      splits.
  """
  tree = ImageTree(root)
  folders, files = tree.entries(root)
  if files:
    logging.warning('%s: %d files beside the folders are left out', root, len(files))
  names = [pathlib.Path(folder).name for folder in folders]
  if 'train' in names and set(names) <= set(_SPLIT_ORDER):
    splits = [
      Split(name, _folder_classes(tree, root / name)) for name in _SPLIT_ORDER if name in names
    ]
  else:
    _refuse_other_splits(tree, folders)
    splits = [Split(NO_SPLIT, _folder_classes(tree, root))]
  return _checked(splits, tree)


def from_lists(root: pathlib.Path, lists: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each list as a split: a text file of class names, one on each line (as for CIFAR-FS).

  Args:
    root: the folder with a folder of images for each class.
    lists: the text files; the name of a file, without its ending, is the name of the split.

  Raises:
    InputError: as `from_folders`, or a list names a folder that is not there or names a class
      twice; the message has the line.
  """
  tree = ImageTree(root)
  splits = []
  for path in lists:
    classes: dict[str, list[str]] = {}
    for where, line in tables.lines(path):
      name = class_names.canonical(tree.relative(line.strip(), where))
      if leftovers.passed_in_path(f'{name}/', is_listed=True):
        tree.passed.append(name)
        continue
      folders = tree.folders_named(name) if name else []
      if not folders:
        raise InputError(
          f'{where}: {root} has no folder {class_names.shown(name)!r}; expected one folder for '
          'each class name: correct --input_path or the list'
        )
      if name in classes:
        raise InputError(f'{where}: the class {name!r} is listed twice; list it once')
      classes[name] = [file for folder in folders for file in _class_files(tree, folder)]
    splits.append(Split(path.stem, _in_order(classes)))
  _warn_unlisted(tree, splits)
  return _checked(splits, tree)


def from_csvs(root: pathlib.Path, csv_files: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each table as a split: a CSV file with the columns filename and label (as miniImageNet).

  Args:
    root: the folder that the file names are relative to; absolute ones must lie in it.
    csv_files: the tables; the name of a file, without its ending, is the name of the split. The
      label of an image is the name of its class.

  Raises:
    InputError: a table does not have these columns; it names an image that is missing, outside
      `root` or named before (the message has the line); or a class or an image is in two splits.
  """
  tree = ImageTree(root)
  seen: dict[str, str] = {}
  splits = []
  for path in csv_files:
    classes: dict[str, list[str]] = {}
    missing: list[str] = []
    for where, name, label in tables.rows(path):
      plain = tree.relative(name, where)
      passed = leftovers.passed_in_path(plain, is_listed=True)
      if passed is not None:
        tree.passed.append(passed)
        continue
      file = tree.file_named(plain)
      if file is None:
        missing.append(f'{where}: {class_names.shown(name)!r} is not a file in {root}')
      elif file in seen:
        raise InputError(
          f'{where}: {class_names.shown(name)!r} is named before already ({seen[file]}); name each '
          'image once'
        )
      else:
        seen[file] = where
        classes.setdefault(label, []).append(file)
    if missing:
      more = f' (and {len(missing) - 1} further files of it)' if len(missing) > 1 else ''
      raise InputError(
        f'{missing[0]}{more}; expected every image that is named: correct --input_path or the table'
      )
    splits.append(Split(path.stem, _in_order(classes)))
  return _checked(splits, tree)


def from_pickles(pickles: Sequence[pathlib.Path]) -> list[Split]:
  """Takes each pickle as a split: a dict of `data`, uint8 [n, H, W, C], and `labels`, [n] (FC100).

  All pixels go into memory. Each file numbers its labels anew, so the name of a class is
  SPLIT/LABEL, where SPLIT is the name of the file without its ending.

  Raises:
    InputError: a file does not hold such a dict, or classes of two files have the same images.
  """
  splits = []
  for path in pickles:
    images, labels = pickled_labels.read_images(path)
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


def _folder_classes(tree: ImageTree, folder: pathlib.Path) -> tuple[ImageClass, ...]:
  """Takes each visible folder in `folder` as a class, and those of one name as one class."""
  folders, _ = tree.entries(folder)
  if not folders:
    raise InputError(f'{folder} holds no folders; expected a folder of images for each class')
  classes: dict[str, list[str]] = {}
  for path in folders:
    name = class_names.canonical(os.path.basename(path))
    if not name:
      raise InputError(f'the folder {path!r} has a blank name; give it the name of a class')
    if name in classes:
      logging.warning('%s: its name is another spelling of %r: taken as one class', path, name)
    classes.setdefault(name, []).extend(_class_files(tree, path))
  return _in_order(classes)


def _class_files(tree: ImageTree, folder: str) -> list[str]:
  """Returns the paths of the image files of a class, in the natural order of their names.

  Raises:
    InputError: there are none, or the class has further folders beside images or beside each other.
  """
  folders, files = tree.entries(folder)
  while folders:
    if files or len(folders) > 1:
      raise InputError(
        f'the class folder {folder} holds the folder {os.path.relpath(folders[0], folder)!r} '
        f'beside {"images" if files else "others"}; expected images only. If it is a group of '
        'classes, name the classes by --splits (GROUP/CLASS, one a line) or give '
        '--input_path=GROUP'
      )
    folders, files = tree.entries(folders[0])
  if not files:
    raise InputError(f'the class folder {folder} holds no images; add some or remove it')
  return files


def _refuse_other_splits(tree: ImageTree, folders: Sequence[str]) -> None:
  """Raises InputError if at least two folders have names of splits and hold folders only."""
  alike = []
  for folder in folders:
    name = class_names.canonical(os.path.basename(folder)).casefold()
    if name in _SPLIT_LIKE:
      inner, files = tree.entries(folder)
      if inner and not files:
        alike.append(os.path.basename(folder))
  if len(alike) > 1:
    others = [os.path.basename(folder) for folder in folders]
    raise InputError(
      f'{tree.root} holds the folders {class_names.sequence(others)}, of which '
      f'{class_names.sequence(alike)} look like splits; expected the names train, val and test '
      '(val or test may be missing), in small letters, and no other folders: rename them (base is '
      'train, novel is test) and move other folders away'
    )


def _in_order(classes: dict[str, list[str]]) -> tuple[ImageClass, ...]:
  """Returns classes, the files of each by its name, in the natural order of their names."""
  ordered = sorted(classes.items(), key=lambda item: class_names.natural_key(item[0]))
  return tuple(ImageClass(name, files) for name, files in ordered)


def _warn_unlisted(tree: ImageTree, splits: Sequence[Split]) -> None:
  """Logs a warning if some folders in the root of `tree` are in no split."""
  listed = {pathlib.PurePath(cls.name).parts[0] for split in splits for cls in split.classes}
  folders = map(os.path.basename, tree.entries(tree.root)[0])
  unlisted = [name for name in folders if class_names.canonical(name) not in listed]
  if unlisted:
    logging.warning(
      '%s: %d folders (%s, ...) are in no split and left out', tree.root, len(unlisted), unlisted[0]
    )


def _checked(splits: list[Split], tree: ImageTree | None = None) -> list[Split]:
  """Returns `splits`, if they have nothing in common, and tells what `tree` passed over."""
  if tree is not None:
    tree.report()
  checks = split_checks.SplitChecks()
  for number, split in enumerate(splits):
    if split.name in [other.name for other in splits[:number]]:
      raise InputError(f'two splits are called {split.name!r}; give their files different names')
    if not split.classes:
      raise InputError(f'the split {split.name!r} has no classes; expected at least one')
    for cls in split.classes:
      checks.add_name(split.name, cls.name)
      if isinstance(cls.images, np.ndarray):
        checks.add_pixels(split.name, cls.name, cls.images)
      elif len(splits) > 1:
        checks.add_files(split.name, cls.images)
  checks.warn_of_case()
  return splits
