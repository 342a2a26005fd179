"""From a dataset's name in a flag to the classes that episodes are drawn from."""

from __future__ import annotations

from hypertransformer.episodes import arrays, labels
from hypertransformer.episodes.labels import DatasetSpec
from hypertransformer.episodes.sampling import ClassSet


class DataFolder:
  """The datasets of --data_numpy_dir, each read once; classes are permuted by --shuffle_labels_seed."""

  def __init__(self, folder: str, shuffle_seed: int = 0, use_labels: int = 8) -> None:
    """use_labels: how many classes a dataset without labels in its name has."""
    self._folder = folder
    self._shuffle_seed = shuffle_seed
    self._use_labels = use_labels
    self._loaded: dict[str, arrays.ClassArrays] = {}

  def open(self, dataset: str | DatasetSpec) -> ClassSet:
    """'name' or 'name:0-9,20', or the same parsed. Raises InputError, see arrays.load and arrays.select."""
    spec = labels.parse_dataset(dataset) if isinstance(dataset, str) else dataset
    if spec.name not in self._loaded:
      self._loaded[spec.name] = arrays.load(spec.name, self._folder).shuffled(self._shuffle_seed)
    loaded = self._loaded[spec.name]
    return ClassSet(loaded, arrays.select(loaded, spec.classes, self._use_labels))
