"""The figures of a report: learning curves, accuracies after each task of a sequence, confusions.

This is the only module that imports matplotlib, and only when a figure is drawn.
"""

from __future__ import annotations

import dataclasses
import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hypertransformer.reports import per_class
from hypertransformer.reports.runs import ACCURACIES, Curve, RunGroup
from hypertransformer.reports.tables import Outcome, remarks

# Colours of Okabe and Ito, which colour-blind readers can distinguish, on white and on black.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
INK = '#0b0c0d'  # of text and axes; in SVG it becomes `currentColor`, the colour of the page's text
WIDTH, LINE = 5.2, 0.25  # inches, of a figure and of a line of text
SMALL = 10  # points
LONGEST_LABEL = 54  # letters
_STYLE: dict[Any, Any] = {
  'font.size': 11,
  'axes.titlesize': 11,
  'svg.fonttype': 'none',  # text remains text: it can be searched, and a page is small
  'text.parse_math': False,
  'svg.hashsalt': 'hypertransformer',  # the same figure gives the same file
  'axes.spines.top': False,
  'axes.spines.right': False,
  **dict.fromkeys(
    ('text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color'), INK
  ),
  'grid.color': INK,
  'grid.alpha': 0.15,
  'grid.linewidth': 0.8,
}
# In a file of its own an SVG follows the dark mode of the reader's system.
_FILE_STYLE = (
  '<style>svg{color:#1a1a1a}@media(prefers-color-scheme:dark){svg{color:#e8e8e8}}</style>'
)
SEEDS = ' Line: mean of the seeds; band: from the worst to the best seed.'


@dataclasses.dataclass(frozen=True)
class ReportFigure:
  """A figure and what is said about it.

  Attributes:
    name: a word for the names of files, such as 'after_each_task'.
    title: what it shows, in one line.
    caption: how to read it, in whole sentences.
    drawn: the matplotlib figure.
  """

  name: str
  title: str
  caption: str
  drawn: Any

  @property
  def svg(self) -> str:
    """The figure as an <svg> element of a page."""
    buffer = io.StringIO()
    with _style(), warnings.catch_warnings():
      # Text remains text, in a font of the reader.
      warnings.filterwarnings('ignore', 'Glyph .* missing')
      none = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
      self.drawn.savefig(buffer, format='svg', metadata=none)
    text = buffer.getvalue()
    text = text[text.index('<svg') :].strip()
    text = re.sub(r'<g id="[^"]*"', '<g', text)  # these ids repeat from figure to figure
    label = html.escape(f'{self.title}. {self.caption}')
    return text.replace(INK, 'currentColor').replace(
      '<svg', f'<svg role="img" aria-label="{label}"', 1
    )

  @property
  def svg_file(self) -> str:
    """The figure as the content of an .svg file."""
    return self.svg.replace('>', f'>{_FILE_STYLE}', 1) + '\n'


def _style() -> Any:
  import matplotlib

  return matplotlib.rc_context(_STYLE)


def figures(groups: Sequence[RunGroup], outcomes: Sequence[Outcome]) -> Iterator[ReportFigure]:
  """Yield all figures for which there are numbers."""
  with _style():
    sequences = [each for each in outcomes if each.measured['sequence'] is not None]
    if sequences:
      yield _after_tasks([each for each in sequences if each.preset == sequences[0].preset])
    for name in ACCURACIES.values():
      shown = [group for group in groups if all(name in run.curves for run in group.runs)]
      if shown:
        yield _learning(shown, name)
    matrices = [(outcome, per_class.matrix(outcome.lines)) for outcome in outcomes]
    matrices = [(outcome, rates) for outcome, rates in matrices if not rates.empty]
    for number, (outcome, rates) in enumerate(matrices, 1):
      yield _confusions(outcome, rates, f'confusions_{number}')


def _label(*parts: str, seeds: int = 1) -> str:
  """Join the parts of a label; the middle of a long one is left out."""
  label = ', '.join(filter(None, parts)) + f' ({seeds} seeds)' * (seeds > 1)
  return per_class.shortened(label, LONGEST_LABEL)


@dataclasses.dataclass(frozen=True)
class _Band:
  """A line with a band around it: mean, smallest and largest value over the seeds, in %."""

  label: str
  x: np.ndarray
  values: np.ndarray  # [runs, x]


def _axes(height: float) -> tuple[Any, Any]:
  """Return a figure of this height in inches and its axes, both transparent."""
  from matplotlib.figure import Figure

  drawn = Figure(figsize=(WIDTH, height), layout='constrained')
  axes = drawn.subplots()
  for patch in (drawn.patch, axes.patch):
    patch.set_alpha(0)
  return drawn, axes


def _draw(bands: Sequence[_Band], order: Sequence[int], marker: str | None, x: str) -> Any:
  """Draw bands on transparent axes, with their names above."""
  drawn, axes = _axes(3.2 + LINE * len(bands))
  for number in order:
    band = bands[number]
    # Dashed where the colours begin again.
    colour, style = COLOURS[number % len(COLOURS)], '-' if number < len(COLOURS) else '--'
    low, high = band.values.min(axis=0), band.values.max(axis=0)
    axes.fill_between(band.x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
      band.x, band.values.mean(axis=0), style,
      color=colour, linewidth=2, marker=marker or 'o' * (len(band.x) < 4),
      label=f' {band.label}',  # a legend leaves out labels that begin with '_'
    )  # fmt: skip
  drawn.legend(loc='outside upper left', frameon=False, fontsize=SMALL)
  axes.set(xlabel=x, ylabel='accuracy, %', ylim=(0, 100))
  axes.grid()
  return drawn


def _after_tasks(outcomes: Sequence[Outcome]) -> ReportFigure:
  """Draw the average accuracy over the tasks learned so far, after each task of a sequence."""
  bands = []
  for outcome, remark in zip(outcomes, remarks(outcomes), strict=True):
    values = 100 * np.array(outcome.each('average_accuracy'), np.float64)
    evaluation = outcome.title.partition(' tasks, ')[2]
    label = _label(outcome.group.name, evaluation, remark, seeds=len(values))
    bands.append(_Band(label, np.arange(1, values.shape[1] + 1), values))
  drawn = _draw(bands, range(len(bands)), 'o', 'tasks learned')
  drawn.axes[0].set_xticks(max((band.x for band in bands), key=len))
  caption = 'The average over all tasks learned so far.'
  caption += SEEDS * any(len(each.lines) > 1 for each in outcomes)
  title = f'Average accuracy after each task of a sequence, {outcomes[0].preset} classes'
  return ReportFigure('after_each_task', title, caption, drawn)


def _confusions(outcome: Outcome, rates: pd.DataFrame, name: str) -> ReportFigure:
  """Draw how often each class is taken for each other one; colours are clear where that is 0."""
  from matplotlib.colors import LinearSegmentedColormap

  side, values = len(rates), 100 * rates.to_numpy(np.float64)
  drawn, axes = _axes(0.85 * WIDTH)
  colours = LinearSegmentedColormap.from_list('clear', [f'{COLOURS[1]}00', COLOURS[1]])
  cells = axes.pcolormesh(values, cmap=colours, vmin=0, vmax=max(1.0, np.nanmax(values, initial=0)))
  y, x = np.nonzero(np.isnan(values) & ~np.eye(side, dtype=bool))
  axes.plot(x + 0.5, y + 0.5, 'x', color=INK, markersize=3, alpha=0.5)
  middles, size = np.arange(side) + 0.5, SMALL if side <= 15 else 6
  axes.set_xticks(middles, rates.columns, rotation=90, fontsize=size)
  axes.set_yticks(middles, rates.index, fontsize=size)
  axes.set(xlabel='predicted class', ylabel='true class', aspect='equal')
  axes.invert_yaxis()
  drawn.colorbar(cells, label='% of the queries').ax.patch.set_alpha(0)
  caption = (
    'Percentage of the queries of a class (row) that are classified as another one (column), in '
    'tasks that contain both. The diagonal is empty; a cross: no task contains both.'
  )
  title = f'Confused classes: {_label(outcome.group.name, outcome.title)}'
  return ReportFigure(name, title, caption, drawn)


def _learning(groups: Sequence[RunGroup], name: str) -> ReportFigure:
  """Draw the accuracy during training, with a band over the seeds of each group."""
  curves = [[run.curves[name] for run in group.runs] for group in groups]
  windows = [window_for(each) for each in curves]
  thousands = any(curve.steps[-1] >= 10_000 for each in curves for curve in each)
  bands = []
  for group, found, window in zip(groups, curves, windows, strict=True):
    # As far as the shortest run goes; runs that have just begun have no full window.
    means = [each for each in (curve.means(window) for curve in found) if len(each.steps)] or found
    common = sorted(set.intersection(*(set(each.steps.tolist()) for each in means)))
    values = np.stack([100 * each.values[np.isin(each.steps, common)] for each in means])
    middles = (np.array(common) - window / 2) / (1000 if thousands else 1)
    bands.append(_Band(_label(group.name, seeds=len(group.runs)), middles, values))
  x = 'training steps, thousands' if thousands else 'training steps'
  best_first = sorted(range(len(bands)), key=lambda n: -bands[n].values[:, -1].mean())
  drawn = _draw(bands, best_first, None, x)
  drawn.axes[0].set_xlim(left=0)
  unequal = any(len({int(curve.steps[-1]) for curve in each}) > 1 for each in curves)
  caption = (
    f'Means over windows of {" to ".join(f"{n:,}" for n in sorted({min(windows), max(windows)}))} '
    'training steps.'
    + SEEDS * any(len(each) > 1 for each in curves)
    + ' A group is shown up to the end of its shortest run.' * unequal
  )
  title = f'Accuracy on {name} during training'
  return ReportFigure(f'curve_{name.replace(" ", "_")}', title, caption, drawn)


def window_for(curves: Sequence[Curve], points: int = 40) -> int:
  """Choose a round number of steps for windows, so that the longest curve has about 40 of them.

  A window is never shorter than the steps between two records.
  """
  longest = max(int(curve.steps[-1]) for curve in curves)
  between = max(int(np.median(np.diff(curve.steps, prepend=0))) for curve in curves)
  wanted = max(longest / points, between, 1)
  magnitude = 10 ** int(np.floor(np.log10(wanted)))
  window = next(n * magnitude for n in (1, 2, 5, 10) if n * magnitude >= wanted)
  return window if window <= longest else between
