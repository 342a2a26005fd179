"""Draws a contact sheet: samples of some classes, one row for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypertransformer.pictures import canvas

# All lengths are in pixels of the sheet.
_SMALLEST_CELL, _LARGEST_CELL = 56, 128  # the longer side of an image
_GAP = 2  # around images
_LETTER_WIDTH, _LABEL_LETTERS = 7, 24


def draw(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
  """Draws a contact sheet.

  Args:
    rows: for each class its label and its images, uint8 [n, H, W, C].

  Returns:
    The sheet, uint8 [height, width, 3].
  """
  letters = max(len(label) for label, _ in rows)
  width = 8 + _LETTER_WIDTH * min(letters, _LABEL_LETTERS)
  return canvas.below(*(_row(label, images, width) for label, images in rows))


def _row(label: str, images: np.ndarray, label_width: int) -> np.ndarray:
  """Draws the label and the images of one class; only the end of a long label is shown."""
  longest = max(images.shape[1:3])
  cells = [canvas.pixels(image) for image in images]
  if longest < _SMALLEST_CELL:  # whole factors show exactly the pixels that the model gets
    cells = [canvas.enlarged(cell, -(-_SMALLEST_CELL // longest)) for cell in cells]
  elif longest > _LARGEST_CELL:
    cells = [canvas.fitted(cell, _LARGEST_CELL) for cell in cells]
  cells = [canvas.with_margin(cell, _GAP) for cell in cells]
  text = label if len(label) <= _LABEL_LETTERS else '..' + label[2 - _LABEL_LETTERS :]
  return canvas.beside(canvas.box(text, cells[0].shape[0], label_width, 'lm'), *cells)
