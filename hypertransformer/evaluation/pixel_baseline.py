"""A baseline that learns nothing: the label of the nearest support image, compared by pixels."""

from __future__ import annotations

import numpy as np

from hypertransformer.episodes.sampling import EpisodeSampler


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
