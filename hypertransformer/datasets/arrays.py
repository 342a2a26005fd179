"""A dataset's images by class, from `--data_numpy_dir`; memory-mapped where the layout allows."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Sequence

import numpy as np

from hypertransformer.datasets import specs
from hypertransformer.errors import InputError

# A memory-mapped array above this is read by system calls, see _File.
LARGE_BYTES = 1 << 29


class _File:
  """Reads images from a file, so that none of it counts as the process's memory.

  Every page read through a memory map does, until the system runs short, and Linux may map 2 MB at
  a touch: training on a file of many GB would look, and in a container be, that large within
  seconds.
  """

  def __init__(self, path: str | os.PathLike[str], begin: int, shape: tuple[int, ...]) -> None:
    """begin, shape: of the array uint8 [all images, H, W, C] in the file, in C order."""
    self._path, self._begin, self._shape = path, begin, shape
    self._descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(self, os.close, self._descriptor)

  def read(self, rows: np.ndarray) -> np.ndarray:
    """uint8 [len(rows), H, W, C]. Raises IndexError for rows that are not there, InputError for a
    cut file.
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
  """Where to read images from in place of a memory map; None where the array itself does."""
  if images.nbytes <= LARGE_BYTES or not hasattr(os, 'preadv'):
    return None
  # A copy is of the same type, but has no file; a part keeps the offset of the whole.
  if not isinstance(images, np.memmap) or images.filename is None or not images.flags.c_contiguous:
    return None
  is_whole = os.path.getsize(images.filename) == images.offset + images.nbytes
  return _File(images.filename, images.offset, images.shape) if is_whole else None


@dataclasses.dataclass(frozen=True, eq=False)
class ClassArrays:
  """Images of a dataset, class after class.

  Attributes:
    name: the dataset's name.
    images: uint8 [all images, H, W, C], in memory or memory-mapped.
    starts: int64 [classes], the row of the first image of each class.
    sizes: int64 [classes], the number of images of each class.
  """

  name: str
  images: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray
  _file: _File | None = dataclasses.field(init=False, repr=False)

  def __post_init__(self) -> None:
    object.__setattr__(self, '_file', _file_of(self.images))

  @property
  def num_classes(self) -> int:
    return len(self.sizes)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    height, width, channels = self.images.shape[1:]
    return height, width, channels

  def rows(self, cls: int, samples: np.ndarray | Sequence[int]) -> np.ndarray:
    """The rows of some samples (0 .. size - 1) of a class, int64 [len(samples)].

    Raises:
      IndexError: a sample that the class does not have.
    """
    chosen = np.asarray(samples, np.int64)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < self.sizes[cls]:
      raise IndexError(
        f'{self.name}: class {cls} has samples 0..{self.sizes[cls] - 1}, asked for '
        f'{chosen.min()}..{chosen.max()}'
      )
    return self.starts[cls] + chosen

  def gather(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
    """Copies images by row: uint8 [len(rows), H, W, C]."""
    chosen = np.asarray(rows, np.int64)
    if self._file:
      return self._file.read(chosen)
    return np.asarray(self.images)[chosen]  # asarray: indexing a memmap itself is slower

  def shuffled(self, seed: int) -> ClassArrays:
    """The same images with classes permuted: new class i is class shuffled_classes(...)[i].

    The permutation is that of the published runs (`labels.shuffled_classes`). No image is copied.

    Args:
      seed: of the permutation; 0 or less leaves the order as it is.
    """
    if seed <= 0:
      return self
    order = np.array(specs.shuffled_classes(self.num_classes, seed))
    return dataclasses.replace(self, starts=self.starts[order], sizes=self.sizes[order])


@dataclasses.dataclass(frozen=True)
class ClassSet:
  """The classes that episodes are drawn from. arrays: all images; classes: int64, numbers of the
  classes in use.
  """

  arrays: ClassArrays
  classes: np.ndarray

  @property
  def name(self) -> str:
    return self.arrays.name
