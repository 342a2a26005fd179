"""Matrices have the right cells, colours and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas, matrices

MATRIX = np.array([[0.9, np.nan, np.nan], [0.5, 0.8, np.nan], [0.1, 0.3, 0.7]])


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
  (width, height), (left, top) = matrices.CELL, matrices.CORNER
  y, x = top + row * height, left + column * width
  return picture[y : y + height - 1, x : x + width - 1]


@pytest.mark.parametrize(('rows', 'columns'), [(1, 1), (3, 3), (20, 20), (4, 1)])
def test_the_size_is_that_of_all_cells_and_names(rows: int, columns: int) -> None:
  picture = matrices.accuracies(np.full((rows, columns), 0.5))
  (width, height), (left, top) = matrices.CELL, matrices.CORNER
  assert picture.shape == (top + rows * height, left + columns * width, 3)


def test_every_accuracy_has_its_colour_and_nan_has_no_cell() -> None:
  picture = matrices.accuracies(MATRIX)
  for place in np.ndindex(3, 3):
    colour = canvas.GROUND if np.isnan(MATRIX[place]) else canvas.sequential(MATRIX[place])
    assert tuple(cell(picture, *place)[0, 0]) == tuple(colour)
  assert (cell(picture, 0, 2) == 255).all()


def test_a_title_is_above_the_same_picture() -> None:
  plain, titled = matrices.accuracies(MATRIX), matrices.titled_accuracies(MATRIX, 'val')
  np.testing.assert_array_equal(titled[-len(plain) :, : plain.shape[1]], plain)
  assert titled.shape[0] > len(plain)


def test_numbers_differ_and_stand_out() -> None:
  """The brightest pixel of a cell is far from the darkest; other accuracies look otherwise."""
  picture = matrices.accuracies(np.array([[0.0, 0.31, 0.31, 0.3149, 1.0]]))
  cells = [cell(picture, 0, column) for column in range(5)]
  assert all(np.ptp(each.mean(axis=-1)) > 90 for each in cells)
  assert (cells[1] == cells[2]).all()
  assert (cells[3] != cells[1]).any()


def test_confusion_counts_pairs() -> None:
  table = matrices.confusion_counts(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
  assert table.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize('ways', [2, 5, 20, 300, 400])
def test_confusion_of_any_number_of_classes_is_drawn(ways: int) -> None:
  table = matrices.confusion_counts(np.arange(ways), np.arange(ways)[::-1], ways)
  for each in (table, 0 * table):
    picture = matrices.confusion(each)
    assert picture.dtype == np.uint8
    assert picture.shape[1] <= canvas.WIDTH


def test_a_cell_has_the_colour_of_its_fraction_of_the_true_class() -> None:
  picture = matrices.confusion(np.array([[3, 1], [0, 0]]))
  for fraction in (0.75, 0.25):
    count = (picture == canvas.sequential(np.array(fraction))).all(axis=-1).sum()
    assert count > matrices.LARGEST_CELL**2 // 2
