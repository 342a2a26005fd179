"""Convert the pickles in which miniImageNet is distributed (docs/spec/data.md, section 2).

Each pickle, of Python 2 or 3, has the images of one split, in one of two layouts:

- a dict of `image_data`, uint8 [n, 84, 84, 3], and `class_dict`, which gives for each class name
  the indices of its images. The classes keep the order of the file, as in the original's converter.
- a dict of `data`, uint8 [n, 84, 84, 3] or a list of images, and `labels`, n numbers or strings.
  The classes are in the ascending order of their labels.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from hypertransformer.converters import classes
from hypertransformer.converters.classes import Release, SplitChecks
from hypertransformer.data import files, pickles
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

# The names of the file of a split: those of few-shot-ssl, and those of MetaOptNet; and other words
# for a split in them.
_FILES = ('mini-imagenet-cache-{}.pkl', 'miniImageNet_category_split_{}.pickle')
_ALIASES = {'train': ('train', 'train_phase_train'), 'val': ('val', 'validation')}
OFFICIAL = Release({'train': 64, 'val': 16, 'test': 20}, images=60_000, side=84)
_EXPECTED = "a dict of 'image_data' and 'class_dict', or of 'data' and 'labels'"

# The images of a file, [n, H, W, C] or a list of [H, W, C].
Images = Sequence[np.ndarray] | np.ndarray
# The name of each class, and the indices of its images.
Members = list[tuple[str, np.ndarray]]


def convert(
  folder: pathlib.Path, output: pathlib.Path, release: Release = OFFICIAL, overwrite: bool = False
) -> None:
  """Write the classes of all splits into one .npy file, and the class list beside it.

  One split at a time is in memory. The largest one takes 0.8 GB, or twice that if its pickle is of
  protocol 2.

  Args:
    folder: the folder with the file of each split.
    output: the file to write, uint8 [classes, samples, side, side, 3].
    release: the size of the complete dataset.
    overwrite: whether an existing file may be replaced.

  Raises:
    InputError: a file is missing, broken, hostile or incomplete (the message names it), a class is
      in two files, or the disk has no room. Nothing is written then.
  """
  files.require_folder(folder)
  paths = {split: _find(folder, split) for split in release.splits}
  shape = (release.classes, release.samples, release.side, release.side, 3)
  checks = SplitChecks()
  entries: list[ClassEntry] = []
  with classes.new_dataset(output, overwrite) as (file, write_classes):
    file.write(files.uint8_header(shape))
    for split, path in paths.items():
      names = _write_split(file, path, release.splits[split], release, checks)
      entries += [ClassEntry(split, name) for name in names]
    write_classes(entries, [release.samples] * len(entries))


def _find(folder: pathlib.Path, split: str) -> pathlib.Path:
  """Find the file of a split."""
  names = [name.format(alias) for name in _FILES for alias in _ALIASES.get(split, (split,))]
  path = next((folder / name for name in names if (folder / name).exists()), None)
  if path is None:
    raise InputError(f'{folder} contains none of {", ".join(names)}; correct --input_path')
  files.refuse_page_or_empty(path, 'a pickle')
  return path


def _write_split(
  file: BinaryIO, path: pathlib.Path, expected: int, release: Release, checks: SplitChecks
) -> list[str]:
  """Write the images of a split of `expected` classes, and return the names of the classes."""
  images, members = read(path)
  if len(members) != expected:
    raise InputError(f'{path} contains {len(members)} classes; expected {expected}')
  if images[0].shape != (release.side, release.side, 3):
    raise InputError(f'{path} contains images of {images[0].shape}, not of side {release.side}')
  with progress(path.name, expected, 'classes') as bar:
    for name, indices in members:
      if len(indices) != release.samples:
        found = f'{path}: the class {files.shown(name)!r} has {len(indices)} images'
        raise InputError(f'{found}; expected {release.samples}')
      if not name.isdecimal():  # numbers may begin with 0 in each file
        checks.add_name(path.name, name)
      chosen = [images[index] for index in indices.tolist()]
      checks.add_pixels(path.name, name, chosen)
      for image in chosen:
        file.write(np.ascontiguousarray(image).data)
      bar.update()
  return [name for name, _ in members]


def read(path: pathlib.Path) -> tuple[Images, Members]:
  """Read the images and the classes of a pickle of either layout.

  Raises:
    InputError: the file is not such a pickle, or an image is in no place or in two.
  """
  content = read_dict(path, _EXPECTED)
  if {'image_data', 'class_dict'} <= set(content):
    images = _images(content['image_data'], f"{path}: 'image_data'")
    members = _class_dict(content['class_dict'], f"{path}: 'class_dict'")
  elif {'data', 'labels'} <= set(content):
    images = _images(content['data'], f"{path}: 'data'")
    ranks, names = rank(content['labels'], f"{path}: 'labels'")
    if len(ranks) != len(images):
      raise InputError(f'{path} contains {len(ranks)} labels for {len(images)} images')
    order = np.argsort(ranks, kind='stable')
    parts = np.split(order, np.cumsum(np.bincount(ranks))[:-1])
    members = list(zip(names, parts, strict=True))
  else:
    raise InputError(f'{path} contains a dict of {classes.sequence(content)}; expected {_EXPECTED}')
  used = np.concatenate([np.zeros(0, np.int64), *(indices for _, indices in members)])
  if len(np.unique(used)) < len(used) or not ((used >= 0) & (used < len(images))).all():
    raise InputError(
      f'{path}: classes share images, or have others than its images 0 to {len(images) - 1}'
    )
  return images, members


def read_dict(path: pathlib.Path, expected: str) -> dict[str, Any]:
  """Read a pickled dict of Python 2 or 3, and return its entries whose key is text.

  Raises:
    InputError: the file is not a pickle of a dict, or it is hostile (see `pickles.load`).
  """
  value = pickles.load(path)
  if not isinstance(value, dict):
    raise InputError(f'{path} contains a {type(value).__name__}; expected {expected}')
  decoded = {key.decode('latin1') if isinstance(key, bytes) else key: value[key] for key in value}
  return {key: item for key, item in decoded.items() if isinstance(key, str)}


def rank(labels: Any, what: str) -> tuple[np.ndarray, list[str]]:
  """Number the classes of a split from 0 on, in ascending order of their labels.

  Args:
    labels: whole numbers or strings, one for each image. Numbers may begin anywhere and have gaps.
    what: the name of the labels in errors.

  Returns:
    The class number of each image, int64 [n], and the label of each class as text.

  Raises:
    InputError: `labels` is something else.
  """
  listed = _list(labels, what)
  keys: Sequence[Any] = [_name(label) for label in listed if isinstance(label, str | bytes)]
  if len(keys) < len(listed):
    keys = _numbers(listed, what).tolist()
  values = sorted(set(keys))
  order = {value: number for number, value in enumerate(values)}
  return np.fromiter((order[key] for key in keys), np.int64, len(keys)), list(map(str, values))


def _class_dict(value: Any, what: str) -> Members:
  """Return the name of each class and the indices of its images, in the order of the dict."""
  if not isinstance(value, dict):
    raise InputError(f'{what} is a {type(value).__name__}; expected a dict of names and indices')
  found: dict[str, list[np.ndarray]] = {}
  for key, indices in value.items():
    name = _name(key)
    numbers = _numbers(_list(indices, what), f'{what} of class {files.shown(name)!r}')
    found.setdefault(name, []).append(numbers)
  return [(name, np.concatenate(parts)) for name, parts in found.items()]


def _name(label: Any) -> str:
  """Return a label as the canonical name of a class."""
  text = label.decode('utf-8', 'replace') if isinstance(label, bytes) else str(label)
  return classes.canonical(text)


def _list(values: Any, what: str) -> Sequence[Any]:
  """Return `values` if it is a one-dimensional sequence."""
  listed = values.tolist() if isinstance(values, np.ndarray) else values
  if not isinstance(listed, list | tuple | range):
    raise InputError(f'{what} is a {type(values).__name__}; expected a list or array [n]')
  return listed


def _numbers(values: Sequence[Any], what: str) -> np.ndarray:
  """Return whole numbers of up to 64 bits as an array, int64 [n]."""
  if all(
    isinstance(value, int | np.integer) and -(2**63) <= int(value) < 2**63 for value in values
  ):
    return np.array(values, np.int64)
  raise InputError(f'{what} contains other values than whole numbers of 64 bits')


def _images(value: Any, what: str) -> Images:
  """Return `value` if it is images, uint8 [n, H, W, 1 or 3] or a list of such images."""
  images = np.asarray(value) if isinstance(value, np.ndarray) else value
  some = list(images[:1]) if isinstance(images, np.ndarray) and images.ndim == 4 else images
  if isinstance(some, list) and some and all(_is_image(one, like=some[0]) for one in some):
    return images
  raise InputError(f'{what} is a {type(value).__name__}; expected uint8 images, [n, H, W, 3]')


def _is_image(value: Any, like: Any) -> bool:
  """Return whether a value is an image, uint8 [H, W, 1 or 3], of the shape of another one."""
  is_uint8 = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3
  return is_uint8 and value.shape[-1] in (1, 3) and value.shape == like.shape
