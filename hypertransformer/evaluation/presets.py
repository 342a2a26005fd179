"""Presets are the named sets of classes that checkpoints are evaluated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypertransformer.data import specs, tfds
from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.settings.config import AugmentationConfig, DataConfig, Settings


@dataclasses.dataclass(frozen=True)
class Preset:
  """A named set of classes to evaluate on.

  Attributes:
    name: Its name in results and TensorBoard, such as 'val'.
    dataset: The spec of its classes, as in a flag: 'omniglot:1150-1199'.
    class_set: The classes and their images.
    split: The split of a dataset of tensorflow_datasets; '' for files, which have none.
  """

  name: str
  dataset: str
  class_set: ClassSet
  split: str = ''


def presets_from(data: DataConfig, folder: DataFolder | None = None) -> list[Preset]:
  """Open the presets of --eval_datasets; if that is empty, the train and the test dataset.

  Args:
    data: Names them.
    folder: What they are opened from; None for that of the settings.

  Raises:
    InputError: The flag is malformed, or a dataset is missing or incompatible.
  """
  folder = folder or folder_of(data)

  def preset(name: str, spec: DatasetSpec, split: str) -> Preset:
    local = folder.has(spec.name) or not tfds.offers(spec.name)
    used = '' if local else tfds.split_of(spec.name, split)
    return Preset(name, str(spec), folder.open(spec, split), used)

  if data.eval_datasets:
    parsed = specs.parse_eval_datasets(data.eval_datasets)
    return [preset(name, spec, data.test_split) for name, spec in parsed]
  return [
    preset('train', specs.parse_dataset(data.train_dataset), tfds.DEFAULT_SPLIT),
    preset('test', specs.parse_dataset(data.test_dataset), data.test_split),
  ]


def folder_of(data: DataConfig) -> DataFolder:
  """Return the folder that the settings name, from which nothing is read yet."""
  return DataFolder(
    data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder, data.arrays
  )


def channels(presets: Sequence[Preset]) -> int:
  """Return the number of channels of the images, which all presets have in common.

  Raises:
    InputError: The presets differ in it.
  """
  found = {preset.class_set.arrays.image_shape[-1] for preset in presets}
  if len(found) != 1:
    raise InputError(
      f'eval_datasets have {sorted(found)} channels. Use datasets with equal numbers of channels.'
    )
  return found.pop()


def measured_on(settings: Settings, preset: Preset, stream: int) -> dict[str, Any]:
  """Return what an evaluation measures on: the value of `measured` of its results.

  Args:
    settings: The settings of the evaluator.
    preset: The classes.
    stream: The number of the stream of episodes of the preset.
  """
  config, data, episodes = settings.evaluation, settings.data, settings.episodes
  continual, seed = settings.continual, settings.run.seed
  sequence = continual and {
    'scenario': continual.scenario,
    'mixed_queries': continual.mixed_queries,
    'num_tasks': continual.eval_length,
  }
  return {
    'dataset': preset.dataset,
    'split': preset.split,
    'use_labels': None if ':' in preset.dataset else data.use_labels,
    'shuffle_labels_seed': data.shuffle_labels_seed,
    'image_size': data.image_size,
    'augmentation': _augmentation(settings.augmentation_of(preset.name)),
    'ways': episodes.num_labels,
    'support_images': episodes.support_samples,
    'unlabeled_per_class': episodes.unlabeled_per_class,
    'balanced': episodes.balanced,
    'disjoint_query': episodes.disjoint_query,
    'query_images': config.batch_size * (config.num_batches if continual is None else 1),
    'query_batch_size': config.batch_size,
    'query_statistics': config.query_statistics,
    'tasks': config.num_episodes,
    'seed': seed,
    'stream': None if seed is None else stream,
    'sequence': sequence,
  }


def _augmentation(config: AugmentationConfig) -> dict[str, float]:
  """Return the augmentations that are on, by name, without settings that have no effect."""
  found = {name: float(value) for name, value in dataclasses.asdict(config).items() if value}
  if not config.rotation_probability:
    found.pop('angle_range', None)
  if not config.photographic:
    found.pop('photographic_individually', None)
  return {} if set(found) == {'per_label'} else dict(sorted(found.items()))


def nearest_pixels(sampler: EpisodeSampler, num_tasks: int) -> np.ndarray:
  """Measure a baseline that learns nothing: the label of the nearest support image.

  The distance is the Euclidean distance of raw pixels. Query images that are support images
  themselves are ignored, and so are support images without a label.

  Args:
    sampler: Samples the tasks.
    num_tasks: How many tasks are sampled, from the first one on.

  Returns:
    The accuracies in 0..1 of the tasks that have other query images, float [at most num_tasks].
  """
  found = []
  for index in range(num_tasks):
    draw = sampler.draw(index)
    labeled, outside = draw.support_labels < sampler.config.num_labels, ~draw.in_support
    if outside.any():
      support = _pixels(sampler, draw.support_rows[labeled])
      query = _pixels(sampler, draw.query_rows[outside])
      # |query|^2 is the same for all support images.
      nearest = ((support**2).sum(1)[None] - 2.0 * query @ support.T).argmin(1)
      found.append((draw.support_labels[labeled][nearest] == draw.query_positions[outside]).mean())
  return np.array(found)


def _pixels(sampler: EpisodeSampler, rows: np.ndarray) -> np.ndarray:
  """Return the images with these rows in the dataset, as float32 [images, pixels]."""
  return sampler.class_set.arrays.gather(rows).reshape(len(rows), -1).astype(np.float32)
