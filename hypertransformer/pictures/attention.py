"""Draw the attention of the generator of a CNN layer: weight tokens to support samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypertransformer.pictures import canvas

GAP = 8  # pixels between panels
MOST_TOKENS, MOST_SAMPLES = 32, 100


def draw(
  attention: Sequence[np.ndarray], labels: np.ndarray, title: str = 'Attention'
) -> np.ndarray:
  """Draw a panel for each block of the transformer and each of its heads.

  In a panel, rows are weight tokens and columns are support samples, sorted by their class. Light
  is no attention; the colours of all panels have the same scale.

  Args:
    attention: for each block of the transformer, float [heads, B, Ns], from 0 to 1.
    labels: int [Ns], the classes of the support samples.
    title: what the picture shows.

  Returns:
    uint8 [height, width, 3].
  """
  order = np.argsort(labels, kind='stable')[:MOST_SAMPLES]
  labels = labels[order]
  shown = [block[:, :MOST_TOKENS, order] for block in attention]
  largest = max(float(block.max()) for block in shown) or 1.0
  heads, tokens = attention[0].shape[:2]
  in_a_row = min(heads, 4, canvas.WIDTH // (len(order) + GAP))  # a pixel a sample at least
  width = canvas.WIDTH // in_a_row - GAP
  rows = []
  for number, block in enumerate(shown, start=1):
    panels = [
      _panel(f'block {number}, head {head}', values / largest, labels, width)
      for head, values in enumerate(block, start=1)
    ]
    for row in canvas.in_rows(panels, in_a_row):
      rows += [row, canvas.blank(4, 1)]
  notes = (
    f'rows: {min(tokens, MOST_TOKENS)} weight tokens; '
    f'columns: {len(order)} support samples, by class',
    'dark: the token attends to this sample',
  )
  bar = canvas.colour_bar('0', f'{largest:.2g}')
  return canvas.below(canvas.heading(title, *notes), *rows, bar)


def _panel(name: str, values: np.ndarray, labels: np.ndarray, width: int) -> np.ndarray:
  """Draw one head: values [B, Ns] in 0..1; ticks below it are the limits of classes."""
  tokens, samples = values.shape
  across = min(24, width // samples) or 1
  down = max(2, min(10, 72 // tokens))
  picture = canvas.sequential(values).repeat(down, axis=0).repeat(across, axis=1)
  picture = canvas.framed(picture, canvas.GREY, 1)
  return canvas.below(
    canvas.box(name, 14, width + GAP, 'lm', size=canvas.SMALL),
    picture,
    _classes(labels, across, width + GAP),
  )


def _classes(labels: np.ndarray, across: int, width: int) -> np.ndarray:
  """Draw the numbers of classes below their samples, as far as there is room for them."""
  picture = canvas.blank(13, width)
  free = 0  # the first pixel that no number covers yet
  for label in np.unique(labels):
    places = np.flatnonzero(labels == label)
    left, right = int(places[0]) * across, (int(places[-1]) + 1) * across
    picture[:3, left] = canvas.GREY
    text = str(label)
    needed = canvas.text_width(text, canvas.SMALL) + 2
    start = max(0, (left + right - needed) // 2)
    if start >= free and start + needed <= width:
      picture[3:, start : start + needed] = canvas.box(text, 10, needed, size=canvas.SMALL)
      free = start + needed
  return picture
