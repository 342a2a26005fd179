"""A release of tieredImageNet with few and small images, and what must come of it."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import tieredimagenet
from hypertransformer.converters.classes import Release
from hypertransformer.data import folder as folder_lib
from hypertransformer.errors import InputError

SIDE = 5
# The number of classes and of images of each split.
SPLITS = {'train': (4, 30), 'val': (2, 11), 'test': (3, 20)}
RELEASE = Release({name: classes for name, (classes, _) in SPLITS.items()}, images=61, side=SIDE)


def _labels(classes: int, images: int, first: int) -> np.ndarray:
  """Make labels from `first` on, in no order; the classes differ in size."""
  rng = np.random.default_rng(first)
  some = rng.integers(0, classes, images - classes)
  return first + rng.permutation(np.concatenate([np.arange(classes), some]))


def _data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Make the images of each split, blue first as OpenCV holds them, and their labels.

  The numbers of the labels go on from split to split.
  """
  rng, first, data = np.random.default_rng(3), 0, {}
  for name, (classes, images) in SPLITS.items():
    data[name] = (
      rng.integers(0, 256, (images, SIDE, SIDE, 3), np.uint8),
      _labels(classes, images, first),
    )
    first += classes
  return data


DATA = _data()
# What is written: the images of each class in the order of the file, with red first.
EXPECTED = [
  images[labels == label][..., ::-1]
  for images, labels in DATA.values()
  for label in np.unique(labels)
]


def save_npz(path: pathlib.Path, images: np.ndarray) -> None:
  """Save the images of the split `path` as {split}_images.npz."""
  np.savez(path.with_name(f'{path.name}_images.npz'), images=images)


def save_compressed(path: pathlib.Path, images: np.ndarray) -> None:
  """Save the images of the split `path` as {split}_images.npz, compressed."""
  np.savez_compressed(path.with_name(f'{path.name}_images.npz'), images=images)


def encode_png(image: np.ndarray) -> bytes:
  """Encode an image that has blue first, as cv2.imencode does: a PNG of the right colours."""
  data = io.BytesIO()
  Image.fromarray(image[..., ::-1]).save(data, 'PNG')
  return data.getvalue()


def save_pngs(
  protocol: int, wrap: Callable[[bytes], Any]
) -> Callable[[pathlib.Path, np.ndarray], None]:
  """Return a function that saves the images of a split as {split}_images_png.pkl.

  Args:
    protocol: the protocol of the pickle.
    wrap: turns the bytes of each PNG file into what is pickled.
  """

  def save(path: pathlib.Path, images: np.ndarray) -> None:
    data = pickle.dumps([wrap(encode_png(image)) for image in images], protocol)
    path.with_name(f'{path.name}_images_png.pkl').write_bytes(data)

  return save


def write(
  folder: pathlib.Path,
  store: Callable[[pathlib.Path, np.ndarray], None] = save_npz,
  key: str = 'labels',
  kind: Callable[[np.ndarray], Any] = np.ndarray.tolist,
) -> None:
  """Write the release.

  Args:
    folder: the folder that gets its files.
    store: the function that saves the images of a split.
    key: the key of the labels in their dict.
    kind: turns the labels of a split, int64 [n], into what is pickled.
  """
  for name, (images, labels) in DATA.items():
    store(folder / name, images)
    content = {
      'label_general': [0] * len(labels),
      key: kind(labels),
      'label_specific_str': ['a', 'b'],
    }
    (folder / f'{name}_labels.pkl').write_bytes(pickle.dumps(content, 2))


def convert(folder: pathlib.Path, **options: Any) -> str:
  """Convert the release in `folder` into the folder out/tieredimagenet there."""
  return tieredimagenet.convert(
    folder, folder / 'out' / 'tieredimagenet', release=RELEASE, **options
  )


def check(folder: pathlib.Path, expected: list[np.ndarray] = EXPECTED) -> None:
  """Check that training reads what is expected, and that nothing else was written."""
  assert os.listdir(folder / 'out') == ['tieredimagenet']
  assert sorted(os.listdir(folder / 'out' / 'tieredimagenet')) == [
    'class_sizes.npy',
    'classes.csv',
    'images.npy',
  ]
  loaded = folder_lib.load('tieredimagenet', str(folder / 'out'))
  np.testing.assert_array_equal(loaded.sizes, [len(images) for images in expected])
  np.testing.assert_array_equal(loaded.images, np.concatenate(expected))


# A function that spoils something in the folder of the release.
Change = Callable[[pathlib.Path], Any]


def replaced(data: bytes, name: str) -> Change:
  """Replace the content of a file."""
  return lambda root: (root / name).write_bytes(data)


def changed(change: Callable[[bytes], bytes], name: str) -> Change:
  """Change the content of a file."""
  return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def assert_refused(folder: pathlib.Path, change: Change, found: str) -> None:
  """Check that a spoilt release is refused with the message `found`, and that nothing is left."""
  change(folder)
  (folder / 'out').mkdir()
  with pytest.raises(InputError, match=found):
    convert(folder)
  assert os.listdir(folder / 'out') == []
