"""Presets are the named sets of classes that checkpoints are evaluated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypertransformer.datasets import specs
from hypertransformer.datasets.arrays import ClassSet
from hypertransformer.datasets.folder import DataFolder
from hypertransformer.errors import InputError
from hypertransformer.settings.data_config import DataConfig


@dataclasses.dataclass(frozen=True)
class Preset:
  """A named set of classes to evaluate on.

  Attributes:
    name: its name in results and TensorBoard, such as 'val'.
    dataset: the spec of its classes, as in a flag: 'omniglot:1150-1199'.
    class_set: the classes and their images.
  """

  name: str
  dataset: str
  class_set: ClassSet


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


def presets_from(data: DataConfig) -> list[Preset]:
  """Opens the presets of --eval_datasets; if that is empty, the train and the test dataset.

  Raises:
    InputError: the flag cannot be understood, or a dataset is missing or does not fit.
  """
  folder = DataFolder(data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder)
  if data.eval_datasets:
    parsed = specs.parse_eval_datasets(data.eval_datasets)
    return [Preset(name, str(spec), folder.open(spec, data.test_split)) for name, spec in parsed]
  train, test = specs.parse_dataset(data.train_dataset), specs.parse_dataset(data.test_dataset)
  return [
    Preset('train', str(train), folder.open(train)),
    Preset('test', str(test), folder.open(test, data.test_split)),
  ]
