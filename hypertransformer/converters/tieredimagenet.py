"""Converts the files of the tieredImageNet release into a dataset folder.

See docs/spec/data.md, sections 1 and 2. For each split the release has labels,
{train,val,test}_labels.pkl, and images in the same order. The labels are a dict that was pickled by
Python 2. The images are either {split}_images.npz with an array `images`, or, as first released,
{split}_images_png.pkl with a list of PNG files. The dicts that people have differ in their keys:

- `labels` (in the copy of MetaOptNet): the class number of each image. The numbers often go on from
  split to split.
- `label_specific` (in the release): the same. It is read if there is no `labels`.
- `label_general`, `label_specific_str`, `label_general_str` and others: the superclass of each
  image, and names. They are not used, because the classes of few-shot tasks are the specific ones.

The 16.5 GB are written with little memory, and each split is read only once. The labels tell which
place each image gets in the output, so each block of images is written to its places as soon as it
has been read.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import BinaryIO

import numpy as np
from absl import logging

from hypertransformer.converters import packed_images, pickled_labels
from hypertransformer.converters.packed_images import Packed
from hypertransformer.converters.split_checks import SplitChecks
from hypertransformer.data import class_list, files
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

LABEL_KEYS = ('labels', 'label_specific')


@dataclasses.dataclass(frozen=True)
class Split:
  """What a split of the release holds.

  Attributes:
    name: its name in the names of the files, such as 'train'.
    classes: the number of its classes.
    images: the number of its images.
  """

  name: str
  classes: int
  images: int


@dataclasses.dataclass(frozen=True)
class Release:
  """What a complete release holds.

  Attributes:
    splits: the splits, in the order in which their classes are written.
    side: the width and height of an image in pixels.
  """

  splits: tuple[Split, ...]
  side: int


OFFICIAL = Release(
  (Split('train', 351, 448_695), Split('val', 97, 124_261), Split('test', 160, 206_209)), side=84
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
  """How a split that was found is to be written.

  Attributes:
    split: what the split should hold.
    images: its images, in the order of the file.
    rows: int64 [images of the split], the row of the output that each image gets.
    sizes: int64 [classes of the split], the number of images of each class.
    names: the label of each class.
  """

  split: Split
  images: Packed
  rows: np.ndarray
  sizes: np.ndarray
  names: list[str]


def convert(
  folder: pathlib.Path,
  output: pathlib.Path,
  bgr: bool = True,
  release: Release = OFFICIAL,
  overwrite: bool = False,
) -> str:
  """Converts a release into a new folder.

  The folder gets images.npy, uint8 [all images, side, side, 3], class_sizes.npy, int64 [classes],
  and classes.csv with the split and the label of each class. Classes are in the order of the
  splits, those of a split in the order of their labels, and the images of a class in the order of
  the file.

  Args:
    folder: the folder with the labels and images of each split, as described above.
    output: the folder to make; it gets this name when all is written.
    bgr: whether the arrays `images` have the order of colours of OpenCV, blue first, as in the
      files that people have. They are then written with red first; otherwise colours keep the order
      in which they are. With either value, a file of PNG images gives the same result as the array
      that OpenCV makes of it.
    release: what to expect: the official release, unless a test makes a small one.
    overwrite: whether the folder of an older dataset may be replaced.

  Returns:
    The number of classes and images of each split in words, for a summary.

  Raises:
    InputError: a file is missing, broken, hostile or incomplete (the message names it), a class is
      in two splits, or the disk has no room. Nothing is written then.
  """
  files.check_folder(output, overwrite)
  files.require_folder(folder)
  plans: list[_Plan] = []
  checks = SplitChecks()
  for split in release.splits:
    plans.append(_plan(folder, split, sum(len(plan.rows) for plan in plans), release.side))
    for name in plans[-1].names:
      if not name.isdecimal():  # numbers may begin with 0 in each file
        checks.add_name(split.name, name)
  total = sum(len(plan.rows) for plan in plans)
  shape = (total, release.side, release.side, 3)
  files.require_space(output, math.prod(shape))
  with files.atomic_folder(output, overwrite) as beside:
    sizes = np.concatenate([plan.sizes for plan in plans])
    np.save(beside / 'class_sizes.npy', sizes)
    entries = [ClassEntry(plan.split.name, name) for plan in plans for name in plan.names]
    class_list.write(beside / class_list.FILE_NAME, entries, sizes.tolist())
    with open(beside / 'images.npy', 'wb') as file:
      _write(file, plans, shape, bgr)
  return '; '.join(
    f'{plan.split.name} {len(plan.sizes)} classes, {len(plan.rows)} images' for plan in plans
  )


def _plan(folder: pathlib.Path, split: Split, first_row: int, side: int) -> _Plan:
  """Reads the labels of a split and opens its images.

  Args:
    folder: the folder of the release.
    split: what the split should hold.
    first_row: the row of the output where the split begins.
    side: the width and height of an image in pixels.
  """
  path = folder / f'{split.name}_labels.pkl'
  if not path.exists():
    raise InputError(
      f'{path} is not there; expected {{train,val,test}}_labels.pkl and the images beside them in '
      '--input_path'
    )
  classes, names = _labels(path)
  if len(names) != split.classes:
    raise InputError(f'{path} holds {len(names)} classes; expected {split.classes}')
  if len(classes) != split.images:
    logging.warning(
      '%s holds %d labels; the published file has %d', path, len(classes), split.images
    )
  order = np.argsort(classes, kind='stable')
  rows = np.empty_like(classes)
  rows[order] = np.arange(first_row, first_row + len(classes))
  images = _open_images(folder, split.name, len(classes), side)
  return _Plan(split, images, rows, np.bincount(classes), names)


def _labels(path: pathlib.Path) -> tuple[np.ndarray, list[str]]:
  """Reads the class number of each image, int64 [n], and the label of each class."""
  content = pickled_labels.read_dict(path, f'a dict with {LABEL_KEYS[0]!r}')
  for key in LABEL_KEYS:
    if key in content:
      return pickled_labels.ranks(content[key], f'{path}: {key!r}')
  raise InputError(
    f'{path} holds a dict of {pickled_labels.keys_found(content)}; expected {LABEL_KEYS[0]!r} or '
    f'{LABEL_KEYS[1]!r}'
  )


def _open_images(folder: pathlib.Path, split: str, images: int, side: int) -> Packed:
  """Opens the images of a split, in either form; there should be as many as `images`."""
  npz, png = folder / f'{split}_images.npz', folder / f'{split}_images_png.pkl'
  if npz.exists():
    return packed_images.open_npz(npz, images, side)
  if png.exists():
    return packed_images.open_png_pickle(png, side)
  raise InputError(f'neither {npz} nor {png} is there; expected the images of {split}_labels.pkl')


def _write(file: BinaryIO, plans: list[_Plan], shape: tuple[int, ...], bgr: bool) -> None:
  """Writes images.npy, each image to its row.

  This is done by seeking and not through a memory map. A memory map would kill the process if the
  disk became full, and what is written through it would count as memory of the process.
  """
  file.write(files.uint8_header(shape))
  begin = file.tell()
  file.truncate(begin + math.prod(shape))
  bar = progress('tieredimagenet', shape[0], 'images')
  before = 0
  for plan in plans:
    done = 0
    for block in plan.images.blocks():
      rows = plan.rows[done : done + len(block)]
      if len(rows) < len(block):
        raise _wrong_count(plan, f'more than {len(plan.rows)}')
      _scatter(file, begin, rows, _red_first(block) if bgr else block)
      done += len(block)
      show(bar, before + done)
    if done < len(plan.rows):
      raise _wrong_count(plan, str(done))
    before += done


def _wrong_count(plan: _Plan, found: str) -> InputError:
  """Makes the error about a split that has `found` images, more or fewer than labels."""
  return InputError(
    f'{plan.images.path} holds {found} images; expected {len(plan.rows)}, one for each label of '
    f'{plan.split.name}_labels.pkl'
  )


def _red_first(images: np.ndarray) -> np.ndarray:
  """Returns a copy of images [n, H, W, 3], in C order, with the order of their colours reversed."""
  result = np.empty(images.shape, np.uint8)
  # This is faster than a copy of images[..., ::-1].
  for channel in range(3):
    result[..., channel] = images[..., 2 - channel]
  return result


def _scatter(file: BinaryIO, begin: int, rows: np.ndarray, images: np.ndarray) -> None:
  """Writes images to rows of a file; images whose rows follow each other are written together.

  Args:
    file: the file.
    begin: the place of row 0 in the file.
    rows: int64 [n], the row of each image.
    images: uint8 [n, H, W, 3].
  """
  breaks: np.ndarray = np.flatnonzero(np.diff(rows) != 1) + 1
  for run in np.split(np.arange(len(rows)), breaks):
    file.seek(begin + int(rows[run[0]]) * images[0].nbytes)
    file.write(images[run[0] : run[-1] + 1].data)
