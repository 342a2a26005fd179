"""Access to the images of a dataset by class and index.

`ClassArrays` holds all images of a dataset, in memory or in a file, and knows where each class
begins. `ClassSet` is a subset of its classes, from which episodes are sampled.
"""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Sequence

import numpy as np

from hypertransformer.data import specs
from hypertransformer.errors import InputError


class _File:
  """Reader of single images of a .npy file without a memory map.

  What is read through a memory map counts as memory of the process until the system runs short, and
  Linux may map 2 MB for a single access. Training on a file of many GB would thus soon exceed the
  limit of a container. A memory map of a file that becomes shorter also ends the process.
  """

  def __init__(self, images: np.memmap) -> None:
    """Open the file of a memory map of all its images, and keep it open as long as this object.

    Args:
      images: The memory map, uint8 [all images, H, W, C] in C order.
    """
    self._path, self._begin, self._shape = str(images.filename), images.offset, images.shape
    self._descriptor = os.open(self._path, os.O_RDONLY)
    weakref.finalize(self, os.close, self._descriptor)
    self._version = self._found_version()

  def _found_version(self) -> tuple[int, int]:
    """Return the size of the file and the time of its last change."""
    found = os.fstat(self._descriptor)
    return found.st_size, found.st_mtime_ns

  def read(self, rows: np.ndarray) -> np.ndarray:
    """Read the images of the given rows.

    Args:
      rows: int64 [n], indices of images in the whole array.

    Returns:
      The images, uint8 [n, H, W, C].

    Raises:
      IndexError: The array has no such row.
      InputError: The file has been changed since it was opened. A file that another one has
        replaced can still be read.
    """
    if rows.size and not 0 <= rows.min() <= rows.max() < self._shape[0]:
      raise IndexError(
        f'{self._path} has rows 0..{self._shape[0] - 1}, asked for {rows.min()}..{rows.max()}'
      )
    images: np.ndarray = np.empty((len(rows), *self._shape[1:]), np.uint8)
    is_whole = True
    for image, row in zip(images, rows.tolist(), strict=True):
      position = self._begin + row * image.nbytes
      is_whole &= os.preadv(self._descriptor, [image], position) == image.nbytes
    if not is_whole or self._found_version() != self._version:
      raise InputError(
        f'{self._path} was changed while it was in use; make it again and start again'
      )
    return images


def _file_of(images: np.ndarray) -> _File | None:
  """Return the file behind a memory map, to be read directly; None for any other array."""
  # A copy of a memory map has the same type but no file. A part of one says that its data begin
  # where the whole begins, which the comparison of sizes below finds out.
  if (
    not isinstance(images, np.memmap)
    or images.filename is None
    or not images.flags.c_contiguous
    or not hasattr(os, 'preadv')
  ):
    return None
  is_whole = os.path.getsize(images.filename) == images.offset + images.nbytes
  return _File(images) if is_whole else None


@dataclasses.dataclass(frozen=True, eq=False)
class ClassArrays:
  """All images of a dataset, and the position of each class.

  Attributes:
    name: The name of the dataset.
    images: uint8 [all images, H, W, C], in memory or memory-mapped. The images of a class are
      adjacent.
    starts: int64 [classes], the row in `images` of the first image of each class.
    sizes: int64 [classes], the number of images of each class.
    names: The name of each class; empty if they are not known.
  """

  name: str
  images: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray
  names: tuple[str, ...] = ()
  _file: _File | None = dataclasses.field(init=False, repr=False)

  def __post_init__(self) -> None:
    """Open the file of the images if they are a memory map."""
    object.__setattr__(self, '_file', _file_of(self.images))

  @property
  def num_classes(self) -> int:
    """The number of classes of the dataset."""
    return len(self.sizes)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of every image."""
    height, width, channels = self.images.shape[1:]
    return height, width, channels

  def rows(self, cls: int, samples: np.ndarray | Sequence[int]) -> np.ndarray:
    """Return the rows of images of a class.

    Args:
      cls: The number of the class.
      samples: [n], indices of images in the class.

    Returns:
      int64 [n], rows of `images`.

    Raises:
      IndexError: The class has no such image.
    """
    chosen = np.asarray(samples, np.int64)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < self.sizes[cls]:
      raise IndexError(
        f'{self.name}: class {cls} has samples 0..{self.sizes[cls] - 1}, asked for '
        f'{chosen.min()}..{chosen.max()}'
      )
    return self.starts[cls] + chosen

  def gather(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
    """Return a copy of the images of the given rows, [n], as uint8 [n, H, W, C]."""
    chosen = np.asarray(rows, np.int64)
    if self._file:
      return self._file.read(chosen)
    return np.asarray(self.images)[chosen]  # indexing np.memmap itself is slower

  def shuffled(self, seed: int) -> ClassArrays:
    """Return the dataset with its classes in the order of `specs.shuffled_classes`.

    No image is copied.

    Args:
      seed: The seed of the permutation; 0 or less keeps the order.
    """
    if seed <= 0:
      return self
    order = np.array(specs.shuffled_classes(self.num_classes, seed))
    names = tuple(self.names[old] for old in order) if self.names else ()
    return dataclasses.replace(
      self, starts=self.starts[order], sizes=self.sizes[order], names=names
    )


@dataclasses.dataclass(frozen=True)
class ClassSet:
  """The classes of a dataset that episodes are sampled from.

  Attributes:
    arrays: The images of the whole dataset.
    classes: int64 [n], the numbers of these classes.
  """

  arrays: ClassArrays
  classes: np.ndarray

  @property
  def name(self) -> str:
    """The dataset's name."""
    return self.arrays.name
