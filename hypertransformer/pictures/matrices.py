"""Draw matrices: accuracies of a sequence of tasks, and confusion counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.pictures import canvas

CELL = 54, 36  # width and height in pixels of an accuracy: five tasks fit into canvas.WIDTH
CORNER = 76, 30  # pixels left of accuracies and above them, for the names of rows and columns
SIDE = 300  # pixels, the largest side of a confusion matrix
LARGEST_CELL = 34  # pixels, of a confusion matrix
SMALLEST_WITH_NUMBER = 20  # pixels: smaller cells have no numbers in them
BETWEEN_NAMES = 20  # pixels, the smallest distance of two names


def accuracies(matrix: np.ndarray, title: str) -> np.ndarray:
  """Draw accuracies as coloured cells with the accuracy in percent.

  The same accuracy has the same colour in every picture.

  Args:
    matrix: accuracies in 0..1, [tasks learned, task asked]. Where one is NaN there is no cell.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  rows, columns = ([f'{word} {n + 1}' for n in range(size)] for word, size in
                   zip(('after', 'task'), matrix.shape, strict=True))  # fmt: skip
  texts = [['' if np.isnan(x) else f'{100 * x:.1f}' for x in row] for row in matrix]
  note = 'accuracy in %; rows: after this many tasks; columns: on the queries of each task'
  cells = _cells(matrix, texts, rows, columns, CELL, CORNER, 16)
  return canvas.below(canvas.heading(title, note), cells)


def confusion(
  labels: np.ndarray, predicted: np.ndarray, num_classes: int, title: str = 'Confusion'
) -> np.ndarray:
  """Draw how many images of each class are classified as each class.

  A colour stands for a fraction of the true class.

  Args:
    labels: int [n], from 0 to num_classes - 1.
    predicted: int [n], the same.
    num_classes: K.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  table = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
  table = table.reshape(num_classes, num_classes)
  right, total = int(np.trace(table)), int(table.sum())
  fractions = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
  side = max(1, min(LARGEST_CELL, SIDE // len(table)))
  shown = slice(SIDE)
  texts = [[str(n or '') for n in row] for row in table[shown, shown].tolist()]
  names = [str(number) for number in range(len(table))][shown]
  return canvas.below(
    canvas.heading(
      f'{title}: {right} of {total} right ({100 * right / max(total, 1):.0f} %)',
      'rows: true class; columns: predicted class; diagonal: right',
    ),
    _cells(fractions[shown, shown], texts, names, names, (side, side), (40, 20), canvas.SMALL),
    canvas.blank(6, 1),
    canvas.colour_bar('0 %', '100 % of the true class'),
  )


def _cells(
  values: np.ndarray,
  texts: Sequence[Sequence[str]],
  rows: Sequence[str],
  columns: Sequence[str],
  cell: tuple[int, int],
  corner: tuple[int, int],
  font_size: int,
) -> np.ndarray:
  """Draw a matrix of coloured cells with texts, and names at the left and above.

  Args:
    values: [rows, columns] in 0..1, which the colours stand for; NaN for no cell.
    texts: the text in each cell.
    rows: the names of the rows.
    columns: the names of the columns.
    cell: width and height of a cell in pixels.
    corner: width and height in pixels of the space for names.
    font_size: of the texts, in pixels.
  """
  (width, height), (left, top) = cell, corner
  colours = canvas.sequential(np.nan_to_num(values))
  colours[np.isnan(values)] = canvas.GROUND
  drawn = colours.repeat(height, axis=0).repeat(width, axis=1)
  if height > 3:
    drawn[height - 1 :: height] = drawn[:, width - 1 :: width] = canvas.GROUND
  image = Image.fromarray(np.pad(drawn, ((top, 0), (left, 0), (0, 0)), constant_values=255))
  pen, names = ImageDraw.Draw(image), canvas.font(max(font_size, canvas.FONT_SIZE))
  across, down = (
    [start + (n + 0.5) * step for n in range(size)]
    for start, step, size in ((left, width, len(columns)), (top, height, len(rows)))
  )
  every = -(-BETWEEN_NAMES // height)
  for x, name in list(zip(across, columns, strict=True))[::every]:
    pen.text((x, top / 2), name, canvas.INK, names, anchor='mm')
  for y, name in list(zip(down, rows, strict=True))[::every]:
    pen.text((left - 6, y), name, canvas.INK, names, anchor='rm')
  if height >= SMALLEST_WITH_NUMBER:
    for y, line, ground in zip(down, texts, colours, strict=True):
      for x, text, colour in zip(across, line, ground, strict=True):
        pen.text((x, y), text, canvas.ink_on(colour), canvas.font(font_size), anchor='mm')
  return np.asarray(image)
