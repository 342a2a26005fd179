"""Draws the generated kernels of a CNN layer, and their difference to those of another task."""

from __future__ import annotations

import numpy as np

from hypertransformer.pictures import canvas

MOST_TILES = 16  # channels drawn to either side
MOST_ROWS, MOST_COLUMNS = 48, 32  # of the kernel of a logits layer
PANEL = 165  # pixels: the largest width of a panel
GAP = 20  # pixels between the two panels
LINE = 170  # level of grey of the lines between tiles


def relative_change(kernel: np.ndarray, before: np.ndarray) -> float:
  """How much a tensor has changed: |kernel - before| / |before|, with Euclidean lengths.

  It is 0 for equal tensors, and infinite if all numbers were 0 before.
  """
  length = float(np.linalg.norm(before))
  change = float(np.linalg.norm(kernel - before))
  if length == 0.0:
    return 0.0 if change == 0.0 else float('inf')
  return change / length


def draw(
  kernel: np.ndarray, before: np.ndarray | None = None, title: str = 'Kernels'
) -> np.ndarray:
  """Draws the kernels of a layer and, beside them, their difference to those before.

  Each of the two has a scale of colours of its own.

  Args:
    kernel: float [k, k, Cin, Cout] of a convolution, or [inputs, outputs] of a logits layer.
    before: of the same shape, the kernels of the episode before; None if there are none.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  panels = [_panel('kernels', kernel)]
  if before is not None:
    title = f'{title}, {100 * relative_change(kernel, before):.1f} % changed'
    name = 'change since the episode before'
    panels += [canvas.blank(1, GAP), _panel(name, kernel - before)]
  return canvas.below(canvas.heading(title, _axes(kernel.shape)), canvas.beside(*panels))


def _axes(shape: tuple[int, ...]) -> str:
  """What rows and columns are, and how many of them are drawn."""
  inputs, outputs = shape[-2:]
  if len(shape) == 2:
    rows, columns = _some(inputs, MOST_ROWS), _some(outputs, MOST_COLUMNS)
    return f'rows: {rows} inputs; columns: {columns} outputs'
  rows, columns = _some(inputs, MOST_TILES), _some(outputs, MOST_TILES)
  size = f'{shape[0]} x {shape[1]}'
  return f'tiles of {size} pixels; rows: {rows} input channels; columns: {columns} outputs'


def _some(count: int, most: int) -> str:
  return str(count) if count <= most else f'{most} of {count}'


def _panel(name: str, values: np.ndarray) -> np.ndarray:
  """Draws values under a name and above their scale of colours."""
  largest = max(float(np.abs(values).max()), 1e-12)
  picture = (_tiles if values.ndim == 4 else _cells)(values / largest)
  bar = canvas.colour_bar(
    f'{-largest:.2g}', f'{largest:.2g}', canvas.diverging(np.linspace(-1, 1, 120)), PANEL
  )
  return canvas.below(
    canvas.box(name, 16, PANEL, 'lm', size=canvas.SMALL), picture, canvas.blank(5, PANEL), bar
  )


def _tiles(values: np.ndarray) -> np.ndarray:
  """A tile for each pair of channels, values [k, k, Cin, Cout] in -1..1."""
  values = values[:, :, :MOST_TILES, :MOST_TILES]
  height, width, inputs, outputs = values.shape
  # There is a line of grey pixels around each tile.
  scale = max(1, min(12, ((PANEL - 1) // max(inputs, outputs) - 1) // max(height, width)))
  tiles = canvas.diverging(values.repeat(scale, 0).repeat(scale, 1))
  tiles = np.pad(tiles, ((1, 0), (1, 0), (0, 0), (0, 0), (0, 0)), constant_values=LINE)
  down, across = (height * scale + 1) * inputs, (width * scale + 1) * outputs
  picture = tiles.transpose(2, 0, 3, 1, 4).reshape(down, across, 3)
  return np.pad(picture, ((0, 1), (0, 1), (0, 0)), constant_values=LINE)


def _cells(values: np.ndarray) -> np.ndarray:
  """A cell for each number, values [inputs, outputs] in -1..1."""
  values = values[:MOST_ROWS, :MOST_COLUMNS]
  scale = max(1, min(12, PANEL // max(values.shape)))
  return canvas.framed(canvas.enlarged(canvas.diverging(values), scale), (LINE,) * 3, 1)
