"""Opens the datasets of --data_numpy_dir by their names.

`DataFolder` goes from the spec in a flag, such as 'omniglot:0-1149', to the classes that episodes
are drawn from. `load`, `find` and `select` are its steps.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from hypertransformer.data import class_list, files, layouts, specs, tfds
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.data.specs import DatasetSpec
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
# Drawings of bright ink on black; of so many of their images it is looked whether they are.
_BRIGHT_INK = ('omniglot', 'strokes')
_SAMPLE_IMAGES = 500


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
    self._tfds_dir = str(files.expanded(tfds_dir)) if tfds_dir else None
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
    root = files.expanded(data_numpy_dir)
    looked = (
      f'looked for {root / f"{name}.npy"} and the folder {root / name}'
      if data_numpy_dir
      else 'no folder of data is given, expected --data_numpy_dir'
    )
    raise InputError(f'dataset {name!r} is not there: {looked}; {_how_to_make(name)}')
  is_file = files.is_file(path)
  if is_file and files.is_folder(path.with_name(name)):
    logging.warning(
      '%s and the folder %s are both there: the file is read, the folder is not; remove the one '
      'that is out of date',
      path,
      path.with_name(name),
    )
  flat = layouts.read_file(path) if is_file else layouts.read_folder(path)
  found = of_images(name, flat)
  _warn_if_unusual(found)
  try:
    names = tuple(entry.name for entry in listed_classes(path, found.sizes))
  except InputError as error:  # training needs no names
    logging.warning('dataset %s is used without the names of its classes: %s', name, error)
    return found
  return dataclasses.replace(found, names=names)


def listed_classes(path: pathlib.Path, sizes: np.ndarray) -> list[ClassEntry]:
  """Reads the class list of a dataset (see `class_list`); returns an empty list if it has none.

  Args:
    path: the file or folder of the dataset, as `find` gives it.
    sizes: int64 [classes], the number of images of each class.

  Raises:
    InputError: the list is not that of this dataset, or cannot be read.
  """
  table = class_list.beside(path)
  return class_list.read(table, sizes) if files.exists(table) else []


def find(name: str, data_numpy_dir: str) -> pathlib.Path | None:
  """Returns the file or folder that `load` reads; None if there is none.

  Raises:
    InputError: `data_numpy_dir` is given but is not a folder, or it has a folder where a file is
      meant, or the other way round.
  """
  if not data_numpy_dir:
    return None
  root = files.expanded(data_numpy_dir)
  if files.is_file(root):
    raise InputError(
      f'the data folder {root} is a file; expected the folder that it is in: '
      f'--data_numpy_dir={root.parent}'
    )
  if not files.is_folder(root):
    raise InputError(
      f'the data folder {root} is not there; expected a folder with {name}.npy: '
      'make it or correct --data_numpy_dir'
    )
  file, folder = root / f'{name}.npy', root / name
  if files.is_file(file):
    return file
  if files.is_folder(folder):
    return folder
  _refuse_others(file, folder)
  return None


def _refuse_others(file: pathlib.Path, folder: pathlib.Path) -> None:
  """Raises InputError if the names of a dataset's file and folder are those of something else."""
  if files.is_folder(file):
    raise InputError(
      f'{file} is a folder; expected a file, or a folder without .npy: rename it to {folder.name}'
    )
  if files.is_file(folder):
    raise InputError(
      f'{folder} is a file; expected a folder, or a file with .npy: rename it to {file.name}'
    )
  for path in (file, folder):
    if path.is_symlink() and not files.exists(path):
      raise InputError(
        f'{path} is a link to {os.readlink(path)}, which is not there; mend the link'
      )


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


def _warn_if_unusual(arrays: ClassArrays) -> None:
  """Logs a warning of many channels, or of a known dataset that is incomplete or inverted."""
  height, width, channels = arrays.image_shape
  if channels > max(layouts.USUAL_CHANNELS):
    logging.warning(
      'dataset %s has images of %d x %d pixels with %d channels; expected 1, 3 or 4 in the last '
      'axis',
      arrays.name,
      height,
      width,
      channels,
    )
  expected = KNOWN_CLASSES.get(arrays.name, arrays.num_classes)
  if arrays.num_classes != expected:
    logging.warning(
      'dataset %s has %d classes; the complete one has %d',
      arrays.name,
      arrays.num_classes,
      expected,
    )
  if arrays.name in _BRIGHT_INK:
    rows = np.linspace(0, len(arrays.images) - 1, min(_SAMPLE_IMAGES, len(arrays.images)))
    share = layouts.share_of_bright(arrays.gather(rows.astype(np.int64)))
    if share > 0.5:
      logging.warning(
        'dataset %s looks inverted: %.0f %% of its pixels are bright, as of dark ink on white, and '
        'models are trained on bright ink on black; make it again, with --invert of the converter',
        arrays.name,
        100 * share,
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
