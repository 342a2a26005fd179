"""Opens the datasets of --data_numpy_dir by their names.

`DataFolder` goes from the spec in a flag, such as 'omniglot:0-1149', to the classes that episodes
are drawn from. `load`, `find` and `select` are its steps.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.datasets import layouts, specs, tfds
from hypertransformer.datasets.arrays import ClassArrays, ClassSet
from hypertransformer.datasets.specs import DatasetSpec
from hypertransformer.errors import InputError

# How many classes the complete known datasets have. Other numbers are allowed, because people keep
# subsets, but there is a warning.
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


class DataFolder:
  """The datasets of --data_numpy_dir, each of which is read at most once.

  A dataset that is not there is read by tensorflow_datasets, if that is installed and knows it (see
  `tfds`).
  """

  def __init__(
    self, folder: str, shuffle_seed: int = 0, use_labels: int = 8, tfds_dir: str | None = None
  ) -> None:
    """Keeps the settings; nothing is read yet.

    Args:
      folder: the folder of the datasets, --data_numpy_dir.
      shuffle_seed: the seed by which the classes of every dataset are permuted first,
        --shuffle_labels_seed; 0 leaves them in their order.
      use_labels: how many classes are used of a dataset whose spec names none.
      tfds_dir: the folder of tensorflow_datasets; None for its own default.
    """
    self._folder = folder
    self._shuffle_seed = shuffle_seed
    self._use_labels = use_labels
    self._tfds_dir = tfds_dir
    self._loaded: dict[tuple[str, str], ClassArrays] = {}

  def open(self, dataset: str | DatasetSpec, split: str = tfds.DEFAULT_SPLIT) -> ClassSet:
    """Opens a dataset and returns the classes that its spec names.

    Args:
      dataset: the spec, as a text such as 'name' or 'name:0-9,20', or parsed.
      split: the split of tensorflow_datasets whose images are used. Files have no splits; there it
        has no effect, and a warning says so.

    Raises:
      InputError: the spec is malformed, the dataset is not there or cannot be used, or it does not
        have the classes.
    """
    spec = specs.parse_dataset(dataset) if isinstance(dataset, str) else dataset
    loaded = self._load(spec.name, split)
    return ClassSet(loaded, select(loaded, spec.classes, self._use_labels))

  def _load(self, name: str, split: str) -> ClassArrays:
    """Returns a dataset with its classes permuted, and reads it unless it has been read already."""
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


def load(name: str, data_numpy_dir: str) -> ClassArrays:
  """Reads a dataset from its file or folder (docs/spec/data.md, section 1).

  The file `NAME.npy` is looked for first, then the folder `NAME/`. What they may hold is described
  in `layouts`. If both are there, the file is read, with a warning.

  Args:
    name: the dataset's name.
    data_numpy_dir: the folder in which it is looked for.

  Raises:
    InputError: there is no such folder or dataset, or a file of it cannot be used.
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
      '%s and the folder %s are both there: the file is read, the folder is not; remove the one '
      'that is out of date',
      path,
      path.with_name(name),
    )
  flat = layouts.read_file(path) if path.is_file() else layouts.read_folder(path)
  _warn_if_unusual(name, len(flat[1]))
  return of_images(name, flat)


def find(name: str, data_numpy_dir: str) -> pathlib.Path | None:
  """Returns the file or folder that `load` reads; None if there is none.

  Raises:
    InputError: `data_numpy_dir` is given but is not a folder.
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
  """Makes a dataset of images [all images, H, W, C] that are ordered by class, and class sizes."""
  images, sizes = flat
  return ClassArrays(name, images, np.cumsum(sizes) - sizes, sizes)


def _how_to_make(name: str) -> str:
  """Returns the advice of the error about a dataset that is missing."""
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
  """Logs a warning if a known dataset has another number of classes than the complete one."""
  expected = KNOWN_CLASSES.get(name, num_classes)
  if num_classes != expected:
    logging.warning(
      'dataset %s has %d classes; the complete one has %d', name, num_classes, expected
    )


def select(arrays: ClassArrays, classes: Sequence[int] | None, use_labels: int) -> np.ndarray:
  """Returns the numbers of the classes that episodes are drawn from, int64 [n].

  Args:
    arrays: the dataset.
    classes: the classes to use; None for the first `use_labels` ones.
    use_labels: how many classes to use if `classes` is None.

  Raises:
    InputError: a class is asked for that the dataset does not have, or more classes than it has, or
      none.
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
