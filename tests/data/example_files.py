"""Images by class, the files that hold them, and what is read of these files."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from hypertransformer.data.arrays import ClassArrays

_RNG = np.random.default_rng(0)
# Four classes of three images each, [classes, samples, H, W, C].
IMAGES = _RNG.integers(0, 256, (4, 3, 5, 6, 2), dtype=np.uint8)
# Five classes that differ in size, [samples, H, W, C] each.
RAGGED = [_RNG.integers(0, 256, (count, 5, 6, 3), dtype=np.uint8) for count in (2, 4, 1, 3, 2)]


def save_flat(folder: pathlib.Path, images: np.ndarray, sizes: np.ndarray) -> None:
  """Makes a dataset folder in this project's form."""
  folder.mkdir()
  np.save(folder / 'images.npy', images)
  np.save(folder / 'class_sizes.npy', sizes)


def save_ragged(folder: pathlib.Path) -> None:
  """Makes a dataset folder in this project's form, with the classes RAGGED."""
  save_flat(folder, np.concatenate(RAGGED), np.array([len(part) for part in RAGGED]))


def save_chunk(path: pathlib.Path, classes: Sequence[object]) -> None:
  """Writes a chunk in the original's form: an array of one object for each class."""
  chunk = np.empty(len(classes), object)
  chunk[:] = classes
  np.save(path, chunk, allow_pickle=True)


def assert_classes(found: ClassArrays, expected: list[np.ndarray]) -> None:
  """Checks that a dataset has exactly these classes and images, in this order."""
  assert found.num_classes == len(expected)
  for cls, want in enumerate(expected):
    got = found.gather(found.rows(cls, range(found.sizes[cls])))
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.uint8
