"""Matrices have the right cells, colours and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas, matrices

MATRIX = np.array([[0.9, np.nan, np.nan], [0.5, 0.8, np.nan], [0.1, 0.3, 0.7]])


def cells(matrix: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
  """Return the drawn cell of each accuracy; they are at the bottom of the picture."""
  width, height = matrices.CELL
  below = matrices.accuracies(matrix, 'val')[-height * len(matrix) :, matrices.CORNER[0] :]
  return {
    (y, x): below[height * y :, width * x :][: height - 1, : width - 1]
    for y, x in np.ndindex(matrix.shape)
  }


def test_every_accuracy_has_its_colour_and_nan_has_no_cell() -> None:
  for place, cell in cells(MATRIX).items():
    colour = canvas.GROUND if np.isnan(MATRIX[place]) else canvas.sequential(MATRIX[place])
    assert tuple(cell[0, 0]) == tuple(colour)
    assert (cell == 255).all() == np.isnan(MATRIX[place])


def test_numbers_differ_and_stand_out() -> None:
  """The brightest pixel of a cell is far from the darkest; other accuracies look otherwise."""
  found = list(cells(np.array([[0.0, 0.31, 0.31, 0.3149, 1.0]])).values())
  assert all(np.ptp(each.mean(axis=-1)) > 90 for each in found)
  assert (found[1] == found[2]).all()
  assert (found[3] != found[1]).any()


@pytest.mark.parametrize('ways', [2, 20, 400])
def test_confusion_of_any_number_of_classes_is_drawn(ways: int) -> None:
  picture = matrices.confusion(np.arange(ways), np.arange(ways)[::-1], ways)
  assert (picture.dtype, picture.shape[1] <= canvas.WIDTH) == (np.uint8, True)


def test_a_cell_has_the_colour_of_its_fraction_of_the_true_class() -> None:
  picture = matrices.confusion(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 0]), 2)
  for fraction in (0.75, 0.25):
    count = (picture == canvas.sequential(np.array(fraction))).all(axis=-1).sum()
    assert count > matrices.LARGEST_CELL**2 // 2
