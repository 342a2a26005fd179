"""The baseline of nearest support images, against a plain loop."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.evaluation import pixel_baseline
from hypertransformer.settings.config import EpisodeConfig

TASKS = 6


@pytest.mark.parametrize('unlabeled', [0, 1])
def test_accuracies_are_those_of_a_plain_loop(
  data_folder: pathlib.Path, tiny: np.ndarray, unlabeled: int
) -> None:
  """Support images without a label are left out, and so are queries that are support images."""
  config = EpisodeConfig(
    num_labels=5, support_samples=10, query_samples=20, balanced=True, unlabeled_per_class=unlabeled
  )
  sampler = EpisodeSampler(DataFolder(str(data_folder)).open('tiny:0-29'), config, seed=2, stream=0)
  pixels: np.ndarray = tiny.reshape(-1, 144).astype(int)
  expected = []
  for index in range(TASKS):
    draw = sampler.draw(index)
    neighbours = [
      (row, label)
      for row, label in zip(draw.support_rows, draw.support_labels, strict=True)
      if label < 5
    ]
    right = []
    for row, position in zip(draw.query_rows, draw.query_positions, strict=True):
      if row not in draw.support_rows:
        distances = [((pixels[row] - pixels[other]) ** 2).sum() for other, _ in neighbours]
        right.append(neighbours[int(np.argmin(distances))][1] == position)
    expected.append(np.mean(right))
  found = pixel_baseline.nearest_neighbour(sampler, TASKS)
  np.testing.assert_allclose(found, expected)
  assert found.mean() > 0.2
