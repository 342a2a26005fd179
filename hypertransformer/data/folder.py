"""The datasets of --data_numpy_dir, by name.

`DataFolder` goes from the spec in a flag, such as 'omniglot:0-1149', to the classes that episodes
are sampled from. `load`, `find` and `select` are its steps.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from hypertransformer.data import class_list, files, layouts, specs, tfds
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError

# The datasets that have a command to make them.
_CONVERTED = ('strokes', 'omniglot', 'miniimagenet', 'tieredimagenet')
# Bright ink on black; a sample of the images is checked for inverted polarity.
_BRIGHT_INK = ('omniglot', 'strokes')
_SAMPLE_IMAGES = 500
BRIGHT = 128  # the smallest value of a bright pixel


class DataFolder:
  """The datasets of --data_numpy_dir, each of which is read at most once.

  A dataset that is not there is read by tensorflow_datasets, if that is installed and knows it.
  """

  def __init__(
    self,
    folder: str,
    shuffle_seed: int = 0,
    use_labels: int = 8,
    tfds_dir: str | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
  ) -> None:
    """Keep the settings; nothing is read yet.

    Args:
      folder: The directory of the datasets, --data_numpy_dir.
      shuffle_seed: The seed of a permutation of the classes of every dataset,
        --shuffle_labels_seed; 0 for none.
      use_labels: How many classes are used of a dataset whose spec names none.
      tfds_dir: The directory of tensorflow_datasets; None for its default.
      arrays: Datasets in memory by their names, [classes, samples, H, W, C]; they come first.
    """
    self._folder = folder
    self._shuffle_seed = shuffle_seed
    self._use_labels = use_labels
    self._tfds_dir = str(files.expanded(tfds_dir)) if tfds_dir else None
    self._in_memory = arrays or {}
    self._loaded: dict[tuple[str, str], ClassArrays] = {}

  def has(self, name: str) -> bool:
    """Return whether a dataset is in memory or in the directory, and so needs no download."""
    return name in self._in_memory or find(name, self._folder) is not None

  def open(self, dataset: str | DatasetSpec, split: str = tfds.DEFAULT_SPLIT) -> ClassSet:
    """Open a dataset and return the classes that its spec names.

    Args:
      dataset: The spec, as a text such as 'name' or 'name:0-9,20', or parsed.
      split: The split of tensorflow_datasets that is used. Files have no splits; there it has no
        effect but a warning.

    Raises:
      InputError: The spec is malformed, the dataset does not exist or is malformed, or it does not
        have the classes.
    """
    spec = specs.parse_dataset(dataset) if isinstance(dataset, str) else dataset
    loaded = self._load(spec.name, split)
    return ClassSet(loaded, select(loaded, spec.classes, self._use_labels))

  def _load(self, name: str, split: str) -> ClassArrays:
    """Return a dataset with its classes permuted; read it unless that has been done."""
    downloaded = not self.has(name) and tfds.offers(name)
    used = tfds.split_of(name, split) if downloaded else ''
    if split not in (used, tfds.DEFAULT_SPLIT):
      logging.warning(
        '--test_split=%s has no effect on %s: it %s',
        split,
        name,
        f'needs {used}' if used else 'is read from files',
      )
    key = name, used
    if key not in self._loaded:
      if name in self._in_memory:
        found = _arrays(name, layouts.flat(np.asarray(self._in_memory[name]), f'data[{name!r}]'))
      elif downloaded:
        found = _arrays(name, tfds.read(name, self._tfds_dir, split))
      else:
        found = load(name, self._folder)
      self._loaded[key] = found.shuffled(self._shuffle_seed)
    return self._loaded[key]


def load(name: str, data_numpy_dir: str) -> ClassArrays:
  """Read a dataset from the file NAME.npy or the directory NAME/ (see `layouts`).

  If both exist, the file is read, with a warning.

  Args:
    name: The name of the dataset.
    data_numpy_dir: The directory in which it is.

  Raises:
    InputError: The dataset does not exist, or one of its files is malformed.
  """
  path = find(name, data_numpy_dir)
  if path is None:
    converter = name if name in _CONVERTED else 'images'
    raise InputError(
      f'dataset {name!r} does not exist: --data_numpy_dir={data_numpy_dir} has neither {name}.npy '
      f'nor {name}/; make it with hypertransformer convert {converter}'
      + (f', or install tensorflow_datasets: {tfds.INSTALL}' if name in tfds.SOURCES else '')
    )
  is_file = path.is_file()
  if is_file and path.with_name(name).is_dir():
    logging.warning(
      '%s and the directory %s both exist: the file is read; remove the one that is out of date',
      path,
      path.with_name(name),
    )
  found = _arrays(name, layouts.read_file(path) if is_file else layouts.read_folder(path))
  _warn_if_inverted(found)
  try:
    entries = class_list.read(class_list.beside(path), found.sizes)
  except InputError as error:  # training needs no names
    logging.warning('dataset %s is used without the names of its classes: %s', name, error)
    return found
  return dataclasses.replace(found, names=tuple(entry.name for entry in entries))


def find(name: str, data_numpy_dir: str) -> pathlib.Path | None:
  """Return the file or directory that `load` reads; None if there is none.

  Raises:
    InputError: `data_numpy_dir` is given but is not a directory.
  """
  if not data_numpy_dir:
    return None
  root = files.expanded(data_numpy_dir)
  if not os.path.isdir(root):
    raise InputError(
      f'--data_numpy_dir={files.shown(data_numpy_dir)} is not a directory; give the one that has '
      f'{name}.npy'
    )
  if os.path.isfile(root / f'{name}.npy'):
    return root / f'{name}.npy'
  files.recover(root / name)
  return root / name if os.path.isdir(root / name) else None


def _arrays(name: str, flat: layouts.FlatImages) -> ClassArrays:
  images, sizes = flat
  return ClassArrays(name, images, np.cumsum(sizes) - sizes, sizes)


def _warn_if_inverted(arrays: ClassArrays) -> None:
  """Log a warning if a dataset of bright ink on black has mostly bright pixels."""
  if arrays.name in _BRIGHT_INK:
    rows = np.linspace(0, len(arrays.images) - 1, min(_SAMPLE_IMAGES, len(arrays.images)))
    bright = (arrays.gather(rows.astype(np.int64)) >= BRIGHT).mean()
    if bright > 0.5:
      logging.warning(
        'dataset %s looks inverted: %.0f %% of its pixels are bright, and models are trained on '
        'bright ink on black; make it again with --invert',
        arrays.name,
        100 * bright,
      )


def select(arrays: ClassArrays, classes: Sequence[int] | None, use_labels: int) -> np.ndarray:
  """Return the numbers of the classes that episodes are sampled from, int64 [n].

  Args:
    arrays: The dataset.
    classes: The classes; None for the first `use_labels` ones.
    use_labels: How many classes to use if `classes` is None.

  Raises:
    InputError: No classes are named, or some that the dataset does not have.
  """
  chosen = np.asarray(range(use_labels) if classes is None else classes, np.int64)
  if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= arrays.num_classes:
    asked = f'labels {chosen.min()}-{chosen.max()}' if chosen.size else 'no labels'
    raise InputError(
      f'dataset {arrays.name!r} has the classes 0-{arrays.num_classes - 1}, but {asked} are asked '
      f'for; correct the labels{"" if classes else " or --use_labels"}'
    )
  return chosen
