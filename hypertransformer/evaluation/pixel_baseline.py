"""A baseline that learns nothing: the label of the nearest support image, compared by pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypertransformer.data import tfds
from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.evaluation.measured import Measured, use_labels
from hypertransformer.evaluation.presets import Preset
from hypertransformer.settings.config import DataConfig


def nearest_neighbour(sampler: EpisodeSampler, num_tasks: int) -> np.ndarray:
  """Measures how often the nearest support image has the label of a query image.

  The distance is the Euclidean distance of raw pixels. Query images that are support images
  themselves do not count, and support images without a label are not used.

  Args:
    sampler: draws the tasks.
    num_tasks: how many tasks are drawn, from the first one on.

  Returns:
    The accuracy of each task, in 0..1, float [num_tasks].
  """
  return np.array([_accuracy(sampler, index) for index in range(num_tasks)])


def _accuracy(sampler: EpisodeSampler, index: int) -> float:
  """The accuracy on the task with this number in the sampler's stream."""
  draw = sampler.draw(index)
  labeled = draw.support_labels < sampler.config.num_labels
  support = _pixels(sampler, draw.support_rows[labeled])
  query = _pixels(sampler, draw.query_rows[~draw.in_support])
  distances = (support**2).sum(1)[None] - 2.0 * query @ support.T  # |query|^2 is the same for all
  nearest = draw.support_labels[labeled][distances.argmin(1)]
  return float((nearest == draw.query_positions[~draw.in_support]).mean())


def _pixels(sampler: EpisodeSampler, rows: np.ndarray) -> np.ndarray:
  """The images with these rows in the dataset, as float32 [images, pixels]."""
  return sampler.class_set.arrays.gather(rows).reshape(len(rows), -1).astype(np.float32)


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
