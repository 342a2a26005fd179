"""The images of a dataset, to be had by class and number.

`ClassArrays` holds all images of a dataset, in memory or in a file, and knows where each class
begins. `ClassSet` is a choice of its classes, from which episodes are drawn.
"""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Sequence

import numpy as np

from hypertransformer.data import specs
from hypertransformer.errors import InputError

# Memory-mapped arrays larger than this are read by system calls, see `_File`.
LARGE_BYTES = 1 << 29


class _File:
  """Reads single images from a .npy file without a memory map.

  Whatever is read through a memory map counts as memory of the process until the system runs short,
  and Linux may map 2 MB for a single access. Training on a file of many GB would thus look that
  large within seconds, and in a container it would be stopped for it.
  """

  def __init__(self, path: str | os.PathLike[str], begin: int, shape: tuple[int, ...]) -> None:
    """Opens the file and keeps it open as long as this object lives.

    Args:
      path: the file.
      begin: the place of the first byte of the array in the file.
      shape: the shape of the array, [all images, H, W, C]; it is uint8 and in C order.
    """
    self._path, self._begin, self._shape = path, begin, shape
    self._descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(self, os.close, self._descriptor)

  def read(self, rows: np.ndarray) -> np.ndarray:
    """Reads the images of the given rows.

    Args:
      rows: int64 [n], numbers of images in the whole array.

    Returns:
      The images, uint8 [n, H, W, C].

    Raises:
      IndexError: the array has no such row.
      InputError: the file has become shorter since it was opened.
    """
    if rows.size and not 0 <= rows.min() <= rows.max() < self._shape[0]:
      raise IndexError(
        f'{self._path} has rows 0..{self._shape[0] - 1}, asked for {rows.min()}..{rows.max()}'
      )
    images: np.ndarray = np.empty((len(rows), *self._shape[1:]), np.uint8)
    for image, row in zip(images, rows.tolist(), strict=True):
      if os.preadv(self._descriptor, [image], self._begin + row * image.nbytes) < image.nbytes:
        raise InputError(f'{self._path} has become shorter while it was in use; make it again')
    return images


def _file_of(images: np.ndarray) -> _File | None:
  """Returns the file behind a large memory map, to be read directly; None for any other array."""
  if images.nbytes <= LARGE_BYTES or not hasattr(os, 'preadv'):
    return None
  # A copy of a memory map has the same type but no file. A part of one says that its data begin
  # where the whole begins, which the comparison of sizes below finds out.
  if not isinstance(images, np.memmap) or images.filename is None or not images.flags.c_contiguous:
    return None
  is_whole = os.path.getsize(images.filename) == images.offset + images.nbytes
  return _File(images.filename, images.offset, images.shape) if is_whole else None


@dataclasses.dataclass(frozen=True, eq=False)
class ClassArrays:
  """All images of a dataset, and where each class has its own.

  Attributes:
    name: the dataset's name.
    images: uint8 [all images, H, W, C], in memory or memory-mapped. The images of a class lie side
      by side.
    starts: int64 [classes], the row in `images` of the first image of each class.
    sizes: int64 [classes], the number of images of each class.
    names: the name of each class; empty if they are not known.
  """

  name: str
  images: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray
  names: tuple[str, ...] = ()
  _file: _File | None = dataclasses.field(init=False, repr=False)

  def __post_init__(self) -> None:
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
    """Returns where images of a class are in `images`.

    Args:
      cls: the number of the class.
      samples: [n], numbers of images in the class, from 0 to the size of the class - 1.

    Returns:
      int64 [n], the rows of these images.

    Raises:
      IndexError: the class has no such image.
    """
    chosen = np.asarray(samples, np.int64)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < self.sizes[cls]:
      raise IndexError(
        f'{self.name}: class {cls} has samples 0..{self.sizes[cls] - 1}, asked for '
        f'{chosen.min()}..{chosen.max()}'
      )
    return self.starts[cls] + chosen

  def gather(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
    """Returns a copy of the images of the given rows, [n], as uint8 [n, H, W, C]."""
    chosen = np.asarray(rows, np.int64)
    if self._file:
      return self._file.read(chosen)
    return np.asarray(self.images)[chosen]  # indexing np.memmap itself is slower

  def shuffled(self, seed: int) -> ClassArrays:
    """Returns the dataset with its classes in the order of `specs.shuffled_classes`.

    No image is copied.

    Args:
      seed: the seed of the permutation; 0 or less leaves the order as it is.
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
  """The classes of a dataset that episodes are drawn from.

  Attributes:
    arrays: the images of the whole dataset.
    classes: int64 [n], the numbers of the classes in use.
  """

  arrays: ClassArrays
  classes: np.ndarray

  @property
  def name(self) -> str:
    """The dataset's name."""
    return self.arrays.name
