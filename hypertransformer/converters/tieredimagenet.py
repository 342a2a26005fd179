"""The files of the tieredImageNet release -> the flat layout of a dataset folder (spec: data.md
sections 1 and 2).

Per split there are labels, {train,val,test}_labels.pkl (a dict, of Python 2), and images in the
same order: either {split}_images.npz with an array `images`, or {split}_images_png.pkl, as
released, with a list of PNG files. The label dicts that people hold have these keys:
  `labels`: class numbers, one per image, often continued from split to split: what MetaOptNet's
  copy has. `label_specific`: the same under the name of the release; read when there is no
  `labels`. `label_general`, `label_specific_str`, `label_general_str`, and others: the superclass
  of each image, and names. Not
    used, as the classes of few-shot tasks are the specific ones.
16.5 GB are written in one pass per split with little memory: the place of each image follows from
the labels, so that each block of images is written to its places as it is read.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from hypertransformer.converters import packed_images, pickled_labels
from hypertransformer.converters.packed_images import Packed
from hypertransformer.errors import InputError
from hypertransformer.files import sniff, writing
from hypertransformer.progress import Progress

LABEL_KEYS = ('labels', 'label_specific')


@dataclasses.dataclass(frozen=True)
class Split:
  """What a split of the release holds: its name in the files' names, classes, images."""

  name: str
  classes: int
  images: int


@dataclasses.dataclass(frozen=True)
class Release:
  """The splits in class order, and the pixels of an image, width and height."""

  splits: tuple[Split, ...]
  side: int


OFFICIAL = Release(
  (Split('train', 351, 448_695), Split('val', 97, 124_261), Split('test', 160, 206_209)), side=84
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
  """A split as found: its images, and the row of each in the output."""

  split: Split
  images: Packed
  rows: np.ndarray  # int64 [images]
  sizes: np.ndarray  # int64 [classes]


def convert(
  folder: pathlib.Path,
  output: pathlib.Path,
  bgr: bool = True,
  release: Release = OFFICIAL,
  overwrite: bool = False,
) -> str:
  """Writes images.npy, uint8 [all images, side, side, 3] and class_sizes.npy, int64 [classes], into
  a new folder.

  Classes are in the order of the splits and, within one, of their labels; images of a class in the
  order of the file.

  Args: folder: holds labels and images of each split, see above. output: the folder to make; it
    takes this name when all is written. bgr: whether colours in the arrays `images` are in OpenCV's
    order, blue first, as in the files people have; they are
      written red first. False writes them as they are. A file of PNG images gives the same result
      as the array that OpenCV makes of it, either way.
    release: what to expect; the official one unless a test makes a small one.
    overwrite: whether an existing dataset folder may be replaced.

  Returns:
    Classes and images of each split in words, for a summary.

  Raises: InputError: a missing, broken, hostile or incomplete file (named), or no room; nothing is
    written.
  """
  writing.check_folder(output, overwrite)
  sniff.require_folder(folder)
  plans: list[_Plan] = []
  for split in release.splits:
    plans.append(_plan(folder, split, sum(len(plan.rows) for plan in plans), release.side))
  total = sum(len(plan.rows) for plan in plans)
  shape = (total, release.side, release.side, 3)
  writing.require_space(output, math.prod(shape))
  with writing.atomic_folder(output, overwrite) as beside:
    np.save(beside / 'class_sizes.npy', np.concatenate([plan.sizes for plan in plans]))
    with open(beside / 'images.npy', 'wb') as file:
      _write(file, plans, shape, bgr)
  return '; '.join(
    f'{plan.split.name} {len(plan.sizes)} classes, {len(plan.rows)} images' for plan in plans
  )


def _plan(folder: pathlib.Path, split: Split, first_row: int, side: int) -> _Plan:
  """Reads the labels of a split and looks at its images."""
  path = folder / f'{split.name}_labels.pkl'
  if not path.exists():
    raise InputError(
      f'{path} is not there; expected {{train,val,test}}_labels.pkl and the images beside them in '
      '--input_path'
    )
  classes, count = _labels(path)
  if count != split.classes:
    raise InputError(f'{path} holds {count} classes; expected {split.classes}')
  if len(classes) != split.images:
    logging.warning(
      '%s holds %d labels; the published file has %d', path, len(classes), split.images
    )
  order = np.argsort(classes, kind='stable')
  rows = np.empty_like(classes)
  rows[order] = np.arange(first_row, first_row + len(classes))
  return _Plan(
    split, _open_images(folder, split.name, len(classes), side), rows, np.bincount(classes)
  )


def _labels(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """The class of each image, int64 [n], and the number of classes."""
  content = pickled_labels.read_dict(path, f'a dict with {LABEL_KEYS[0]!r}')
  for key in LABEL_KEYS:
    if key in content:
      return pickled_labels.ranks(content[key], f'{path}: {key!r}')
  raise InputError(
    f'{path} holds a dict of {pickled_labels.keys_found(content)}; expected {LABEL_KEYS[0]!r} or '
    f'{LABEL_KEYS[1]!r}'
  )


def _open_images(folder: pathlib.Path, split: str, images: int, side: int) -> Packed:
  npz, png = folder / f'{split}_images.npz', folder / f'{split}_images_png.pkl'
  if npz.exists():
    return packed_images.open_npz(npz, images, side)
  if png.exists():
    return packed_images.open_png_pickle(png, side)
  raise InputError(f'neither {npz} nor {png} is there; expected the images of {split}_labels.pkl')


def _write(file: BinaryIO, plans: list[_Plan], shape: tuple[int, ...], bgr: bool) -> None:
  """Writes images.npy, each image to its row.

  By seeking, not through a memory map: on a full disk a map would kill the process, and its pages
  would count as the process's memory.
  """
  header: dict[str, Any] = {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(file, header)
  begin = file.tell()
  file.truncate(begin + math.prod(shape))
  progress = Progress('tieredimagenet', shape[0], 'images')
  before = 0
  for plan in plans:
    done = 0
    for block in plan.images.blocks():
      rows = plan.rows[done : done + len(block)]
      if len(rows) < len(block):
        raise _wrong_count(plan, f'more than {len(plan.rows)}')
      _scatter(file, begin, rows, _red_first(block) if bgr else block)
      done += len(block)
      progress.update(before + done)
    if done < len(plan.rows):
      raise _wrong_count(plan, str(done))
    before += done


def _wrong_count(plan: _Plan, found: str) -> InputError:
  return InputError(
    f'{plan.images.path} holds {found} images; expected {len(plan.rows)}, one for each label of '
    f'{plan.split.name}_labels.pkl'
  )


def _red_first(images: np.ndarray) -> np.ndarray:
  result = np.empty(
    images.shape, np.uint8
  )  # in C order, and faster than a copy of images[..., ::-1]
  for channel in range(3):
    result[..., channel] = images[..., 2 - channel]
  return result


def _scatter(file: BinaryIO, begin: int, rows: np.ndarray, images: np.ndarray) -> None:
  """Writes images to rows of the array at `begin`, neighbours in one go."""
  breaks: np.ndarray = np.flatnonzero(np.diff(rows) != 1) + 1
  for run in np.split(np.arange(len(rows)), breaks):
    file.seek(begin + int(rows[run[0]]) * images[0].nbytes)
    file.write(images[run[0] : run[-1] + 1].data)
