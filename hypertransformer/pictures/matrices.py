"""Draws matrices: accuracies of a sequence of tasks, and confusion counts."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.pictures import canvas
from hypertransformer.pictures.canvas import GROUND, INK, Colour

CELL_WIDTH, CELL_HEIGHT = 54, 36  # pixels: five tasks fit into canvas.WIDTH
LEFT, TOP = 76, 30  # pixels left of the cells and above them, for the names of rows and columns
FONT_SIZE = 16


def accuracies(matrix: np.ndarray) -> np.ndarray:
  """Draws a picture of accuracies; each cell has the number in percent.

  The same accuracy has the same colour in every picture.

  Args:
    matrix: accuracies in 0..1, [tasks learned, task asked]. Where one is NaN there is no cell.

  Returns:
    uint8 [height, width, 3].
  """
  rows, columns = matrix.shape
  image = Image.new('RGB', (LEFT + columns * CELL_WIDTH, TOP + rows * CELL_HEIGHT), GROUND)
  pen = ImageDraw.Draw(image)
  for column in range(columns):
    _write(pen, f'task {column + 1}', LEFT + column * CELL_WIDTH, 0, (CELL_WIDTH, TOP), INK)
  for row in range(rows):
    top = TOP + row * CELL_HEIGHT
    _write(pen, f'after {row + 1}', 0, top, (LEFT, CELL_HEIGHT), INK)
    for place in np.flatnonzero(~np.isnan(matrix[row])):
      _cell(pen, float(matrix[row, place]), LEFT + int(place) * CELL_WIDTH, top)
  return np.asarray(image)


def titled_accuracies(matrix: np.ndarray, title: str) -> np.ndarray:
  """Draws the same picture under a title, and says what rows and columns are."""
  note = 'accuracy in %; rows: after so many tasks; columns: on the queries of each task'
  return canvas.below(canvas.heading(title, note), accuracies(matrix))


def colour(accuracy: float) -> Colour:
  """The colour of an accuracy in 0..1, as red, green and blue in 0..255."""
  red, green, blue = canvas.sequential(np.array(accuracy)).tolist()
  return red, green, blue


def _cell(pen: ImageDraw.ImageDraw, accuracy: float, left: int, top: int) -> None:
  """Draws the cell of one accuracy; left, top: its corner, in pixels."""
  ground = colour(accuracy)
  pen.rectangle((left, top, left + CELL_WIDTH - 2, top + CELL_HEIGHT - 2), fill=ground)
  size = (CELL_WIDTH, CELL_HEIGHT)
  _write(pen, f'{100 * accuracy:.1f}', left, top, size, canvas.ink_on(ground))


def _write(
  pen: ImageDraw.ImageDraw, text: str, left: int, top: int, size: tuple[int, int], ink: Colour
) -> None:
  """Writes a text in the middle of a box; left, top and size are in pixels."""
  middle = (left + size[0] / 2, top + size[1] / 2)
  pen.text(middle, text, fill=ink, anchor='mm', font=canvas.font(FONT_SIZE))


SIDE = 300  # pixels: the largest side of the matrix
LARGEST_CELL = 34  # pixels
WITH_NUMBERS = 20  # pixels: cells from this side on have numbers in them
BETWEEN_TICKS = 20  # pixels: the least distance of the names of two classes
NAMES_LEFT, NAMES_TOP = 40, 20  # pixels left of the matrix and above it, for the names of classes


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
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


def confusion(table: np.ndarray, title: str = 'Confusion') -> np.ndarray:
  """Draws a matrix of counts; a colour stands for a share of the true class.

  Args:
    table: int [K, K], as `confusion_counts` returns it.
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
    _confusion_cells(table[:SIDE, :SIDE]),
    canvas.blank(6, 1),
    canvas.colour_bar('0 %', '100 % of the true class', canvas.sequential(np.linspace(0, 1, 120))),
  )


def _confusion_cells(table: np.ndarray) -> np.ndarray:
  """The cells, with the numbers of classes at the left and above."""
  shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
  ways = len(table)
  cell = max(1, min(LARGEST_CELL, SIDE // ways))
  colours = canvas.sequential(shares)
  cells = canvas.enlarged(colours, cell)
  if cell > 3:
    cells[::cell] = cells[:, ::cell] = canvas.GROUND
  image = Image.fromarray(
    np.pad(cells, ((NAMES_TOP, 0), (NAMES_LEFT, 0), (0, 0)), constant_values=255)
  )
  pen = ImageDraw.Draw(image)
  for way in range(0, ways, -(-BETWEEN_TICKS // cell)):
    middle = (way + 0.5) * cell
    pen.text((NAMES_LEFT + middle, NAMES_TOP - 8), str(way), canvas.INK, canvas.font(), anchor='mm')
    pen.text((NAMES_LEFT - 6, NAMES_TOP + middle), str(way), canvas.INK, canvas.font(), anchor='rm')
  if cell >= WITH_NUMBERS:
    for row, column in np.argwhere(table):
      pen.text(
        (NAMES_LEFT + (column + 0.5) * cell, NAMES_TOP + (row + 0.5) * cell),
        str(table[row, column]),
        canvas.ink_on(colours[row, column]),
        canvas.font(canvas.SMALL),
        anchor='mm',
      )
  return np.asarray(image)
