"""The numbers of a report: of every group of runs, at its best validation checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypertransformer.evaluation.estimates import Z95, Estimate
from hypertransformer.evaluation.results import SequenceKind, kind
from hypertransformer.reports import published
from hypertransformer.reports.groups import Group
from hypertransformer.reports.published import Published
from hypertransformer.reports.runs import Run

VALIDATION, TEST = 'val', 'test'  # names of presets
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom: the half-width of a 95 %
# interval in standard errors, which is larger for few seeds than Z95.
STUDENT_T = (
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
  2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
  2.045, 2.042,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
  """What one group of runs reached on one preset.

  Attributes:
    group: the group.
    preset: the name of the preset, such as 'test'.
    dataset: the spec of its classes.
    kind: the kind of the sequences; None for independent tasks.
    steps: the step of the checkpoint of each run that has one.
    chosen: how the checkpoint was chosen: 'best on val' or 'newest'.
    accuracy: mean and half-width of the 95 % interval: over tasks for one run, over runs for
      several.
    disjoint: the same without query images that are support images; None if it is unknown.
    each: the accuracy of each run, in the order of `steps`.
    chance: the accuracy of guessing.
    paper: the paper's number for the same task and CNN; None if there is none, or it is not of
      these classes.
    after_tasks: the average accuracy of each run after 1, 2, ... tasks of a sequence, in the order
      of `steps`; empty for independent tasks.
  """

  group: Group
  preset: str
  dataset: str
  kind: SequenceKind | None
  steps: list[int]
  chosen: str
  accuracy: Estimate
  disjoint: Estimate | None
  each: list[float]
  chance: float
  paper: Published | None
  after_tasks: list[list[float]]

  @property
  def over(self) -> str:
    """What the interval is over: 'tasks' or 'seeds'."""
    if len(self.steps) > 1:
      return 'seeds'
    return 'tasks' if self.kind is None else 'sequences'

  @property
  def title(self) -> str:
    """What was evaluated, in words."""
    if self.kind is None:
      return self.preset
    mixed = ', mixed queries' if self.kind.mixed_queries else ''
    return f'{self.preset}, {self.kind.num_tasks} tasks, {self.kind.scenario}{mixed}'


def rows(groups: Sequence[Group]) -> list[Row]:
  """All rows of a report: test classes first, then validation, then the others."""
  order = {TEST: 0, VALIDATION: 1}
  found = [row for group in groups for row in _of_group(group)]
  return sorted(found, key=lambda row: order.get(row.preset, 2))  # keeps the order of groups


def _of_group(group: Group) -> list[Row]:
  """The rows of one group, one for each preset and kind that any of its runs was evaluated on."""
  by_preset: dict[Any, list[tuple[str, dict[str, Any]]]] = {}
  for run in group.runs:
    for chosen, line in chosen_lines(run):
      key = line['preset'], line['dataset'], kind(line.get('continual'))
      by_preset.setdefault(key, []).append((chosen, line))
  return [_row(group, key, found) for key, found in by_preset.items()]


def chosen_lines(run: Run) -> list[tuple[str, dict[str, Any]]]:
  """The results of a run at the checkpoint that counts: how it was chosen, and a line per preset.

  For each kind of evaluation that is the checkpoint with the best accuracy on the preset 'val'; of
  equal ones the earliest, as the evaluator keeps it. Without such a preset it is the newest one
  that was evaluated. Lines of a later evaluation of the same checkpoint replace earlier ones.
  """
  found = []
  for of_kind in dict.fromkeys(kind(line.get('continual')) for line in run.results):
    lines = [line for line in run.results if kind(line.get('continual')) == of_kind]
    validated = {line['step']: line for line in lines if line['preset'] == VALIDATION}
    if validated:
      newest = validated[max(validated)]
      # Accuracies on other classes do not compare.
      same = [line for line in validated.values() if line['dataset'] == newest['dataset']]
      step = max(same, key=lambda line: (line['accuracy'], -line['step']))['step']
      chosen = f'best on {VALIDATION}'
    else:
      step, chosen = max(line['step'] for line in lines), 'newest'
    at_step = {line['preset']: line for line in lines if line['step'] == step}
    found += [(chosen, line) for line in at_step.values()]
  return found


def _row(group: Group, key: tuple[str, str, Any], found: list[tuple[str, dict[str, Any]]]) -> Row:
  preset, dataset, of_kind = key
  lines = [line for _, line in found]
  disjoint = [line.get('accuracy_disjoint') for line in lines]
  paper = published.find(group.values) if preset == TEST and of_kind is None else None
  return Row(
    group,
    preset,
    dataset,
    of_kind,
    [line['step'] for line in lines],
    ' or '.join(dict.fromkeys(chosen for chosen, _ in found)),
    _estimate(lines, 'accuracy', 'ci95'),
    None if None in disjoint else _estimate(lines, 'accuracy_disjoint', 'ci95_disjoint'),
    [line['accuracy'] for line in lines],
    _chance(group, of_kind),
    paper if paper and dataset.partition(':')[0] == paper.dataset else None,
    [line['continual']['average_accuracy'] for line in lines if of_kind is not None],
  )


def _estimate(lines: list[dict[str, Any]], mean: str, interval: str) -> Estimate:
  """The estimate of one line as it stands there; that of several is over their means."""
  if len(lines) == 1:
    half = lines[0].get(interval)
    return lines[0][mean], math.nan if half is None else half
  return over_seeds([line[mean] for line in lines])


def over_seeds(values: Sequence[float]) -> Estimate:
  """The mean over a few runs, and the half-width of its 95 % interval by Student's t."""
  array = np.asarray(values, np.float64)
  freedom = len(array) - 1
  factor = STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else Z95
  return float(array.mean()), float(factor * array.std(ddof=1) / math.sqrt(len(array)))


def _chance(group: Group, of_kind: SequenceKind | None) -> float:
  """The accuracy of guessing, after the last task of a sequence."""
  among = of_kind is not None and of_kind.scenario == 'class_incremental'
  return 1 / (group.runs[0].facts.way * (of_kind.num_tasks if among and of_kind else 1))
