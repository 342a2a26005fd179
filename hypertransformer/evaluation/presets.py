"""Presets are the named sets of classes that checkpoints are evaluated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypertransformer.data import specs, tfds
from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder, find
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError
from hypertransformer.evaluation.measured import Measured, use_labels
from hypertransformer.settings.config import DataConfig


@dataclasses.dataclass(frozen=True)
class Preset:
  """A named set of classes to evaluate on.

  Attributes:
    name: its name in results and TensorBoard, such as 'val'.
    dataset: the spec of its classes, as in a flag: 'omniglot:1150-1199'.
    class_set: the classes and their images.
    split: the split of a dataset of tensorflow_datasets; '' for files, which have none.
  """

  name: str
  dataset: str
  class_set: ClassSet
  split: str = ''


def channels(presets: Sequence[Preset]) -> int:
  """The number of channels of the images, which all presets have in common.

  Raises:
    InputError: the presets differ in it.
  """
  found = {preset.class_set.arrays.image_shape[-1] for preset in presets}
  if len(found) != 1:
    raise InputError(
      f'the evaluation datasets have {sorted(found)} channels; one model takes only one kind.'
    )
  return found.pop()


def folder_of(data: DataConfig) -> DataFolder:
  """The folder that the settings name, from which nothing is read yet."""
  return DataFolder(data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder)


def presets_from(data: DataConfig, folder: DataFolder | None = None) -> list[Preset]:
  """Opens the presets of --eval_datasets; if that is empty, the train and the test dataset.

  Args:
    data: names them.
    folder: what they are opened from; None for that of the settings.

  Raises:
    InputError: the flag cannot be understood, or a dataset is missing or does not fit.
  """
  folder = folder or folder_of(data)

  def preset(name: str, spec: DatasetSpec, split: str) -> Preset:
    return Preset(name, str(spec), folder.open(spec, split), _used_split(spec, data, split))

  if data.eval_datasets:
    parsed = specs.parse_eval_datasets(data.eval_datasets)
    return [preset(name, spec, data.test_split) for name, spec in parsed]
  return [
    preset('train', specs.parse_dataset(data.train_dataset), tfds.DEFAULT_SPLIT),
    preset('test', specs.parse_dataset(data.test_dataset), data.test_split),
  ]


def _used_split(spec: DatasetSpec, data: DataConfig, split: str) -> str:
  """The split that is read of a dataset of tensorflow_datasets; '' if it is read from files."""
  if find(spec.name, data.folder) is None and tfds.offers(spec.name):
    return tfds.split_of(spec.name, split)
  return ''


class OpenClasses:
  """The classes that results are about; those of today's presets are open already."""

  def __init__(self, data: DataConfig, presets: Sequence[Preset]) -> None:
    self._data = data
    self._open = {
      (preset.dataset, preset.split, data.shuffle_labels_seed, use_labels(preset.dataset, data)): (
        preset.class_set
      )
      for preset in presets
    }

  def of(self, on: Measured) -> ClassSet:
    """The classes that a result was measured on.

    Raises:
      InputError: they are not there.
    """
    key = on.dataset, on.split, on.shuffle_labels_seed, on.use_labels
    if key not in self._open:
      folder = DataFolder(
        self._data.folder,
        on.shuffle_labels_seed,
        self._data.use_labels if on.use_labels is None else on.use_labels,
        self._data.tfds_folder,
      )
      self._open[key] = folder.open(on.dataset, on.split or tfds.DEFAULT_SPLIT)
    return self._open[key]
