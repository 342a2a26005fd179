"""From a dataset's name in a flag to the classes that episodes are drawn from."""

from __future__ import annotations

from absl import logging

from hypertransformer.datasets import arrays, specs, tfds
from hypertransformer.datasets.specs import DatasetSpec
from hypertransformer.episodes.sampling import ClassSet


class DataFolder:
  """The datasets of --data_numpy_dir, each read once; classes are permuted by --shuffle_labels_seed.

  A name without a file there is read by tensorflow_datasets, if that is installed and knows it (tfds_arrays).
  """

  def __init__(self, folder: str, shuffle_seed: int = 0, use_labels: int = 8, tfds_dir: str | None = None) -> None:
    """use_labels: how many classes a dataset without labels in its name has; tfds_dir: of tensorflow_datasets."""
    self._folder = folder
    self._shuffle_seed = shuffle_seed
    self._use_labels = use_labels
    self._tfds_dir = tfds_dir
    self._loaded: dict[tuple[str, str], arrays.ClassArrays] = {}

  def open(self, dataset: str | DatasetSpec, split: str = tfds.DEFAULT_SPLIT) -> ClassSet:
    """The classes of 'name' or 'name:0-9,20', or the same parsed.

    Args:
      dataset: what to open.
      split: whose images, where tensorflow_datasets has them in splits (train, test); files have none.

    Raises:
      InputError: see arrays.load, arrays.select and tfds_arrays.read.
    """
    spec = specs.parse_dataset(dataset) if isinstance(dataset, str) else dataset
    loaded = self._load(spec.name, split)
    return ClassSet(loaded, arrays.select(loaded, spec.classes, self._use_labels))

  def _load(self, name: str, split: str) -> arrays.ClassArrays:
    downloaded = arrays.find(name, self._folder) is None and tfds.offers(name)
    used = tfds.split_of(name, split) if downloaded else ''
    if split not in (used, tfds.DEFAULT_SPLIT):
      logging.warning('--test_split=%s has no effect on %s: %s', split, name,
                      f'{used} is read, as its classes need' if used else 'files have no splits')
    key = name, used
    if key not in self._loaded:
      found = (arrays.of_images(name, tfds.read(name, self._tfds_dir, split)) if downloaded
               else arrays.load(name, self._folder))
      self._loaded[key] = found.shuffled(self._shuffle_seed)
    return self._loaded[key]
