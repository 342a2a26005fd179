"""The paper's figures of generated weights: kernels, their change, and the two allocations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hypertransformer.evaluation.estimates import Estimate
from hypertransformer.reports import drawing
from hypertransformer.reports.generated import Generated, Kernels

_GAP = 1  # pixels between kernels
_SHOWN = 32  # input and output channels of a layer that are shown at most
# From negative to positive: blue, white, orange. Colour-blind people can tell them apart.
_NEGATIVE, _ZERO, _POSITIVE = '#2166AC', '#F7F7F7', '#B35806'


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


def kernels(columns: Mapping[str, Kernels], title: str) -> Any:
  """Draws the kernels of all layers, a row for each layer, and a column for each CNN.

  The colours of a row have one scale, so that its columns can be compared.

  Args:
    columns: the kernels of one or several CNNs with the same layers, by the titles of the columns.
    title: what the figure shows.
  """
  layers = list(next(iter(columns.values())))
  mosaics = {layer: [mosaic(each[layer]) for each in columns.values()] for layer in layers}
  heights = [max(0.35, min(1.6, _height(found[0], len(columns)))) for found in mosaics.values()]
  with drawing.style():
    drawn = drawing.figure(7.5, 1.5 + sum(heights) + 0.35 * len(layers))
    panels = drawing.panels(drawn, len(layers), len(columns), height_ratios=heights)
    for row, layer in enumerate(layers):
      largest = max(float(np.nanmax(np.abs(each))) for each in mosaics[layer]) or 1.0
      for column, each in enumerate(mosaics[layer]):
        axes = panels[row * len(columns) + column]
        _show(axes, each / largest)
        if row == 0:
          axes.set_title(list(columns)[column])
        if column == 0:
          axes.set_ylabel(_layer_label(layer, columns), rotation=0, ha='right', va='center')
    drawn.suptitle(title)
    bar = drawn.colorbar(
      panels[-1].images[0], ax=panels, orientation='horizontal', shrink=0.5, aspect=40, pad=0.03
    )
    bar.set_label('weight, divided by the largest of its layer')
    bar.set_ticks([-1, 0, 1])
    return drawn


def _height(picture: np.ndarray, columns: int) -> float:
  """The height in inches of a picture that is as wide as its column."""
  return 5.8 / columns * picture.shape[0] / picture.shape[1]


def _layer_label(layer: str, columns: Mapping[str, Kernels]) -> str:
  shape = next(iter(columns.values()))[layer].shape
  sizes = f'{shape[0]} x {shape[1]} kernels\n{shape[2]} in, {shape[3]} out'
  return f'{layer}\n{sizes if len(shape) == 4 else f"{shape[0]} in, {shape[1]} out"}  '


def _show(axes: Any, values: np.ndarray) -> None:
  from matplotlib.colors import LinearSegmentedColormap

  colours = LinearSegmentedColormap.from_list('weights', [_NEGATIVE, _ZERO, _POSITIVE])
  axes.imshow(values, cmap=colours, vmin=-1, vmax=1, interpolation='nearest')
  axes.set(xticks=[], yticks=[])
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
      axes.text(place, mean + half + 0.02 * max(means), f'{mean:.1f} %', ha='center', va='bottom')
    axes.set_xticks(places, [name.replace('_', ' ') for name in found])
    axes.set(
      ylabel='change, % of the mean |weight|',
      ylim=(0, 1.15 * max(map(sum, zip(means, halves, strict=True)))),
    )
    axes.set_title(f'How much generated kernels change between two episodes\n({pairs} pairs)')
    return drawn


def allocations(both: Sequence[Generated]) -> Any:
  """Draws the kernels of two models for the same episode, which differ in their allocation."""
  names = {
    'output': 'output: a token writes\none output channel',
    'spatial': 'spatial: a token writes\none kernel position',
  }
  columns = {names[each.allocation]: each.episodes[0] for each in both}
  return kernels(columns, 'Kernels for the same episode')
