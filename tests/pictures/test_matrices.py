"""The picture of a matrix of accuracies has the right cells, colours and numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from hypertransformer.pictures import matrices

MATRIX = np.array([[0.9, np.nan, np.nan], [0.5, 0.8, np.nan], [0.1, 0.3, 0.7]])


def drawn(matrix: np.ndarray) -> Image.Image:
  return Image.fromarray(matrices.accuracies(matrix))


def cell(image: Image.Image, row: int, column: int) -> Image.Image:
  left, top = (
    matrices.LEFT + column * matrices.CELL_WIDTH,
    matrices.TOP + row * matrices.CELL_HEIGHT,
  )
  return image.crop((left, top, left + matrices.CELL_WIDTH - 2, top + matrices.CELL_HEIGHT - 2))


@pytest.mark.parametrize(('rows', 'columns'), [(1, 1), (3, 3), (20, 20), (4, 1)])
def test_the_size_is_that_of_all_cells_and_names(rows: int, columns: int) -> None:
  image = drawn(np.full((rows, columns), 0.5))
  assert image.size == (
    matrices.LEFT + columns * matrices.CELL_WIDTH,
    matrices.TOP + rows * matrices.CELL_HEIGHT,
  )


def test_every_accuracy_has_its_colour_and_nan_has_no_cell() -> None:
  image = drawn(MATRIX)
  corners = {
    (row, column): cell(image, row, column).getpixel((0, 0))
    for row in range(3)
    for column in range(3)
  }
  for place, corner in corners.items():
    assert corner == (
      matrices.GROUND if np.isnan(MATRIX[place]) else matrices.colour(float(MATRIX[place]))
    )
  assert len(set(corners.values())) == 7
  assert len(cell(image, 0, 2).getcolors()) == 1


def test_a_title_is_above_the_same_picture() -> None:
  plain, titled = matrices.accuracies(MATRIX), matrices.titled_accuracies(MATRIX, 'val')
  np.testing.assert_array_equal(titled[-len(plain) :, : plain.shape[1]], plain)
  assert titled.shape[0] > len(plain)


def test_colours_darken_with_accuracy() -> None:
  brightness = [sum(matrices.colour(accuracy)) for accuracy in np.linspace(0, 1, 50)]
  assert all(later < earlier for earlier, later in itertools.pairwise(brightness))


def test_numbers_differ_and_stand_out() -> None:
  """The brightest pixel of a cell is far from the darkest; other accuracies look otherwise."""
  image = drawn(np.array([[0.0, 0.31, 0.31, 0.3149, 1.0]]))
  for column in range(5):
    low, high = cell(image, 0, column).convert('L').getextrema()
    assert high - low > 90
  cells = [np.asarray(cell(image, 0, column)) for column in range(5)]
  assert (cells[1] == cells[2]).all()
  assert (cells[3] != cells[1]).any()
