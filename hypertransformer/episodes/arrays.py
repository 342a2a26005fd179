"""A dataset's images by class, from `--data_numpy_dir`; memory-mapped where the layout allows."""
from __future__ import annotations

import dataclasses
import mmap
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.episodes import array_files, labels
from hypertransformer.errors import InputError

# Classes of the complete known datasets; fewer are allowed (people keep subsets) with a warning.
KNOWN_CLASSES = {'omniglot': 1623, 'strokes': 1623, 'miniimagenet': 100, 'tieredimagenet': 608,
                 'emnist': 62, 'fashion_mnist': 10, 'kmnist': 10}
_CONVERTERS = {'omniglot': 'utils/cache_omniglot.py', 'strokes': 'utils/make_strokes.py',
               'miniimagenet': 'utils/cache_miniimagenet.py',
               'tieredimagenet': 'utils/cache_tieredimagenet.py'}


class _Residency:
  """Keeps a memory-mapped file from filling the process's memory.

  Every page read stays counted as the process's own until the system runs short, so a run over a
  file of many GB would look (and in a container be) that large. Now and then all pages are given
  back; they stay in the system's file cache, so reading them again is cheap.
  """
  LIMIT_BYTES = 1 << 29
  # Touching one page maps its neighbours too (Linux: 64 kB around a fault).
  FAULT_BYTES = 1 << 16

  def __init__(self, images: np.ndarray) -> None:
    owner: object = images
    while isinstance(owner, np.ndarray):
      owner = owner.base
    mapped = isinstance(owner, mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED')
    self._map = owner if mapped and images.nbytes > self.LIMIT_BYTES else None
    self._row_bytes = images[0].nbytes + self.FAULT_BYTES
    self._touched = 0

  def touched(self, rows: int) -> None:
    """Says that `rows` images were read."""
    if self._map is None:
      return
    self._touched += rows * self._row_bytes
    if self._touched > self.LIMIT_BYTES:
      self._map.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
      self._touched = 0


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
  _residency: _Residency = dataclasses.field(init=False, repr=False)

  def __post_init__(self) -> None:
    object.__setattr__(self, '_residency', _Residency(self.images))

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
    images = np.asarray(self.images)[chosen]  # asarray: indexing a memmap itself is slower
    self._residency.touched(len(chosen))
    return images

  def shuffled(self, seed: int) -> ClassArrays:
    """The same images with classes permuted: new class i is class shuffled_classes(...)[i].

    The permutation is that of the published runs (`labels.shuffled_classes`). No image is copied.

    Args:
      seed: of the permutation; 0 or less leaves the order as it is.
    """
    if seed <= 0:
      return self
    order = np.array(labels.shuffled_classes(self.num_classes, seed))
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
  if not data_numpy_dir:
    raise InputError(f'no folder of data is given to read {name!r} from; expected --data_numpy_dir')
  root = pathlib.Path(data_numpy_dir).expanduser()
  if not root.is_dir():
    raise InputError(f'the data folder {root} is not there; expected a folder with {name}.npy: '
                     'make it or correct --data_numpy_dir')
  file, folder = root / f'{name}.npy', root / name
  if file.is_file() and folder.is_dir():
    logging.warning('%s and %s are both there: reading %s', file, folder, file)
  if file.is_file():
    images, sizes = array_files.read_file(file)
  elif folder.is_dir():
    images, sizes = array_files.read_folder(folder)
  else:
    raise InputError(f'dataset {name!r} is not there: looked for {file} and the folder {folder}; '
                     f'{_how_to_make(name)}')
  _warn_if_unusual(name, len(sizes))
  return ClassArrays(name, images, np.cumsum(sizes) - sizes, sizes)


def _how_to_make(name: str) -> str:
  if name in _CONVERTERS:
    return f'make it with python {_CONVERTERS[name]}'
  return f'put {name}.npy [classes, samples, H, W, C] there'


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
