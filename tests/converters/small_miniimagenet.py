"""The files of a miniImageNet with few and small images, and what must come of them."""

from __future__ import annotations

import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from hypertransformer.converters import miniimagenet
from hypertransformer.converters.classes import Release

SIDE, SAMPLES = 4, 3
RELEASE = Release({'train': 3, 'val': 1, 'test': 2}, images=18, side=SIDE)
# What the file of a split holds.
Content = dict[str, Any]
# The name of the file of a split.
CACHE = 'mini-imagenet-cache-{}.pkl'


def _split(seed: int, classes: int, extra: int = 2) -> tuple[np.ndarray, dict[str, list[int]]]:
  """Make the images of a split and the indices of the images of each class.

  The images of a class are neither in order nor next to each other, and `extra` images are of no
  class.
  """
  rng = np.random.default_rng(seed)
  count = classes * SAMPLES + extra
  images = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
  order = rng.permutation(count)[: classes * SAMPLES].reshape(classes, SAMPLES)
  # The names descend, so that the order in the file is not the sorted one.
  return images, {f'n{seed}{9 - cls:07d}': indices.tolist() for cls, indices in enumerate(order)}


SPLITS = {name: _split(seed, count) for seed, (name, count) in enumerate(RELEASE.splits.items())}
# What is written.
EXPECTED = np.stack(
  [images[indices] for images, classes in SPLITS.values() for indices in classes.values()]
)


def make_contents() -> dict[str, Content]:
  """Make what the file of each split holds, in the layout with `class_dict`."""
  return {
    name: {'image_data': images, 'class_dict': classes}
    for name, (images, classes) in SPLITS.items()
  }


def write(
  folder: pathlib.Path,
  contents: dict[str, Content],
  name: str = CACHE,
  dump: Callable[[Any], bytes] = pickle.dumps,
) -> None:
  """Write the file of each split.

  Args:
    folder: the folder that gets the files.
    contents: what the file of each split holds.
    name: the name of a file, with {} for the split.
    dump: the function that pickles.
  """
  for split, content in contents.items():
    (folder / name.format(split)).write_bytes(dump(content))


def convert(folder: pathlib.Path) -> np.ndarray:
  """Convert the files in `folder`, check which files were written, and read the array."""
  miniimagenet.convert(folder, folder / 'out' / 'miniimagenet.npy', RELEASE)
  assert sorted(os.listdir(folder / 'out')) == ['miniimagenet.classes.csv', 'miniimagenet.npy']
  return np.load(folder / 'out' / 'miniimagenet.npy')
