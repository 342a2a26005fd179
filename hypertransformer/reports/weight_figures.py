"""The paper's figures of generated weights: kernels, their change, and the two allocations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hypertransformer.evaluation.metrics import Estimate
from hypertransformer.reports import drawing
from hypertransformer.reports.generated import Generated, Kernels

_GAP = 1  # pixels between kernels
_SHOWN = 16  # input and output channels of a layer that are shown at most
_WIDTH = 9.0  # inches
_PANELS = 7.5  # inches of it that all panels have together
_LABEL = 1.0  # inches, the width of the label of a layer
PAPER = (10, 15)  # %, how much kernels change by arXiv 2201.04182


def mosaic(kernel: np.ndarray) -> np.ndarray:
  """Puts the k x k kernels of a layer side by side, with NaN between them.

  Args:
    kernel: [k, k, Cin, Cout], or [inputs, outputs] of a logits layer.

  Returns:
    float64 [rows, columns]: below each other the input channels, side by side the output channels.
  """
  if kernel.ndim == 2:
    return np.asarray(kernel, np.float64)
  height, width = kernel.shape[:2]
  shown = kernel[:, :, :_SHOWN, :_SHOWN]
  padded = np.pad(
    np.asarray(shown, np.float64), ((0, _GAP), (0, _GAP), (0, 0), (0, 0)), constant_values=np.nan
  )
  inputs, outputs = shown.shape[2:]
  tiles = padded.transpose(2, 0, 3, 1)
  return tiles.reshape(inputs * (height + _GAP), outputs * (width + _GAP))[:-_GAP, :-_GAP]


def kernels(rows: Mapping[str, Kernels], title: str) -> Any:
  """Draws the kernels of all layers: side by side the layers, below each other several CNNs.

  The colours of a layer have one scale, so that the CNNs can be compared.

  Args:
    rows: the kernels of one or several CNNs with the same layers, by the names of the rows.
    title: what the figure shows.
  """
  layers = list(next(iter(rows.values())))
  mosaics = {layer: [mosaic(each[layer]) for each in rows.values()] for layer in layers}
  widths, inch = _panel_widths([found[0].shape[1] for found in mosaics.values()])
  height = inch * max(found[0].shape[0] for found in mosaics.values())
  with drawing.style():
    drawn = drawing.figure(_WIDTH, 2.1 + (height + 0.25) * len(rows))
    panels = drawing.panels(drawn, len(rows), len(layers), width_ratios=widths)
    for column, layer in enumerate(layers):
      largest = max(float(np.nanmax(np.abs(each))) for each in mosaics[layer]) or 1.0
      for row, name in enumerate(rows):
        axes = panels[row * len(layers) + column]
        _show(axes, mosaics[layer][row] / largest)
        if row == 0:
          axes.set_title(_layer_label(layer, rows[name][layer]), fontsize=drawing.SMALL)
        if column == 0:
          axes.set_ylabel(name, rotation=0, ha='right', va='center', y=0.5)
    drawn.suptitle(title)
    bar = drawn.colorbar(
      panels[-1].images[0],
      ax=panels,
      orientation='horizontal',
      shrink=0.4,
      aspect=40,
      pad=0.04,  # panchor=False leaves the panels where they are
      panchor=False,
    )
    bar.set_label('weight, divided by the largest of its layer', fontsize=drawing.SMALL)
    bar.set_ticks([-1, 0, 1])
    return drawn


def _panel_widths(weights: Sequence[int]) -> tuple[list[float], float]:
  """Shares the width of the figure among the panels of the layers, each wide enough for its label.

  Args:
    weights: how many weights each panel shows side by side.

  Returns:
    The width of each panel in weights, and the side of a weight in inches.
  """
  narrow: set[int] = set()  # the panels that are as wide as their labels
  while True:
    wide = [count for number, count in enumerate(weights) if number not in narrow]
    inch = (_PANELS - _LABEL * len(narrow)) / (sum(wide) + 2 * len(weights))
    more = {number for number, count in enumerate(weights) if count * inch < _LABEL} - narrow
    if not more or len(narrow | more) == len(weights):
      return [max(count, _LABEL / inch) for count in weights], inch
    narrow |= more


def _layer_label(layer: str, kernel: np.ndarray) -> str:
  """The name of a layer and its size; of many channels only the first ones are shown."""
  inputs, outputs = kernel.shape[-2:]
  many = kernel.ndim == 4 and max(inputs, outputs) > _SHOWN
  lines = [
    layer.replace('_', ' '),
    f'{kernel.shape[0]} x {kernel.shape[1]} kernels' if kernel.ndim == 4 else 'logits',
    f'{inputs} in, {outputs} out',
    *([f'(first {_SHOWN} shown)'] if many else []),
  ]
  return '\n'.join(lines)


def _show(axes: Any, values: np.ndarray) -> None:
  axes.imshow(values, cmap=drawing.blue_white_orange(), vmin=-1, vmax=1, interpolation='nearest')
  axes.set(xticks=[], yticks=[], anchor='N')
  for spine in axes.spines.values():
    spine.set_visible(False)


def change(found: Mapping[str, Estimate], pairs: int) -> Any:
  """Draws how much the kernels of each layer change from one episode to another.

  Args:
    found: the change of each layer as a fraction, with the half-width of its 95 % interval.
    pairs: how many pairs of episodes it was measured on.
  """
  with drawing.style():
    drawn = drawing.figure(drawing.WIDTH, 3.4)
    (axes,) = drawing.panels(drawn, 1, 1)
    means = [100 * mean for mean, _ in found.values()]
    halves = [0.0 if half != half else 100 * half for _, half in found.values()]
    places = np.arange(len(found))
    axes.bar(places, means, yerr=halves, width=0.6, color=drawing.COLOURS[0], capsize=4,
             error_kw={'ecolor': drawing.INK})  # fmt: skip
    for place, mean, half in zip(places, means, halves, strict=True):
      axes.text(place, mean + half, f'{mean:.1f} %', ha='center', va='bottom')
    low, high = PAPER
    axes.axhspan(low, high, color=drawing.COLOURS[1], alpha=0.35, linewidth=0, zorder=0)
    axes.text(-0.4, high, f'the paper: {low} to {high} %', color=drawing.INK, va='bottom')
    axes.set_xticks(places, [name.replace('_', ' ') for name in found])
    tops = [mean + half for mean, half in zip(means, halves, strict=True)]
    axes.set(ylabel='mean change / mean size, %', ylim=(0, 1.2 * max(*tops, high)))
    axes.set_title(f'Change of kernels from one episode\nto another ({pairs} pairs)')
    return drawn


def allocations(both: Sequence[Generated]) -> Any:
  """Draws the kernels of two models for the same episode, which differ in their allocation."""
  names = {
    'output': 'output:\none token,\none channel',
    'spatial': 'spatial:\none token,\none position',
  }
  columns = {names[each.allocation]: each.episodes[0] for each in both}
  return kernels(columns, 'Kernels for the same support set, by what a weight token writes')
