"""The numbers of a report: of every group of runs, at its best validation checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import Measured, SequenceKind
from hypertransformer.evaluation.metrics import Z95, Estimate
from hypertransformer.evaluation.results import Line, is_of_elsewhere
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
    measured: what it was measured on, without seed and stream, in which runs differ.
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
  measured: Measured
  steps: list[int]
  chosen: str
  accuracy: Estimate
  disjoint: Estimate | None
  each: list[float]
  chance: float
  paper: Published | None
  after_tasks: list[list[float]]

  @property
  def dataset(self) -> str:
    """The spec of the classes of the preset."""
    return self.measured.dataset

  @property
  def kind(self) -> SequenceKind | None:
    """The kind of the sequences; None for independent tasks."""
    return self.measured.sequence

  @property
  def over(self) -> str:
    """What the interval is over: 'tasks', 'sequences' or 'seeds'."""
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


def remarks(found: Sequence[Row]) -> list[str]:
  """Says of each row in what its evaluation differs from those of the same runs and preset.

  It is '' where there is only one.
  """
  texts = []
  for row in found:
    same = [each.measured for each in found if (each.group, each.preset) == (row.group, row.preset)]
    tasks = {each.task() for each in same}
    told = dict(zip(same, measured.differences(same), strict=True))
    task = row.measured.task() if len(tasks) > 1 else ''
    texts.append(', '.join(filter(None, [task, told[row.measured]])))
  return texts


def _of_group(group: Group) -> list[Row]:
  """The rows of one group, one for each preset and all that any of its runs was measured on."""
  by_preset: dict[tuple[str, Measured], list[Chosen]] = {}
  for run in group.runs:
    for chosen in chosen_lines(run):
      on = dataclasses.replace(measured.of_line(chosen.line), seed=None, stream=None)
      by_preset.setdefault((chosen.line['preset'], on), []).append(chosen)
  return [_row(group, preset, on, found) for (preset, on), found in by_preset.items()]


class Chosen(NamedTuple):
  """A result of the checkpoint that counts, and how that checkpoint was chosen."""

  how: str
  line: Line


def chosen_lines(run: Run) -> list[Chosen]:
  """The results of a run at the checkpoint that counts, one for each preset.

  For each way in which it was evaluated, that is the checkpoint with the best accuracy on the
  preset 'val'; of equal ones the earliest, as the evaluator keeps it. Without such a preset it is
  the newest one that was evaluated. A later evaluation of the same checkpoint replaces an earlier
  one. Results of checkpoints that lie elsewhere (--eval_checkpoint) are not of the run.
  """
  found = []
  results = [line for line in run.results if not is_of_elsewhere(line)]
  for way in dict.fromkeys(map(_way, results)):
    lines = [line for line in results if _way(line) == way]
    validated = {line['step']: line for line in lines if line['preset'] == VALIDATION}
    if validated:
      newest = validated[max(validated)]
      # Accuracies on other classes do not compare.
      same = [line for line in validated.values() if line['dataset'] == newest['dataset']]
      step = max(same, key=lambda line: (line['accuracy'], -line['step']))['step']
      how = f'best on {VALIDATION}'
    else:
      step, how = max(line['step'] for line in lines), 'newest'
    at_step = {line['preset']: line for line in lines if line['step'] == step}
    found += [Chosen(how, line) for line in at_step.values()]
  return found


def _way(line: Line) -> Measured:
  """What the results of one evaluation have in common, on whatever classes they are."""
  on = measured.of_line(line)
  return dataclasses.replace(on, dataset='', split='', use_labels=None, seed=None, stream=None)


def _row(group: Group, preset: str, on: Measured, found: list[Chosen]) -> Row:
  lines = [each.line for each in found]
  disjoint = [line['accuracy_disjoint'] for line in lines]
  facts = group.runs[0].facts
  as_trained = not on.known('ways', 'support_images') or (
    (on.ways, on.support_images) == (facts.way, facts.support_images)
  )
  comparable = preset == TEST and on.sequence is None and as_trained
  paper = published.find(group.values) if comparable else None
  return Row(
    group,
    preset,
    on,
    [line['step'] for line in lines],
    ' or '.join(dict.fromkeys(each.how for each in found)),
    _estimate(lines, 'accuracy', 'ci95'),
    None if None in disjoint else _estimate(lines, 'accuracy_disjoint', 'ci95_disjoint'),
    [line['accuracy'] for line in lines],
    _chance(on, on.ways if on.known('ways') else facts.way),
    paper if paper and on.dataset.partition(':')[0] == paper.dataset else None,
    [line['continual']['average_accuracy'] for line in lines if on.sequence is not None],
  )


def _estimate(lines: list[Line], mean: str, interval: str) -> Estimate:
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


def _chance(on: Measured, way: int) -> float:
  """The accuracy of guessing, after the last task of a sequence."""
  among = on.sequence is not None and on.sequence.scenario == 'class_incremental'
  return 1 / (way * (on.sequence.num_tasks if among and on.sequence else 1))
