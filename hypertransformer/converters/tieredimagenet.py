"""Convert the files of the tieredImageNet release into a dataset folder.

See docs/spec/data.md, sections 1 and 2. For each split the release has {split}_labels.pkl, a dict
that was pickled by Python 2, and the images in the same order: {split}_images.npz with an array
`images`, or, as first released, {split}_images_png.pkl with a list of PNG files.

The 16.5 GB are written with little memory. The labels tell the row of each image in the output, so
each block of images is written to its rows as soon as it has been read. The array in a .npz file, a
zip archive, is checked before it is unpacked, and a pickle of PNG files is only searched for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import pickletools
import zipfile
from collections.abc import Iterator
from typing import IO, BinaryIO

import numpy as np
from absl import logging

from hypertransformer.converters import classes, miniimagenet
from hypertransformer.converters.classes import Release, SplitChecks
from hypertransformer.data import files, images
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

OFFICIAL = Release({'train': 351, 'val': 97, 'test': 160}, images=779_165, side=84)
# The class number of each image, in the copy of MetaOptNet and in the release.
_LABEL_KEYS = ('labels', 'label_specific')
_MEMBER = 'images.npy'
_BLOCK_BYTES = 1 << 24
_PNG_START = b'\x89PNG\r\n\x1a\n'


@dataclasses.dataclass(frozen=True, eq=False)
class _SplitPlan:
  """How a split is written.

  Attributes:
    name: the name of the split.
    path: the file of its images.
    rows: int64 [images], the row of the output for each image of the file.
    sizes: int64 [classes], the number of images of each class.
    labels: the label of each class.
  """

  name: str
  path: pathlib.Path
  rows: np.ndarray
  sizes: np.ndarray
  labels: list[str]

  def __str__(self) -> str:
    return f'{self.name} {len(self.sizes)} classes, {len(self.rows)} images'


def convert(
  folder: pathlib.Path,
  output: pathlib.Path,
  bgr: bool = True,
  release: Release = OFFICIAL,
  overwrite: bool = False,
) -> str:
  """Convert a release into a new folder.

  Classes are in the order of the splits, those of a split in the order of their labels, and the
  images of a class in the order of the file.

  Args:
    folder: the folder with the labels and images of each split.
    output: the folder to make; it gets this name when all is written.
    bgr: whether the arrays `images` have blue first, as OpenCV holds them. They are then written
      with red first. PNG files give the same result as the arrays that OpenCV makes of them.
    release: the size of the complete release.
    overwrite: whether the folder of an older dataset may be replaced.

  Returns:
    The number of classes and images of each split, for a summary.

  Raises:
    InputError: a file is missing, broken, hostile or incomplete (the message names it), a class is
      in two splits, or the disk has no room. Nothing is written then.
  """
  files.require_folder(folder)
  plans: list[_SplitPlan] = []
  checks = SplitChecks()
  total = 0
  for split, expected in release.splits.items():
    plan = _plan(folder, split, expected, total, release.side)
    for label in plan.labels:
      if not label.isdecimal():  # numbers may begin with 0 in each file
        checks.add_name(split, label)
    total += len(plan.rows)
    plans.append(plan)
  if total != release.images:
    logging.warning('%s has %d images; the complete release has %d', folder, total, release.images)
  shape = (total, release.side, release.side, 3)
  with classes.new_dataset(output, overwrite) as (file, write_classes):
    _write(file, plans, shape, bgr)
    write_classes(
      [ClassEntry(plan.name, label) for plan in plans for label in plan.labels],
      np.concatenate([plan.sizes for plan in plans]).tolist(),
    )
  return '; '.join(map(str, plans))


def _plan(folder: pathlib.Path, split: str, expected: int, first_row: int, side: int) -> _SplitPlan:
  """Read the labels of a split of `expected` classes, and find and check its images."""
  path = folder / f'{split}_labels.pkl'
  content = miniimagenet.read_dict(path, f'a dict with {_LABEL_KEYS[0]!r}')
  key = next((key for key in _LABEL_KEYS if key in content), None)
  if key is None:
    found = classes.sequence(content)
    raise InputError(f'{path} contains a dict of {found}; expected one of {_LABEL_KEYS}')
  ranks, labels = miniimagenet.rank(content[key], f'{path}: {key!r}')
  if len(labels) != expected:
    raise InputError(f'{path} contains {len(labels)} classes; expected {expected}')
  order = np.argsort(ranks, kind='stable')
  rows = np.empty_like(ranks)
  rows[order] = np.arange(first_row, first_row + len(ranks))
  path = folder / f'{split}_images.npz'
  if path.exists():
    with _member(path, (len(ranks), side, side, 3)):
      pass  # only checked
  else:
    path = folder / f'{split}_images_png.pkl'
    files.refuse_page_or_empty(path, f'a pickle of PNG images, or {split}_images.npz beside it')
  return _SplitPlan(split, path, rows, np.bincount(ranks), labels)


def _write(file: BinaryIO, plans: list[_SplitPlan], shape: tuple[int, ...], bgr: bool) -> None:
  """Write images.npy, each image to its row.

  A memory map would kill the process if the disk became full, and would count as its memory.
  """
  file.write(files.uint8_header(shape))
  begin = file.tell()
  file.truncate(begin + math.prod(shape))
  with progress('tieredimagenet', shape[0], 'images') as bar:
    for plan in plans:
      done = 0
      for block in _blocks(plan.path, (len(plan.rows), *shape[1:])):
        rows = plan.rows[done : done + len(block)]
        done += len(block)
        if done > len(plan.rows):
          break
        for row, image in zip(rows.tolist(), block[..., ::-1] if bgr else block, strict=True):
          file.seek(begin + row * image.nbytes)
          file.write(np.ascontiguousarray(image).data)
        bar.update(len(block))
      if done != len(plan.rows):
        found = f'more than {len(plan.rows)}' if done > len(plan.rows) else done
        labels = f'{len(plan.rows)}, the number of labels in {plan.name}_labels.pkl'
        raise InputError(f'{plan.path} contains {found} images; expected {labels}')


def _blocks(path: pathlib.Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
  """Yield the images, uint8 of this shape, of a file in blocks of up to 16 MB, blue first.

  Raises:
    InputError: the file turns out to be broken.
  """
  image_bytes = math.prod(shape[1:])
  step = max(1, _BLOCK_BYTES // image_bytes)
  if path.suffix == '.npz':
    with _member(path, shape) as stream:
      # The stream is read to its end, where zipfile compares the checksum.
      while data := stream.read(step * image_bytes):
        yield np.frombuffer(data, np.uint8).reshape(-1, *shape[1:])
    return
  block: list[np.ndarray] = []
  for number, png in enumerate(_png_files(path)):
    image = images.decode_png(png, f'{path}: image {number}', shape[1])
    block.append(np.asarray(image.convert('RGB'))[..., ::-1])
    if len(block) == step:
      yield np.stack(block)
      block = []
  if block:
    yield np.stack(block)


@contextlib.contextmanager
def _member(path: pathlib.Path, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
  """Open the array `images`, uint8 of this shape, in a .npz file, compressed or not.

  Yields:
    A stream of its unpacked data.

  Raises:
    InputError: the archive has no such array or is broken, also where it is read in the block.
  """
  files.refuse_page_or_empty(path, 'a zip archive (.npz)')
  expected = files.Header(shape, False, np.dtype(np.uint8))
  try:
    with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as stream:
      header = files.read_header(stream, path)  # type: ignore[arg-type]
      size = archive.getinfo(_MEMBER).file_size - stream.tell()
      if header != expected or size != math.prod(shape):
        raise InputError(
          f"{path}: 'images' is {header} in {size} bytes; expected {expected} in C order, an image "
          'for each label'
        )
      yield stream
  except InputError:
    raise
  except (KeyError, *images.BROKEN) as error:
    raise InputError(f'{path} is not a whole .npz file of images ({error})') from error


def _png_files(path: pathlib.Path) -> Iterator[bytes]:
  """Yield the PNG files in a pickle, which is searched and never loaded.

  They may be bytes, or the uint8 arrays of OpenCV. Pickles that Python 3 writes for Python 2 hold
  bytes as text, with one character for each byte.
  """
  with open(path, 'rb') as file:
    try:
      for _, value, _ in pickletools.genops(file):
        data = value.encode('latin1', 'replace') if isinstance(value, str) else value
        if isinstance(data, bytes | bytearray) and data.startswith(_PNG_START):
          yield bytes(data)
    except (ValueError, MemoryError, OverflowError) as error:
      raise InputError(f'{path} is not a whole pickle ({error}); download it again') from error
