"""Confusion counts and draws pairs of classes."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas, matrices


def is_picture(picture: np.ndarray) -> bool:
  """Whether it is a picture as all are: of bytes, three channels, and not too wide."""
  return picture.dtype == np.uint8 and picture.shape[-1] == 3 and picture.shape[1] <= canvas.WIDTH


def test_confusion_counts_pairs() -> None:
  table = matrices.confusion_counts(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
  assert table.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize('ways', [2, 5, 20, 300])
def test_confusion_of_any_number_of_classes_is_drawn(ways: int) -> None:
  table = matrices.confusion_counts(np.arange(ways), np.arange(ways)[::-1], ways)
  assert is_picture(matrices.confusion(table))
  matrices.confusion(0 * table)


def test_a_cell_has_the_colour_of_its_share_of_the_true_class() -> None:
  picture = matrices._confusion_cells(np.array([[3, 1], [0, 0]]))
  cell = matrices.LARGEST_CELL
  corner = picture[matrices.NAMES_TOP + 2, matrices.NAMES_LEFT + 2 :: cell]
  np.testing.assert_array_equal(corner[:2], canvas.sequential(np.array([0.75, 0.25])))
