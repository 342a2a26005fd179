"""Draws the accuracies of a sequence of tasks as a picture: a coloured matrix with numbers."""

from __future__ import annotations

import io

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image, ImageDraw, ImageFont

CELL_WIDTH, CELL_HEIGHT = 64, 36  # pixels
LEFT, TOP = 76, 30  # pixels left of the cells and above them, for the names of rows and columns
FONT_SIZE = 16
GROUND, INK = (255, 255, 255), (0, 0, 0)
# The colours of the accuracies 0, 1/3, 2/3 and 1. They go from light to dark, so the picture can be
# read without colours as well.
SCALE = np.array([(255, 247, 214), (120, 198, 160), (34, 118, 158), (38, 28, 92)], np.float64)


def draw(matrix: np.ndarray) -> Image.Image:
  """Draws a picture of accuracies; each cell has the number in percent.

  The same accuracy has the same colour in every picture.

  Args:
    matrix: accuracies in 0..1, [tasks learned, task asked]. Where one is NaN there is no cell.
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
  return image


def summary(matrix: np.ndarray) -> tf.Summary.Image:
  """Draws the same picture as a PNG image for TensorBoard."""
  image = draw(matrix)
  file = io.BytesIO()
  image.save(file, 'PNG')
  return tf.Summary.Image(
    height=image.height, width=image.width, colorspace=3, encoded_image_string=file.getvalue()
  )


def colour(accuracy: float) -> tuple[int, int, int]:
  """The colour of an accuracy in 0..1, as red, green and blue in 0..255."""
  places = np.linspace(0.0, 1.0, len(SCALE))
  red, green, blue = (round(float(np.interp(accuracy, places, channel))) for channel in SCALE.T)
  return red, green, blue


def _cell(pen: ImageDraw.ImageDraw, accuracy: float, left: int, top: int) -> None:
  """Draws the cell of one accuracy; left, top: its corner, in pixels."""
  ground = colour(accuracy)
  pen.rectangle((left, top, left + CELL_WIDTH - 2, top + CELL_HEIGHT - 2), fill=ground)
  dark = np.dot(ground, (0.299, 0.587, 0.114)) < 140  # how bright each colour looks to the eye
  _write(
    pen, f'{100 * accuracy:.1f}', left, top, (CELL_WIDTH, CELL_HEIGHT), GROUND if dark else INK
  )


def _write(
  pen: ImageDraw.ImageDraw,
  text: str,
  left: int,
  top: int,
  size: tuple[int, int],
  ink: tuple[int, int, int],
) -> None:
  """Writes a text in the middle of a box; left, top and size are in pixels."""
  pen.text(
    (left + size[0] / 2, top + size[1] / 2),
    text,
    fill=ink,
    anchor='mm',
    font=ImageFont.load_default(FONT_SIZE),
  )
