"""The pickles in which miniImageNet is passed around -> one uint8 array (spec: data.md section 2).

Two layouts are common, in files of Python 2 or 3: `image_data` uint8 [n, 84, 84, 3] and
  `class_dict` {class name: indices into image_data}; the classes keep the order
    in which the file stores them, as in the original converter. The indices are used one by one;
    images that no class names are left out.
  `data` uint8 [n, 84, 84, 3] (or a list of images) and `labels`, n numbers or strings; classes in
  ascending order.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from hypertransformer.converters import pickled_labels
from hypertransformer.errors import InputError
from hypertransformer.files import sniff, writing
from hypertransformer.progress import Progress

# The file names under which the splits are held, by split; the first one that is there is read. The
# first row is from the few-shot-ssl release, the second what learn2learn downloads, the third from
# "Dynamic few-shot visual learning without forgetting", which MetaOptNet and many others took over.
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

# Images [n, H, W, 3], or a list of [H, W, 3]; and the indices of each class.
Split = tuple[Sequence[np.ndarray] | np.ndarray, list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Release:
  """What the complete dataset holds."""

  splits: tuple[tuple[str, int], ...]  # (name, classes), in class order
  samples: int  # of each class
  side: int  # pixels, width and height

  @property
  def shape(self) -> tuple[int, ...]:
    return sum(classes for _, classes in self.splits), self.samples, self.side, self.side, 3


OFFICIAL = Release((('train', 64), ('val', 16), ('test', 20)), samples=600, side=84)


def convert(folder: pathlib.Path, output: pathlib.Path, release: Release = OFFICIAL) -> None:
  """Writes the classes of the splits, one split after the other, as one .npy file; atomically.

  One split is in memory at a time: 0.8 GB for the largest, twice that when the pickle is of
  protocol 2.

  Args:
    folder: holds a file of each split, under one of NAMES.
    output: the file; uint8 [classes, samples, side, side, 3].
    release: what to expect; the official dataset unless a test makes a small one.

  Raises: InputError: a missing, broken, hostile or incomplete file (named), or no room; nothing is
    written.
  """
  sniff.require_folder(folder)
  paths = [_find(folder, name) for name, _ in release.splits]
  writing.require_space(output, math.prod(release.shape))
  with writing.atomic_file(output) as file:
    header: dict[str, Any] = {'descr': '|u1', 'fortran_order': False, 'shape': release.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for path, (_, classes) in zip(paths, release.splits, strict=True):
      _write_split(file, path, classes, release)


def counts(release: Release = OFFICIAL) -> str:
  """The splits in words, for a summary."""
  return ', '.join(f'{name} {classes} classes' for name, classes in release.splits)


def _find(folder: pathlib.Path, split: str) -> pathlib.Path:
  """The file of a split; that it is no web page is known before the first large file is read."""
  for name in NAMES[split]:
    if (folder / name).exists():
      sniff.refuse_page_or_empty(folder / name, 'a pickle')
      return folder / name
  raise InputError(
    f'{folder} holds no file of the {split} split; looked for {" and ".join(NAMES[split])}: put one '
    'there, or correct --input_path'
  )


def _write_split(file: BinaryIO, path: pathlib.Path, classes: int, release: Release) -> None:
  """Appends a split class by class."""
  images, members = _read(path, release.side)
  if len(members) != classes:
    raise InputError(f'{path} holds {len(members)} classes; expected {classes}')
  _check_members(members, len(images), path, release.samples)
  progress = Progress(f'miniimagenet, {path.name}', classes, 'classes')
  for number, indices in enumerate(members, 1):
    if isinstance(images, np.ndarray):
      file.write(images[indices].data)
    else:
      for index in indices.tolist():
        file.write(np.ascontiguousarray(images[index]).data)
    progress.update(number)


def _read(path: pathlib.Path, side: int) -> Split:
  """Images and classes of a file of either layout."""
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
  """`value` if it is images of the expected shape."""
  shape = (side, side, 3)
  if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[1:] == shape:
    return np.asarray(value)
  expected = f'expected uint8 [n, {side}, {side}, 3]'
  if isinstance(value, list):
    for number, image in enumerate(value):
      if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
        raise InputError(f'{what}: entry {number} is {_kind(image)}; {expected}')
    return value
  raise InputError(f'{what} is {_kind(value)}; {expected}')


def _kind(value: Any) -> str:
  return (
    f'{value.dtype} {list(value.shape)}'
    if isinstance(value, np.ndarray)
    else f'a {type(value).__name__}'
  )


def _class_dict(value: Any, path: pathlib.Path) -> list[np.ndarray]:
  """The indices of each class, in the order of the dict."""
  if not isinstance(value, dict):
    raise InputError(
      f"{path}: 'class_dict' is {_kind(value)}; expected a dict of class names and lists of indices"
    )
  return [
    pickled_labels.numbers(indices, f"{path}: 'class_dict' of class {str(name)[:40]!r}")
    for name, indices in value.items()
  ]


def _by_label(labels: Any, images: int, path: pathlib.Path) -> list[np.ndarray]:
  """The indices of each label's images, in ascending order of the labels."""
  classes, count = pickled_labels.ranks(labels, f"{path}: 'labels'")
  if len(classes) != images:
    raise InputError(
      f"{path} holds {len(classes)} 'labels' for {images} images in 'data'; expected one for each"
    )
  order = np.argsort(classes, kind='stable')
  return np.split(order, np.searchsorted(classes[order], np.arange(1, count)))


def _check_members(
  members: list[np.ndarray], images: int, path: pathlib.Path, samples: int
) -> None:
  """Raises InputError unless every class has `samples` images of its own among the `images` there
  are.
  """
  owner = np.full(images, -1)
  for number, indices in enumerate(members):
    if len(indices) != samples:
      raise InputError(f'{path}: class {number} has {len(indices)} images; expected {samples}')
    if indices.min() < 0 or indices.max() >= images:
      raise InputError(
        f'{path}: class {number} has the images {indices.min()} to {indices.max()}; expected indices '
        f'0 to {images - 1}, as the file holds {images} images'
      )
    if len(np.unique(indices)) < samples or (owner[indices] >= 0).any():
      raise InputError(
        f'{path}: an image of class {number} is named twice, in it or in an earlier class; expected '
        'each image in one class'
      )
    owner[indices] = number
