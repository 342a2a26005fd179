"""Draws which classes are taken for which others."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.pictures import canvas

SIDE = 300  # pixels: the largest side of the matrix
LARGEST_CELL = 34  # pixels
WITH_NUMBERS = 20  # pixels: cells from this side on have numbers in them
BETWEEN_TICKS = 20  # pixels: the least distance of the names of two classes
LEFT, TOP = 40, 20  # pixels left of the matrix and above it, for the names of classes


def counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
  """Counts query images by their class and the predicted one.

  Args:
    labels: int [n], from 0 to num_classes - 1.
    predicted: int [n], the same.
    num_classes: K.

  Returns:
    int [K, K]: row i, column j counts the images of class i that are taken for class j.
  """
  flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
  return flat.reshape(num_classes, num_classes)


def draw(table: np.ndarray, title: str = 'Confusion') -> np.ndarray:
  """Draws a matrix of counts; a colour stands for a share of the true class.

  Args:
    table: int [K, K], as `counts` gives it.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  right, total = int(np.trace(table)), int(table.sum())
  return canvas.below(
    canvas.heading(
      f'{title}: {right} of {total} right ({100 * right / max(total, 1):.0f} %)',
      'rows: true class; columns: predicted class; diagonal: right',
    ),
    _matrix(table[:SIDE, :SIDE]),
    canvas.blank(6, 1),
    canvas.colour_bar('0 %', '100 % of the true class', canvas.sequential(np.linspace(0, 1, 120))),
  )


def _matrix(table: np.ndarray) -> np.ndarray:
  """The cells, with the numbers of classes at the left and above."""
  shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
  ways = len(table)
  cell = max(1, min(LARGEST_CELL, SIDE // ways))
  colours = canvas.sequential(shares)
  cells = canvas.enlarged(colours, cell)
  if cell > 3:
    cells[::cell] = cells[:, ::cell] = canvas.GROUND
  image = Image.fromarray(np.pad(cells, ((TOP, 0), (LEFT, 0), (0, 0)), constant_values=255))
  pen = ImageDraw.Draw(image)
  for way in range(0, ways, -(-BETWEEN_TICKS // cell)):
    middle = (way + 0.5) * cell
    pen.text((LEFT + middle, TOP - 8), str(way), canvas.INK, canvas.font(), anchor='mm')
    pen.text((LEFT - 6, TOP + middle), str(way), canvas.INK, canvas.font(), anchor='rm')
  if cell >= WITH_NUMBERS:
    for row, column in np.argwhere(table):
      pen.text(
        (LEFT + (column + 0.5) * cell, TOP + (row + 0.5) * cell),
        str(table[row, column]),
        canvas.ink_on(colours[row, column]),
        canvas.font(canvas.SMALL),
        anchor='mm',
      )
  return np.asarray(image)
