"""A baseline that learns nothing: the nearest support image in pixels."""

from __future__ import annotations

import numpy as np

from hypertransformer.episodes.sampling import EpisodeSampler


def nearest_neighbour(sampler: EpisodeSampler, num_tasks: int) -> np.ndarray:
  """Accuracy [tasks], 0..1, of giving each query image the label of the nearest support image
  (Euclidean distance of raw pixels), over the query images that are not in the support set.
  Unlabelled support images are not used.
  """
  return np.array([_task(sampler, index) for index in range(num_tasks)])


def _task(sampler: EpisodeSampler, index: int) -> float:
  draw = sampler.draw(index)
  labeled = draw.support_labels < sampler.config.num_labels
  support = _pixels(sampler, draw.support_rows[labeled])
  query = _pixels(sampler, draw.query_rows[~draw.in_support])
  distances = (support**2).sum(1)[None] - 2.0 * query @ support.T  # |query|^2 is the same for all
  nearest = draw.support_labels[labeled][distances.argmin(1)]
  return float((nearest == draw.query_positions[~draw.in_support]).mean())


def _pixels(sampler: EpisodeSampler, rows: np.ndarray) -> np.ndarray:
  return sampler.class_set.arrays.gather(rows).reshape(len(rows), -1).astype(np.float32)
