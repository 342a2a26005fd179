"""Converts the pickles in which miniImageNet is passed around (docs/spec/data.md, section 2).

The result is one uint8 array. Each pickle, of Python 2 or 3, has the images of one split. Two
layouts are common:

- a dict of `image_data`, uint8 [n, 84, 84, 3], and `class_dict`, which gives for each class name
  the indices of its images in `image_data`. The classes keep the order in which the file stores
  them, as in the original's converter. The indices are used one by one, and images that belong to
  no class are left out.
- a dict of `data`, uint8 [n, 84, 84, 3] or a list of images, and `labels`, n numbers or strings.
  The classes are put into the ascending order of their labels.

Splits have different classes. A class of the same name, or of the same images, in two files is an
error. (Numbers are no names: each file may begin with 0.)
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from hypertransformer.converters import class_files, pickled_labels
from hypertransformer.converters.pickled_labels import described
from hypertransformer.converters.split_checks import SplitChecks
from hypertransformer.data import class_list, files
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

# For each split, the names that its file may have; the first one that is there is read. The files
# mini-imagenet-cache-{train,val,test}.pkl are those of the few-shot-ssl release, and learn2learn
# downloads one called -validation.pkl. The .pickle files are those of "Dynamic few-shot visual
# learning without forgetting", which MetaOptNet and many others use.
NAMES = {
  'train': (
    'mini-imagenet-cache-train.pkl',
    'miniImageNet_category_split_train_phase_train.pickle',
  ),
  'val': (
    'mini-imagenet-cache-val.pkl',
    'mini-imagenet-cache-validation.pkl',
    'miniImageNet_category_split_val.pickle',
  ),
  'test': ('mini-imagenet-cache-test.pkl', 'miniImageNet_category_split_test.pickle'),
}
_EXPECTED = "a dict of 'image_data' and 'class_dict', or of 'data' and 'labels'"

# The images of a file, [n, H, W, 3] or a list of [H, W, 3]; and for each class its name and the
# indices of its images.
_Content = tuple[Sequence[np.ndarray] | np.ndarray, list[tuple[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Release:
  """What the complete dataset holds.

  Attributes:
    splits: for each split, its name and the number of its classes; in the order in which the
      classes are written.
    samples: the number of images of each class.
    side: the width and height of an image in pixels.
  """

  splits: tuple[tuple[str, int], ...]
  samples: int
  side: int

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of the array that is written, [classes, samples, side, side, 3]."""
    return sum(classes for _, classes in self.splits), self.samples, self.side, self.side, 3


OFFICIAL = Release((('train', 64), ('val', 16), ('test', 20)), samples=600, side=84)


def convert(folder: pathlib.Path, output: pathlib.Path, release: Release = OFFICIAL) -> None:
  """Writes the classes of all splits into one .npy file, uint8 [classes, samples, side, side, 3].

  The names of the classes are written beside it (see `class_files`).

  One split at a time is in memory. The largest one takes 0.8 GB, or twice that if its pickle is of
  protocol 2.

  Args:
    folder: the folder with the file of each split, under one of its NAMES.
    output: the file to write.
    release: what to expect: the official dataset, unless a test makes a small one.

  Raises:
    InputError: a file is missing, broken, hostile or incomplete (the message names it), a class is
      in two files, or the disk has no room. Nothing is written then.
  """
  files.require_folder(folder)
  paths = [_find(folder, name) for name, _ in release.splits]
  _warn_of_two_sources(folder, paths)
  files.require_space(output, math.prod(release.shape))
  checks = SplitChecks()
  entries: list[ClassEntry] = []
  with class_files.atomic_array(output) as (file, listing):
    file.write(files.uint8_header(release.shape))
    for path, (split, classes) in zip(paths, release.splits, strict=True):
      names = _write_split(file, path, classes, release, checks)
      entries += [ClassEntry(split, name) for name in names]
    class_list.write(listing, entries, [release.samples] * len(entries))


def counts(release: Release = OFFICIAL) -> str:
  """Returns the number of classes of each split in words, for a summary."""
  return ', '.join(f'{name} {classes} classes' for name, classes in release.splits)


def _find(folder: pathlib.Path, split: str) -> pathlib.Path:
  """Finds the file of a split, and refuses it if it is a web page.

  All files are found before the first one is read, so that this error comes early.
  """
  for name in NAMES[split]:
    if (folder / name).exists():
      files.refuse_page_or_empty(folder / name, 'a pickle')
      return folder / name
  raise InputError(
    f'{folder} holds no file of the {split} split; looked for {" and ".join(NAMES[split])}: '
    'put one there, or correct --input_path'
  )


def _warn_of_two_sources(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
  """Logs a warning if the files of splits are of two sources, or more files are there than read."""
  known = [folder / name for names in NAMES.values() for name in names]
  unread = [path.name for path in known if path not in paths and path.exists()]
  if unread:
    logging.warning(
      '%s: %s read, %s not', folder, ', '.join(path.name for path in paths), ', '.join(unread)
    )
  if len({path.suffix for path in paths}) > 1:
    logging.warning(
      '%s: the files of the splits are of two sources, which resized the images differently; take '
      'all of them from one if you can',
      folder,
    )


def _write_split(
  file: BinaryIO, path: pathlib.Path, classes: int, release: Release, checks: SplitChecks
) -> list[str]:
  """Reads the file of a split and writes its images, class after class.

  Args:
    file: the file to write to.
    path: the file of the split.
    classes: the number of classes that the split should have.
    release: what the complete dataset holds.
    checks: knows the classes of the splits before.

  Returns:
    The names of the classes.
  """
  images, named = _read(path, release.side)
  if len(named) != classes:
    raise InputError(f'{path} holds {len(named)} classes; expected {classes}')
  members = [indices for _, indices in named]
  _check_members(members, len(images), path, release.samples)
  bar = progress(f'miniimagenet, {path.name}', classes, 'classes')
  for number, (name, indices) in enumerate(named, 1):
    if not name.isdecimal():
      checks.add_name(path.name, name)
    chosen = [images[index] for index in indices.tolist()]
    checks.add_pixels(path.name, name, chosen)
    for image in chosen:
      file.write(np.ascontiguousarray(image).data)
    show(bar, number)
  return [name for name, _ in named]


def _read(path: pathlib.Path, side: int) -> _Content:
  """Reads a file of either layout."""
  content = pickled_labels.read_dict(path, _EXPECTED)
  if {'image_data', 'class_dict'} <= set(content):
    images = _images(content['image_data'], f"{path}: 'image_data'", side)
    return images, _class_dict(content['class_dict'], path)
  if {'data', 'labels'} <= set(content):
    images = _images(content['data'], f"{path}: 'data'", side)
    return images, _by_label(content['labels'], len(images), path)
  raise InputError(
    f'{path} holds a dict of {pickled_labels.keys_found(content)}; expected {_EXPECTED}'
  )


def _images(value: Any, what: str, side: int) -> Sequence[np.ndarray] | np.ndarray:
  """Returns `value` if it is images of the expected shape; raises InputError if it is not."""
  shape = (side, side, 3)
  if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[1:] == shape:
    return np.asarray(value)
  expected = f'expected uint8 [n, {side}, {side}, 3]'
  if isinstance(value, list):
    for number, image in enumerate(value):
      if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
        raise InputError(f'{what}: entry {number} is {described(image)}; {expected}')
    return value
  raise InputError(f'{what} is {described(value)}; {expected}')


def _class_dict(value: Any, path: pathlib.Path) -> list[tuple[str, np.ndarray]]:
  """Returns the name of each class and the indices of its images, in the order of the dict."""
  if not isinstance(value, dict):
    raise InputError(
      f"{path}: 'class_dict' is {described(value)}; expected a dict of class names and lists of "
      'indices'
    )
  found: dict[str, list[np.ndarray]] = {}
  for key, indices in value.items():
    name = pickled_labels.name_of(key)  # two spellings of one name are one class
    numbers = pickled_labels.numbers(indices, f"{path}: 'class_dict' of class {name[:40]!r}")
    found.setdefault(name, []).append(numbers)
  return [(name, np.concatenate(parts)) for name, parts in found.items()]


def _by_label(labels: Any, images: int, path: pathlib.Path) -> list[tuple[str, np.ndarray]]:
  """Returns the label of each class and the indices of its images, in the order of the labels.

  Args:
    labels: the label of each image, as in the file.
    images: the number of images in the file.
    path: the file, for errors.
  """
  classes, names = pickled_labels.ranks(labels, f"{path}: 'labels'")
  if len(classes) != images:
    raise InputError(
      f"{path} holds {len(classes)} 'labels' for {images} images in 'data'; expected one for each"
    )
  order = np.argsort(classes, kind='stable')
  parts = np.split(order, np.searchsorted(classes[order], np.arange(1, len(names))))
  return list(zip(names, parts, strict=True))


def _check_members(
  members: list[np.ndarray], images: int, path: pathlib.Path, samples: int
) -> None:
  """Raises InputError unless each class has the right number of images, and all to itself.

  Args:
    members: for each class, the indices of its images.
    images: the number of images in the file.
    path: the file, for errors.
    samples: the number of images that each class should have.
  """
  owner = np.full(images, -1)
  for number, indices in enumerate(members):
    if len(indices) != samples:
      raise InputError(f'{path}: class {number} has {len(indices)} images; expected {samples}')
    if indices.min() < 0 or indices.max() >= images:
      raise InputError(
        f'{path}: class {number} has the images {indices.min()} to {indices.max()}; expected '
        f'indices 0 to {images - 1}, as the file holds {images} images'
      )
    if len(np.unique(indices)) < samples or (owner[indices] >= 0).any():
      raise InputError(
        f'{path}: an image of class {number} is named twice, in it or in an earlier class; '
        'expected each image in one class'
      )
    owner[indices] = number
