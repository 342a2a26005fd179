"""From a dataset's name in a flag to the classes that episodes are drawn from."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.datasets import arrays, layouts, specs, tfds
from hypertransformer.datasets.arrays import ClassArrays, ClassSet
from hypertransformer.datasets.specs import DatasetSpec
from hypertransformer.errors import InputError


class DataFolder:
  """The datasets of --data_numpy_dir, each read once; classes are permuted by
  --shuffle_labels_seed.

  A name without a file there is read by tensorflow_datasets, if that is installed and knows it
  (tfds_arrays).
  """

  def __init__(
    self, folder: str, shuffle_seed: int = 0, use_labels: int = 8, tfds_dir: str | None = None
  ) -> None:
    """use_labels: how many classes a dataset without labels in its name has; tfds_dir: of
    tensorflow_datasets.
    """
    self._folder = folder
    self._shuffle_seed = shuffle_seed
    self._use_labels = use_labels
    self._tfds_dir = tfds_dir
    self._loaded: dict[tuple[str, str], arrays.ClassArrays] = {}

  def open(self, dataset: str | DatasetSpec, split: str = tfds.DEFAULT_SPLIT) -> ClassSet:
    """The classes of 'name' or 'name:0-9,20', or the same parsed.

    Args: dataset: what to open. split: whose images, where tensorflow_datasets has them in splits
      (train, test); files have none.

    Raises:
      InputError: see arrays.load, arrays.select and tfds_arrays.read.
    """
    spec = specs.parse_dataset(dataset) if isinstance(dataset, str) else dataset
    loaded = self._load(spec.name, split)
    return ClassSet(loaded, select(loaded, spec.classes, self._use_labels))

  def _load(self, name: str, split: str) -> arrays.ClassArrays:
    downloaded = find(name, self._folder) is None and tfds.offers(name)
    used = tfds.split_of(name, split) if downloaded else ''
    if split not in (used, tfds.DEFAULT_SPLIT):
      logging.warning(
        '--test_split=%s has no effect on %s: %s',
        split,
        name,
        f'{used} is read, as its classes need' if used else 'files have no splits',
      )
    key = name, used
    if key not in self._loaded:
      found = (
        of_images(name, tfds.read(name, self._tfds_dir, split))
        if downloaded
        else load(name, self._folder)
      )
      self._loaded[key] = found.shuffled(self._shuffle_seed)
    return self._loaded[key]


# Classes of the complete known datasets; fewer are allowed (people keep subsets) with a warning.
KNOWN_CLASSES = {
  'strokes': 1623,
  'miniimagenet': 100,
  'tieredimagenet': 608,
  **{name: source.classes for name, source in tfds.SOURCES.items()},
}
_CONVERTERS = {
  'omniglot': 'utils/cache_omniglot.py',
  'strokes': 'utils/make_strokes.py',
  'miniimagenet': 'utils/cache_miniimagenet.py',
  'tieredimagenet': 'utils/cache_tieredimagenet.py',
}


def load(name: str, data_numpy_dir: str) -> ClassArrays:
  """Reads a dataset from its file or folder (spec: data.md section 1).

  Looked for are `NAME.npy`, [classes, samples, H, W, C] or [classes, samples, H, W]; then the
  folder `NAME/` with `images.npy` [all images, H, W, C] and `class_sizes.npy` [classes]; or with
  the original's object-array chunks `*.npy`, in the order of their names.

  Args:
    name: the dataset's name.
    data_numpy_dir: the folder in which it is.

  Raises:
    InputError: no such folder or dataset, or a file that cannot be used.
  """
  path = find(name, data_numpy_dir)
  if path is None:
    root = pathlib.Path(data_numpy_dir).expanduser()
    looked = (
      f'looked for {root / f"{name}.npy"} and the folder {root / name}'
      if data_numpy_dir
      else 'no folder of data is given, expected --data_numpy_dir'
    )
    raise InputError(f'dataset {name!r} is not there: {looked}; {_how_to_make(name)}')
  if path.is_file() and path.with_name(name).is_dir():
    logging.warning(
      '%s and the folder %s are both there: the file is read, the folder is not; remove the one that is '
      'out of date',
      path,
      path.with_name(name),
    )
  flat = layouts.read_file(path) if path.is_file() else layouts.read_folder(path)
  _warn_if_unusual(name, len(flat[1]))
  return of_images(name, flat)


def find(name: str, data_numpy_dir: str) -> pathlib.Path | None:
  """The file or folder that `load` reads, if there is one. Raises InputError where `data_numpy_dir`
  is no folder.
  """
  if not data_numpy_dir:
    return None
  root = pathlib.Path(data_numpy_dir).expanduser()
  if not root.is_dir():
    raise InputError(
      f'the data folder {root} is not there; expected a folder with {name}.npy: '
      'make it or correct --data_numpy_dir'
    )
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
    ways.append(
      f'{"let" if not ways else "or let"} training and evaluation download it: {tfds.INSTALL}'
    )
  if not ways:
    ways.append('make it from images with python utils/cache_image_folder.py')
  if name not in _CONVERTERS:
    ways.append(f'or put {name}.npy [classes, samples, H, W, C] there')
  return ', '.join(ways)


def _warn_if_unusual(name: str, num_classes: int) -> None:
  """Logs when a known dataset has another number of classes than it should."""
  expected = KNOWN_CLASSES.get(name, num_classes)
  if num_classes != expected:
    logging.warning(
      'dataset %s has %d classes; the complete one has %d', name, num_classes, expected
    )


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
      raise InputError(
        f'use_labels is {use_labels}, but dataset {arrays.name!r} has '
        f'{arrays.num_classes} classes; expected 1 to {arrays.num_classes}, or '
        f'labels such as {arrays.name}:0-{arrays.num_classes - 1}'
      )
    return np.arange(use_labels)
  chosen = np.asarray(classes, np.int64)
  if chosen.size == 0:
    raise InputError(f'no classes of dataset {arrays.name!r} are chosen; expected at least one')
  if chosen.min() < 0 or chosen.max() >= arrays.num_classes:
    raise InputError(
      f'labels {chosen.min()}-{chosen.max()} of dataset {arrays.name!r} are asked '
      f'for, but it has the classes 0-{arrays.num_classes - 1}; correct the labels'
    )
  return chosen
