"""The figures of a report: learning curves, and the accuracy that was reached."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypertransformer.reports import drawing, events, summary
from hypertransformer.reports.content import estimate, steps
from hypertransformer.reports.events import Curve
from hypertransformer.reports.groups import Group
from hypertransformer.reports.summary import Row

TOGETHER = len(drawing.COLOURS)  # so many groups share one pair of axes
_LINE = 0.25  # inches that a line of text takes
_LETTERS = 44  # of a name; longer ones are cut in the middle


@dataclasses.dataclass(frozen=True)
class Figure:
  """A figure and what is said about it.

  Attributes:
    name: a word for the names of files, such as 'curves'.
    title: what it says, in one line.
    caption: how to read it, in whole sentences.
    drawn: the matplotlib figure.
  """

  name: str
  title: str
  caption: str
  drawn: Any

  @property
  def svg(self) -> str:
    """The figure as an <svg> element."""
    return drawing.svg(self.drawn, f'{self.title}. {self.caption}')


def figures(groups: Sequence[Group], rows: Sequence[Row]) -> list[Figure]:
  """All figures for which there are numbers, that of the results first."""
  with drawing.style():
    tasks = [row for row in rows if row.kind is None]
    sequences = [row for row in rows if row.kind is not None]
    made = [_reached([row for row in tasks if row.preset == tasks[0].preset])] if tasks else []
    titles = dict.fromkeys(row.title for row in sequences if row.preset == sequences[0].preset)
    made += [_after_tasks([row for row in sequences if row.title == title]) for title in titles]
    names = dict.fromkeys(name for each in groups for name in curve_names(each))
    made += [_learning(groups, name) for name in events.ACCURACIES.values() if name in names]
    return made


def curve_names(group: Group) -> list[str]:
  """The accuracies of which every run of a group has a curve."""
  found = [run.recorded.accuracies for run in group.runs]
  return [name for name in found[0] if all(name in each for each in found)]


def short(name: str) -> str:
  """A name of at most 44 letters; of a longer one the middle is left out."""
  if len(name) <= _LETTERS:
    return name
  half = (_LETTERS - 3) // 2
  return f'{name[:half]}...{name[-half:]}'


def _colour(number: int) -> str:
  return drawing.COLOURS[number % len(drawing.COLOURS)]


# What was reached.


def _reached(rows: Sequence[Row]) -> Figure:
  """A point with its interval for each group, beside the paper's number."""
  drawn = drawing.figure(drawing.WIDTH, 0.9 + 2.5 * _LINE * len(rows))
  (axes,) = drawing.panels(drawn, 1, 1)
  place = axes.get_yaxis_transform()  # x from 0 at the left to 1 at the right
  for number, (row, remark) in enumerate(zip(rows, summary.remarks(rows), strict=True)):
    _point(axes, number, row)
    name = ', '.join(filter(None, [row.group.name, remark]))
    label = f'{short(name)}: {estimate(row.accuracy)} %'
    axes.text(0, number - 0.3, label, transform=place, va='bottom')
  axes.set(ylim=(len(rows) - 0.4, -0.8), yticks=[], xlabel=f'accuracy on {rows[0].preset} tasks, %')
  axes.spines['left'].set_visible(False)
  axes.grid(axis='x')
  axes.margins(x=0.08)
  several = any(len(row.each) > 1 for row in rows)
  over = ' or '.join(dict.fromkeys(row.over for row in rows))
  caption = (
    f'Diamond and bar: mean accuracy and its 95 % interval over {over}.'
    + (' Dots below the bar: the single seeds.' if several else '')
    + (' Thick upright line: the paper, at the end of its training.' if _has_paper(rows) else '')
  )
  return Figure('accuracy', f'What was reached on {rows[0].preset} classes', caption, drawn)


def _point(axes: Any, height: int, row: Row) -> None:
  """Draws what a group reached at a height, with its seeds below and the paper's number."""
  mean, half = 100 * row.accuracy[0], 100 * row.accuracy[1]
  axes.errorbar(
    mean, height, xerr=None if math.isnan(half) else half,
    fmt='D', color=drawing.COLOURS[0], capsize=4, markersize=6, linewidth=1.8,
  )  # fmt: skip
  if len(row.each) > 1:
    seeds = [100 * value for value in row.each]
    heights = [height + 0.2] * len(seeds)
    axes.plot(seeds, heights, 'o', color=drawing.COLOURS[0], markersize=3.5)
  if row.paper is not None:
    ends = [height - 0.22, height + 0.34]
    axes.plot([100 * row.paper.accuracy] * 2, ends, color=drawing.COLOURS[1], linewidth=3)


def _has_paper(rows: Sequence[Row]) -> bool:
  return any(row.paper for row in rows)


def _after_tasks(rows: Sequence[Row]) -> Figure:
  """The average accuracy over the tasks learned so far, after each task of a sequence."""
  drawn = drawing.figure(drawing.WIDTH, 3.2 + _LINE * len(rows))
  (axes,) = drawing.panels(drawn, 1, 1)
  for number, (row, remark) in enumerate(zip(rows, summary.remarks(rows), strict=True)):
    values = 100 * np.array(row.after_tasks)  # [runs, tasks]
    tasks = np.arange(1, values.shape[1] + 1)
    label = ', '.join(filter(None, [_label(row.group), remark]))
    style = '-' if number < TOGETHER else '--'
    axes.fill_between(
      tasks, values.min(0), values.max(0), color=_colour(number), alpha=0.2, linewidth=0
    )
    axes.plot(tasks, values.mean(0), style, marker='o', color=_colour(number), label=label)
  axes.set(xlabel='tasks learned', ylabel='average accuracy, %', ylim=(0, 100), xticks=tasks)
  axes.grid()
  drawn.legend(loc='outside upper left', frameon=False, fontsize=drawing.SMALL)
  several = any(len(row.after_tasks) > 1 for row in rows)
  return Figure(
    'after_each_task_of_' + re.sub(r'\W+', '_', rows[0].title),
    f'Average accuracy after each task: {rows[0].title}',
    'The average over all tasks learned so far.'
    + (' Line: mean of the seeds; band: from the worst to the best seed.' if several else ''),
    drawn,
  )


# Learning curves.


@dataclasses.dataclass(frozen=True)
class _Seeds:
  """The curves of a group in windows: mean, smallest and largest value over its runs."""

  steps: np.ndarray
  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray


def _seeds(curves: Sequence[Curve], window: int) -> _Seeds:
  """Puts the curves of the runs of a group together, as far as the shortest of them goes.

  Runs that have only begun, so that they have no full window yet, are left out.
  """
  windowed = [events.in_windows(curve, window) for curve in curves]
  windowed = [each for each in windowed if len(each.steps)]
  common = sorted(set.intersection(*(set(each.steps.tolist()) for each in windowed)))
  values = 100 * np.stack(
    [each.values[np.isin(each.steps, common)] for each in windowed]
  )  # [runs, windows]
  return _Seeds(np.array(common), values.mean(0), values.min(0), values.max(0))


_UNEQUAL = (
  ' A group is shown as far as its shortest run goes; runs that have only begun are left out.'
)


def _is_unequal(curves: Sequence[Curve]) -> bool:
  """Whether the runs of a group have not gone equally far."""
  return len({int(curve.steps[-1]) for curve in curves}) > 1


def _learning(groups: Sequence[Group], name: str) -> Figure:
  """The accuracy during training, with a band over the seeds of each group."""
  shown = [each for each in groups if name in curve_names(each)]
  curves = [[run.recorded.accuracies[name] for run in each.runs] for each in shown]
  windows = [events.window_for(each) for each in curves]
  found = [_seeds(each, window) for each, window in zip(curves, windows, strict=True)]
  unit = 1000 if max(each.steps[-1] for each in found) >= 10_000 else 1
  apart = len(shown) > TOGETHER
  drawn = _apart(shown, found, unit) if apart else _together(shown, found, unit)
  several = any(len(each.runs) > 1 for each in shown)
  caption = (
    f'Means over windows of {steps(windows)} training steps.'
    + (' Line: mean of the seeds; band: from the worst to the best seed.' if several else '')
    + (_UNEQUAL if any(map(_is_unequal, curves)) else '')
    + (' Every panel shows one group in colour and the others in grey.' if apart else '')
  )
  file_name = f'curve_{name.replace(" ", "_")}'
  return Figure(file_name, f'Accuracy on {name} during training', caption, drawn)


def _together(groups: Sequence[Group], found: Sequence[_Seeds], unit: int) -> Any:
  """All groups on one pair of axes, with their names above, the best at the end first."""
  drawn = drawing.figure(drawing.WIDTH, 3.2 + _LINE * len(groups))
  (axes,) = drawing.panels(drawn, 1, 1)
  order = sorted(range(len(found)), key=lambda n: -found[n].mean[-1])
  for number in order:
    label = _label(groups[number])
    _draw_seeds(axes, found[number], unit, _colour(number), label)
  drawn.legend(loc='outside upper left', frameon=False, fontsize=drawing.SMALL)
  _dress(axes, unit)
  return drawn


def _apart(groups: Sequence[Group], found: Sequence[_Seeds], unit: int) -> Any:
  """A panel for each group, two in a row."""
  count = -(-len(groups) // 2)
  drawn = drawing.figure(drawing.WIDTH, 0.5 + 1.75 * count)
  panels = drawing.panels(drawn, count, 2, sharex=True, sharey=True)
  for number, axes in enumerate(panels):
    if number >= len(groups):
      axes.set_visible(False)
      continue
    for other in found:
      axes.plot(other.steps / unit, other.mean, color=drawing.INK, alpha=0.25, linewidth=0.8)
    _draw_seeds(axes, found[number], unit, drawing.COLOURS[0], None)
    axes.set_title(short(groups[number].name)[:30], fontsize=9, loc='left')
    axes.grid()
    axes.set_ylim(0, 100)
  drawn.supxlabel(_steps(unit), fontsize=drawing.SMALL)
  drawn.supylabel('accuracy, %', fontsize=drawing.SMALL)
  return drawn


def _draw_seeds(axes: Any, found: _Seeds, unit: int, colour: str, label: str | None) -> None:
  marker = 'o' if len(found.steps) < 4 else None
  axes.fill_between(found.steps / unit, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
  axes.plot(found.steps / unit, found.mean, color=colour, linewidth=2, label=label, marker=marker)


def _dress(axes: Any, unit: int) -> None:
  axes.set(xlabel=_steps(unit), ylabel='accuracy, %', ylim=(0, 100))
  axes.set_xlim(left=0)
  axes.grid()


def _steps(unit: int) -> str:
  return 'training steps, thousands' if unit == 1000 else 'training steps'


def _label(group: Group) -> str:
  """The name of a group in a legend, which would leave out a name that begins with '_'."""
  count = f' ({len(group.runs)} seeds)' if len(group.runs) > 1 else ''
  return f' {short(group.name)}{count}'
