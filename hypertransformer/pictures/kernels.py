"""Draw the generated kernels of CNN layers, and their change from one episode to another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hypertransformer.pictures import canvas

MOST_TILES = 16  # channels drawn along either side
MOST_ROWS, MOST_COLUMNS = 48, 32  # of the kernel of a logits layer
PANEL = 165  # pixels, the largest width of a panel
GAP = 20  # pixels between panels
LINE = 170  # grey level of the lines between tiles
PAPER = 0.10, 0.15  # the change of convolutions in arXiv 2201.04182, which does not define it
BAR = 400  # pixels, the width of the longest bar of a change


def relative_change(kernel: np.ndarray, before: np.ndarray) -> float:
  """Return the change of a kernel: ||kernel - before|| / ||before||, with Euclidean norms.

  Everything that speaks of the change of kernels means this: TensorBoard, `plot weights` and
  experiments/task_dependence.py. The paper reports changes of 10 to 15 % without a formula; the
  relative norm is the usual one, does not depend on the scale of a layer, and weighs large weights
  more. It is 0 for equal kernels, and infinite if `before` is 0.
  """
  norm = float(np.linalg.norm(before))
  change = float(np.linalg.norm(kernel - before))
  if norm == 0.0:
    return 0.0 if change == 0.0 else float('inf')
  return change / norm


def draw(
  kernel: np.ndarray, before: np.ndarray | None = None, title: str = 'Kernels'
) -> np.ndarray:
  """Draw the kernels of a layer and, beside them, their difference from those before.

  Each of the two has a colour scale of its own.

  Args:
    kernel: float [k, k, Cin, Cout] of a convolution, or [inputs, outputs] of a logits layer.
    before: of the same shape, the kernels of the previous episode; None if there are none.
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


def layers(rows: Mapping[str, Mapping[str, np.ndarray]], title: str) -> np.ndarray:
  """Draw the kernels of all layers side by side, and those of several CNNs below each other.

  A layer has one colour scale, so that the CNNs can be compared.

  Args:
    rows: by the name of the row, the kernels of a CNN by the name of the layer: see `draw`. All
      CNNs have the same layers.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  shapes = {layer: kernel.shape for layer, kernel in next(iter(rows.values())).items()}
  largest = {
    layer: max(float(np.abs(row[layer]).max()) for row in rows.values()) for layer in shapes
  }
  left = max(canvas.text_width(name) for name in rows) + GAP if any(rows) else 0
  width = PANEL + GAP
  heads = [
    canvas.heading(layer.replace('_', ' '), *_axes(shape).split('; '), width=width, size=14)
    for layer, shape in shapes.items()
  ]
  lines = [canvas.beside(canvas.blank(1, left), *heads)]
  for name, row in rows.items():
    pictures = [mosaic(kernel / (largest[layer] or 1.0)) for layer, kernel in row.items()]
    padded = [canvas.below(canvas.blank(0, width), picture) for picture in pictures]
    label = [canvas.box(name, max(map(len, padded)), left, 'lm')] if left else []
    lines += [canvas.beside(*label, *padded), canvas.blank(12, 1)]
  bar = canvas.colour_bar('-1', '1 x the largest weight of the layer', signed=True)
  wide = max(left + width * len(shapes), canvas.WIDTH)
  return canvas.with_margin(
    canvas.below(canvas.heading(title, width=wide, size=14), *lines, bar), 10
  )


def changes(found: Mapping[str, tuple[float, float]], pairs: int) -> np.ndarray:
  """Draw how much the kernels of each layer change from one episode to another, as bars.

  Args:
    found: for each layer the mean of `relative_change` with half the width of its 95 % confidence
      interval, NaN if there is none.
    pairs: how many pairs of episodes it was measured on.

  Returns:
    uint8 [height, width, 3].
  """
  longest = max(PAPER[1], *(mean for mean, _ in found.values()))
  names = max(canvas.text_width(name) for name in found) + GAP
  low, high = (round(BAR * value / longest) for value in PAPER)
  lines = []
  for name, (mean, half) in found.items():
    bar = canvas.blank(26, BAR)
    bar[:, low:high] = canvas.PALE
    bar[4:22, : round(BAR * mean / longest)] = canvas.BLUE
    interval = '' if np.isnan(half) else f' ± {100 * half:.1f}'
    text = canvas.box(f' {100 * mean:.1f}{interval} %', 26, 110, 'lm')
    lines.append(canvas.beside(canvas.box(name.replace('_', ' '), 26, names, 'lm'), bar, text))
  head = canvas.heading(
    'Change of the generated kernels from one episode to another',
    f'norm of the difference / norm of the kernels, mean over {pairs} pairs of episodes with its '
    f'95 % confidence interval; orange: {100 * PAPER[0]:.0f} to {100 * PAPER[1]:.0f} %, as in the '
    'paper',
    width=names + BAR + 110,
    size=14,
  )
  return canvas.with_margin(canvas.below(head, *lines), 10)


def _axes(shape: tuple[int, ...]) -> str:
  """Return what rows and columns are, and how many of them are drawn."""
  inputs, outputs = shape[-2:]
  if len(shape) == 2:
    return (
      f'rows: {_some(inputs, MOST_ROWS)} inputs; columns: {_some(outputs, MOST_COLUMNS)} outputs'
    )
  rows, columns = _some(inputs, MOST_TILES), _some(outputs, MOST_TILES)
  size = f'{shape[0]} x {shape[1]}'
  return f'tiles of {size} pixels; rows: {rows} input channels; columns: {columns} outputs'


def _some(count: int, most: int) -> str:
  return str(count) if count <= most else f'{most} of {count}'


def _panel(name: str, values: np.ndarray) -> np.ndarray:
  """Draw values under a name and above their colour scale."""
  largest = max(float(np.abs(values).max()), 1e-12)
  bar = canvas.colour_bar(f'{-largest:.2g}', f'{largest:.2g}', True, PANEL)
  return canvas.below(
    canvas.box(name, 16, PANEL, 'lm', size=canvas.SMALL),
    mosaic(values / largest),
    canvas.blank(5, PANEL),
    bar,
  )


def mosaic(values: np.ndarray, width: int = PANEL) -> np.ndarray:
  """Draw kernels as tiles, or the kernel of a logits layer as cells.

  Args:
    values: [k, k, Cin, Cout] or [inputs, outputs], in -1..1.
    width: the largest width and height, in pixels.
  """
  if values.ndim == 2:
    values = values[:MOST_ROWS, :MOST_COLUMNS]
    side = max(1, min(12, width // max(values.shape)))
    return canvas.framed(canvas.enlarged(canvas.diverging(values), side), (LINE,) * 3, 1)
  values = values[:, :, :MOST_TILES, :MOST_TILES]
  height, breadth, inputs, outputs = values.shape
  # There is a line of grey pixels around each tile.
  side = max(1, min(12, ((width - 1) // max(inputs, outputs) - 1) // max(height, breadth)))
  tiles = canvas.diverging(values.repeat(side, 0).repeat(side, 1))
  tiles = np.pad(tiles, ((1, 0), (1, 0), (0, 0), (0, 0), (0, 0)), constant_values=LINE)
  down, across = (height * side + 1) * inputs, (breadth * side + 1) * outputs
  picture = tiles.transpose(2, 0, 3, 1, 4).reshape(down, across, 3)
  return np.pad(picture, ((0, 1), (0, 1), (0, 0)), constant_values=LINE)
