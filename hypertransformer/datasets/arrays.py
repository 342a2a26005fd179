"""A dataset's images by class, from `--data_numpy_dir`; memory-mapped where the layout allows."""
from __future__ import annotations

import dataclasses
import os
import pathlib
import weakref
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.datasets import layouts, specs, tfds
from hypertransformer.errors import InputError

# Classes of the complete known datasets; fewer are allowed (people keep subsets) with a warning.
KNOWN_CLASSES = {'strokes': 1623, 'miniimagenet': 100, 'tieredimagenet': 608,
                 **{name: source.classes for name, source in tfds.SOURCES.items()}}
_CONVERTERS = {'omniglot': 'utils/cache_omniglot.py', 'strokes': 'utils/make_strokes.py',
               'miniimagenet': 'utils/cache_miniimagenet.py',
               'tieredimagenet': 'utils/cache_tieredimagenet.py'}


# A memory-mapped array above this is read by system calls, see _File.
LARGE_BYTES = 1 << 29


class _File:
  """Reads images from a file, so that none of it counts as the process's memory.

  Every page read through a memory map does, until the system runs short, and Linux may map 2 MB at a touch: training
  on a file of many GB would look, and in a container be, that large within seconds.
  """

  def __init__(self, path: str | os.PathLike[str], begin: int, shape: tuple[int, ...]) -> None:
    """begin, shape: of the array uint8 [all images, H, W, C] in the file, in C order."""
    self._path, self._begin, self._shape = path, begin, shape
    self._descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(self, os.close, self._descriptor)

  def read(self, rows: np.ndarray) -> np.ndarray:
    """uint8 [len(rows), H, W, C]. Raises IndexError for rows that are not there, InputError for a cut file."""
    if rows.size and not 0 <= rows.min() <= rows.max() < self._shape[0]:
      raise IndexError(f'{self._path} has rows 0..{self._shape[0] - 1}, asked for {rows.min()}..{rows.max()}')
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
      raise IndexError(f'{self.name}: class {cls} has samples 0..{self.sizes[cls] - 1}, asked for '
                       f'{chosen.min()}..{chosen.max()}')
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


def load(name: str, data_numpy_dir: str) -> ClassArrays:
  """Reads a dataset from its file or folder (spec: data.md section 1).

  Looked for are `NAME.npy`, [classes, samples, H, W, C] or [classes, samples, H, W]; then the
  folder `NAME/` with `images.npy` [all images, H, W, C] and `class_sizes.npy` [classes]; or with
  the reference's object-array chunks `*.npy`, in the order of their names.

  Args:
    name: the dataset's name.
    data_numpy_dir: the folder in which it is.

  Raises:
    InputError: no such folder or dataset, or a file that cannot be used.
  """
  path = find(name, data_numpy_dir)
  if path is None:
    root = pathlib.Path(data_numpy_dir).expanduser()
    looked = (f'looked for {root / f"{name}.npy"} and the folder {root / name}' if data_numpy_dir
              else 'no folder of data is given, expected --data_numpy_dir')
    raise InputError(f'dataset {name!r} is not there: {looked}; {_how_to_make(name)}')
  if path.is_file() and path.with_name(name).is_dir():
    logging.warning('%s and the folder %s are both there: the file is read, the folder is not; remove the one that is '
                    'out of date', path, path.with_name(name))
  flat = layouts.read_file(path) if path.is_file() else layouts.read_folder(path)
  _warn_if_unusual(name, len(flat[1]))
  return of_images(name, flat)


def find(name: str, data_numpy_dir: str) -> pathlib.Path | None:
  """The file or folder that `load` reads, if there is one. Raises InputError where `data_numpy_dir` is no folder."""
  if not data_numpy_dir:
    return None
  root = pathlib.Path(data_numpy_dir).expanduser()
  if not root.is_dir():
    raise InputError(f'the data folder {root} is not there; expected a folder with {name}.npy: '
                     'make it or correct --data_numpy_dir')
  file, folder = root / f'{name}.npy', root / name
  if file.is_file():
    return file
  return folder if folder.is_dir() else None


def of_images(name: str, flat: layouts.FlatImages) -> ClassArrays:
  """Flat images, class after class, and the sizes of the classes."""
  images, sizes = flat
  return ClassArrays(name, images, np.cumsum(sizes) - sizes, sizes)


def _how_to_make(name: str) -> str:
  ways = [f'make it with python {_CONVERTERS[name]}'] if name in _CONVERTERS else []
  if name in tfds.SOURCES:
    ways.append(f'{"let" if not ways else "or let"} training and evaluation download it: {tfds.INSTALL}')
  if not ways:
    ways.append('make it from images with python utils/cache_image_folder.py')
  if name not in _CONVERTERS:
    ways.append(f'or put {name}.npy [classes, samples, H, W, C] there')
  return ', '.join(ways)


def _warn_if_unusual(name: str, num_classes: int) -> None:
  """Logs when a known dataset has another number of classes than it should."""
  expected = KNOWN_CLASSES.get(name, num_classes)
  if num_classes != expected:
    logging.warning('dataset %s has %d classes; the complete one has %d', name, num_classes,
                    expected)


def select(arrays: ClassArrays, classes: Sequence[int] | None, use_labels: int) -> np.ndarray:
  """The class numbers to sample from, int64.

  Args:
    arrays: the dataset.
    classes: the classes to use; None for the first `use_labels`.
    use_labels: how many to use when `classes` is None.

  Raises:
    InputError: a class that the dataset does not have, or fewer classes than asked for.
  """
  if classes is None:
    if not 1 <= use_labels <= arrays.num_classes:
      raise InputError(f'use_labels is {use_labels}, but dataset {arrays.name!r} has '
                       f'{arrays.num_classes} classes; expected 1 to {arrays.num_classes}, or '
                       f'labels such as {arrays.name}:0-{arrays.num_classes - 1}')
    return np.arange(use_labels)
  chosen = np.asarray(classes, np.int64)
  if chosen.size == 0:
    raise InputError(f'no classes of dataset {arrays.name!r} are chosen; expected at least one')
  if chosen.min() < 0 or chosen.max() >= arrays.num_classes:
    raise InputError(f'labels {chosen.min()}-{chosen.max()} of dataset {arrays.name!r} are asked '
                     f'for, but it has the classes 0-{arrays.num_classes - 1}; correct the labels')
  return chosen
