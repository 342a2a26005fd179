"""Draws the accuracies of a sequence of tasks as a picture: a coloured matrix with numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.pictures import canvas
from hypertransformer.pictures.canvas import GROUND, INK, Colour

CELL_WIDTH, CELL_HEIGHT = 54, 36  # pixels: five tasks fit into canvas.WIDTH
LEFT, TOP = 76, 30  # pixels left of the cells and above them, for the names of rows and columns
FONT_SIZE = 16


def draw(matrix: np.ndarray) -> np.ndarray:
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


def titled(matrix: np.ndarray, title: str) -> np.ndarray:
  """Draws the same picture under a title, and says what rows and columns are."""
  note = 'accuracy in %; rows: after so many tasks; columns: on the queries of each task'
  return canvas.below(canvas.heading(title, note), draw(matrix))


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
