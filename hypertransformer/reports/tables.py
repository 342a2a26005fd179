"""The tables of a report, as pandas data frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hypertransformer.evaluation import results as results_lib
from hypertransformer.evaluation.metrics import Z95, Estimate
from hypertransformer.evaluation.results import Line
from hypertransformer.reports import per_class
from hypertransformer.reports.runs import LoggedRun, RunGroup
from hypertransformer.settings import flags, recipes

TEST, VALIDATION = 'test', 'val'  # names of presets
# The measures that are shown: fields of results.jsonl, with those of their intervals and with the
# headings of their columns. A measure of sequences is a field of the object `continual`.
MEASURES = {
  'accuracy': ('ci95', 'accuracy'),
  'accuracy_inductive': ('ci95_inductive', 'inductive'),
  'accuracy_disjoint': ('ci95_disjoint', 'without support images'),
  'forgetting': ('forgetting_ci95', 'forgetting'),
  'backward_transfer': ('backward_transfer_ci95', 'backward transfer'),
  'nearest_pixels': ('nearest_pixels_ci95', 'nearest pixels'),
}
# What the columns of results mean.
NOTES = {
  'accuracy': 'Accuracy in %, with half the width of its 95 % confidence interval: over tasks or '
  "sequences for a single run, over seeds (Student's t) for three or more. Two seeds are listed.",
  'inductive': '"Inductive": batch norm has the statistics of the support set, not of the queries, '
  'so the answer to an image depends on no other query image.',
  'without support images': '"Without support images" leaves out query images that are in the '
  'support set.',
  'nearest pixels': '"Nearest pixels" is a baseline that learns nothing: the label of the nearest '
  'support image.',
  'the paper': 'The paper is arXiv 2201.04182, for the same tasks and the same CNN.',
}
NAMED = ('dataset', 'ways', 'support_images', 'unlabeled_per_class', 'sequence')  # in titles
NOT_RECORDED = 'not recorded'
WORST, BEST, CONFUSED = 20, 3, 20  # rows of the tables of classes and of confused pairs
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom: half the width of a 95 %
# confidence interval in standard errors.
STUDENT_T = (
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
  2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
  2.045, 2.042,
)  # fmt: skip
# The accuracies of the paper on test classes at the end of training, for CNNs of four layers:
# dataset, ways, shots, channels, how many of the layers are not generated.
PUBLISHED = {
  ('omniglot', 20, 1, 8, 0): 0.872,
  ('omniglot', 20, 1, 16, 0): 0.937,
  ('omniglot', 20, 5, 8, 0): 0.947,
  ('omniglot', 20, 5, 4, 0): 0.820,
  ('omniglot', 20, 5, 4, 4): 0.779,
  ('miniimagenet', 5, 1, 16, 0): 0.551,
  ('miniimagenet', 5, 5, 16, 0): 0.681,
  ('tieredimagenet', 5, 1, 8, 0): 0.563,
  ('tieredimagenet', 5, 5, 8, 0): 0.739,
}


@dataclasses.dataclass(frozen=True)
class ReportTable:
  """A table and what is said about it.

  Attributes:
    title: its heading.
    note: what to know when reading it, in whole sentences; '' for nothing.
    frame: its cells, texts. The first column names the row.
  """

  title: str
  note: str
  frame: pd.DataFrame


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
  """What a group of runs reached on one preset, measured in one way.

  Attributes:
    group: the runs.
    chosen: how the checkpoint of each run was chosen: 'best on val' or 'newest'.
    lines: the line of results.jsonl of that checkpoint, for each run that has one.
  """

  group: RunGroup
  chosen: str
  lines: list[Line]

  @property
  def preset(self) -> str:
    """The name of the preset."""
    return str(self.lines[0]['preset'])

  @property
  def measured(self) -> dict[str, Any]:
    """What it was measured on."""
    return dict(self.lines[0]['measured'])

  @property
  def title(self) -> str:
    """What was evaluated, in words."""
    sequence = self.measured['sequence']
    if sequence is None:
      return self.preset
    mixed = ', mixed queries' if sequence['mixed_queries'] else ''
    return f'{self.preset}, {sequence["num_tasks"]} tasks, {sequence["scenario"]}{mixed}'

  @property
  def over(self) -> str:
    """What the interval is over: 'tasks', 'sequences' or 'seeds'."""
    if len(self.lines) > 1:
      return 'seeds'
    return 'tasks' if self.measured['sequence'] is None else 'sequences'

  @property
  def steps(self) -> str:
    """The steps of its checkpoints."""
    return ', '.join(f'{step:,}' for step in sorted({line['step'] for line in self.lines}))

  @property
  def chance(self) -> float:
    """The accuracy of guessing, after the last task of a sequence."""
    sequence = self.measured['sequence'] or {}
    incremental = sequence.get('scenario') == 'class_incremental'
    return 1 / (self.measured['ways'] * (sequence['num_tasks'] if incremental else 1))

  @property
  def paper(self) -> float | None:
    """The paper's accuracy on the same tasks for the same CNN; None if there is none."""
    on, model = self.measured, self.group.runs[0].settings.model
    if self.preset != TEST or on['sequence'] is not None or on['unlabeled_per_class']:
      return None
    if model.cnn_name != 'maxpool-4-layer' or on['support_images'] % on['ways']:
      return None
    key = (on['dataset'].partition(':')[0], on['ways'], on['support_images'] // on['ways'],
           model.channels, model.trained_layers)  # fmt: skip
    return PUBLISHED.get(key)

  def each(self, measure: str) -> list[float | None]:
    """Return a measure of each run."""
    return [(line.get('continual', {}) | line).get(measure) for line in self.lines]

  def estimate(self, measure: str) -> Estimate | None:
    """Return a measure with half the width of its 95 % confidence interval; None if it is unknown.

    The interval of a single run is over tasks, that of several is over seeds.
    """
    values = [value for value in self.each(measure) if value is not None]
    if len(values) != len(self.lines):
      return None
    if len(values) > 1:
      return over_seeds(values)
    (half,) = self.each(MEASURES[measure][0])
    return values[0], math.nan if half is None else half

  def text(self, measure: str) -> str:
    """Return a measure in %, with its interval; of fewer than three seeds, each one's."""
    values = self.each(measure)
    if 1 < len(values) < 3 and None not in values:
      return ', '.join(percent((value or 0.0, math.nan)) for value in values)
    return percent(self.estimate(measure))


def over_seeds(values: Sequence[float]) -> Estimate:
  """Return the mean over runs, and half the width of its 95 % interval by Student's t."""
  array = np.asarray(values, np.float64)
  freedom = len(array) - 1
  factor = STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else Z95
  return float(array.mean()), float(factor * array.std(ddof=1) / math.sqrt(len(array)))


def outcomes(groups: Sequence[RunGroup]) -> list[Outcome]:
  """Return all that groups of runs reached: test classes first, then validation, then others."""
  found: dict[tuple[RunGroup, str, str], list[tuple[str, Line]]] = {}
  for group in groups:
    for run in group.runs:
      for how, line in chosen_lines(run):
        way = _way(line, 'seed', 'stream')
        found.setdefault((group, line['preset'], way), []).append((how, line))
  made = [
    Outcome(group, ' or '.join(dict.fromkeys(how for how, _ in pairs)), [line for _, line in pairs])
    for (group, _, _), pairs in found.items()
  ]
  order = {TEST: 0, VALIDATION: 1}
  return sorted(made, key=lambda outcome: order.get(outcome.preset, 2))


def chosen_lines(run: LoggedRun) -> Iterator[tuple[str, Line]]:
  """Yield the results of a run at the checkpoint that counts, one for each preset.

  For each way in which the run was evaluated, that is the checkpoint with the best accuracy on the
  preset 'val', and the earliest of equal ones. Without such a preset it is the newest one that was
  evaluated. Of several evaluations of a checkpoint the last one counts. Results of checkpoints
  outside of the run's directory (--eval_checkpoint) are ignored.

  Yields:
    How the checkpoint was chosen, and the line.
  """
  by_way: dict[str, list[Line]] = {}
  for line in run.results:
    if not results_lib.is_of_elsewhere(line):
      way = _way(line, 'dataset', 'split', 'use_labels', 'seed', 'stream')
      by_way.setdefault(way, []).append(line)
  for lines in by_way.values():
    validated = {line['step']: line for line in lines if line['preset'] == VALIDATION}
    if validated:
      dataset = validated[max(validated)]['dataset']  # accuracies on other classes do not compare
      same = [line for line in validated.values() if line['dataset'] == dataset]
      step = max(same, key=lambda line: (line['accuracy'], -line['step']))['step']
      how = f'best on {VALIDATION}'
    else:
      step, how = max(line['step'] for line in lines), 'newest'
    for line in {line['preset']: line for line in lines if line['step'] == step}.values():
      yield how, line


def _way(line: Line, *left_out: str) -> str:
  """Return what a line was measured on, without some fields, as a text that can be compared."""
  on = line['measured']
  return results_lib.key({name: value for name, value in on.items() if name not in left_out})


def remarks(found: Sequence[Outcome]) -> list[str]:
  """Say for each outcome how its evaluation differs from others of the same runs and preset."""
  texts = []
  for outcome in found:
    group = outcome.group, outcome.preset
    same = [each.measured for each in found if (each.group, each.preset) == group]
    differences = results_lib.differences(same, (*NAMED, 'seed', 'stream'))
    task = results_lib.task(outcome.measured)
    tasks = {results_lib.task(measured) for measured in same}
    parts = [task if len(tasks) > 1 else '', differences[same.index(outcome.measured)]]
    texts.append(', '.join(filter(None, parts)))
  return texts


def percent(value: Estimate | None) -> str:
  """Return an estimate in %, with its interval if there is one; '-' if it is unknown."""
  if value is None:
    return '-'
  mean, half = value
  return f'{100 * mean:.1f}' if math.isnan(half) else f'{100 * mean:.1f} ± {100 * half:.1f}'


def headline(found: Sequence[Outcome]) -> str:
  """Return the best result of the report in one sentence; '' if nothing was evaluated."""
  if not found:
    return ''
  same = [outcome for outcome in found if outcome.preset == found[0].preset]
  best = max(same, key=lambda outcome: float(np.mean(outcome.each('accuracy'))))
  count = len(best.lines)
  seeds = f', {"mean of " * (count > 2)}{count} seeds' if count > 1 else ''
  paper = f' The paper: {100 * best.paper:.1f} %.' if best.paper else ''
  return (
    f'{best.text("accuracy")} % on {best.title} tasks ({best.group.name}{seeds}); '
    f'chance is {100 * best.chance:.1f} %.{paper}'
  )


def tables(groups: Sequence[RunGroup], found: Sequence[Outcome]) -> list[ReportTable]:
  """Return all tables of a report that are not empty."""
  by_class = [table for outcome in found for table in (_classes(outcome), _confused(outcome))]
  made = [_results(found), *map(_matrix, found), *by_class, _differences(groups), _runs(groups)]
  return [table for table in made if not table.frame.empty]


def _results(found: Sequence[Outcome]) -> ReportTable:
  classes = [
    f'{outcome.title} ({", ".join(filter(None, [outcome.measured["dataset"], remark]))})'
    for outcome, remark in zip(found, remarks(found), strict=True)
  ]
  frame = pd.DataFrame(
    {
      'runs': [outcome.group.name for outcome in found],
      'classes': classes,
      **{
        title: [outcome.text(measure) for outcome in found]
        for measure, (_, title) in MEASURES.items()
      },
      'the paper': [f'{100 * each.paper:.1f}' if each.paper else '-' for each in found],
      'chance': [f'{100 * outcome.chance:.1f}' for outcome in found],
      'checkpoint': [f'{outcome.steps}, {outcome.chosen}' for outcome in found],
      'interval over': [
        f'{len(each.lines)} seeds' if each.over == 'seeds' else each.over for each in found
      ],
    }
  )
  frame = frame.loc[:, (frame != '-').any()]  # without what is unknown of all
  notes = [note for column, note in NOTES.items() if column in frame]
  return ReportTable('Accuracy at the best validation checkpoint', ' '.join(notes), frame)


def _matrix(outcome: Outcome) -> ReportTable:
  """Make the table of accuracies after each task of a sequence; empty for independent tasks."""
  found = [line['continual'] for line in outcome.lines if 'continual' in line]
  frame = pd.DataFrame()
  if found:
    means = np.mean([_with_average(each) for each in found], axis=0)
    halves = np.full_like(means, np.nan) if len(found) > 1 else _with_average(found[0], '_ci95')
    tasks = [f'task {number}' for number in range(1, len(means) + 1)]
    frame['after'] = tasks
    for name, pairs in zip([*tasks, 'average'], np.stack([means.T, halves.T], -1), strict=True):
      frame[name] = ['' if math.isnan(mean) else percent((mean, half)) for mean, half in pairs]
  over = f'means over {len(found)} seeds' if len(found) > 1 else 'with 95 % confidence intervals'
  return ReportTable(
    f'{outcome.group.name}: {outcome.title}',
    f'Accuracy in % on the queries of each task (columns) after learning each task (rows), {over}.',
    frame,
  )


def _classes(outcome: Outcome) -> ReportTable:
  """Make the table of the classes with the lowest accuracies, and of the best few."""
  found = per_class.classes(outcome.lines)
  shown = found if len(found) <= WORST + BEST else pd.concat([found[:WORST], found[-BEST:]])
  note = f' {len(found) - len(shown):,} classes between the worst and the best are left out.'
  accuracy = list(map(percent, zip(shown['accuracy'], shown['ci95'], strict=True)))
  return ReportTable(
    f'{outcome.group.name}: {outcome.title}, accuracy per class',
    'Accuracy in % on the queries of each class, worst first, with half the width of its 95 % '
    'confidence interval over the tasks that contain it.' + note * (len(shown) < len(found)),
    pd.DataFrame({'class': shown['name'], 'accuracy': accuracy}).join(_counts(shown)),
  )


def _confused(outcome: Outcome) -> ReportTable:
  """Make the table of the pairs of classes that are confused most."""
  found = per_class.pairs(outcome.lines).query('count > 0')[:CONFUSED]
  rates = (100 * found[['confused', 'at least']]).map('{:.1f}'.format)
  return ReportTable(
    f'{outcome.group.name}: {outcome.title}, most confused classes',
    'Percentage of the queries of a class (first column) that are classified as another one, in '
    f'tasks that contain both; chance is {100 * outcome.chance:.1f} %. "At least" is the lower '
    'end of the 95 % interval over tasks (Wilson), by which the pairs are sorted.',
    found[['true class', 'predicted class']].join([rates, _counts(found)]),
  )


def _counts(found: pd.DataFrame) -> pd.DataFrame:
  return found[['queries', 'tasks']].map('{:,.0f}'.format)


def _with_average(continual: dict[str, Any], suffix: str = '') -> np.ndarray:
  """Return the accuracies on each task and, in the last column, their average after each task.

  Args:
    continual: the object `continual` of a line.
    suffix: '' for the accuracies, '_ci95' for their intervals.

  Returns:
    float [T, columns], NaN where nothing was measured.
  """
  matrix, average = (
    np.asarray(continual[f'{name}{suffix}'], np.float64) for name in ('matrix', 'average_accuracy')
  )
  return np.column_stack([matrix, average])


def _differences(groups: Sequence[RunGroup]) -> ReportTable:
  frame = pd.DataFrame()
  for name, first in groups[0].runs[0].influential.items():
    values = [group.runs[0].influential[name] for group in groups]
    if any(value != first for value in values):
      frame['runs'] = [group.name for group in groups]
      frame[f'--{name}'] = ['empty' if value in ('', None) else str(value) for value in values]
  return ReportTable('Flags in which the runs differ', 'Seeds and paths are left out.', frame)


def _runs(groups: Sequence[RunGroup]) -> ReportTable:
  runs = [run for each in groups for run in each.runs]
  note = (
    'Steps per second is the median during training. CPU hours are those of the training, and of '
    'runs that experiments/campaign.py keeps also those of the evaluation.'
  )
  notes = [f' {run.name}: {text}' for run in runs for text in (*run.changes, run.missed) if text]
  return ReportTable('The runs', note + ''.join(notes), pd.DataFrame(map(_run, runs)))


def _steps(run: LoggedRun) -> str:
  """Return the steps of a run, of those of the recipe if its other flags are a recipe's."""
  own = run.influential | {'train_steps': None}
  for name in recipes.names():
    published = flags.values_affecting(recipes.values(name), 'training', 'evaluation')
    if own == {flag: published.get(flag) for flag in own} | {'train_steps': None}:
      return f'{run.last_step:,} of {published["train_steps"]:,} published'
  return f'{run.last_step:,} of {run.settings.run.train_steps:,}'


def _run(run: LoggedRun) -> dict[str, str]:
  speed, hours = run.steps_per_second, run.cpu_hours
  return {
    'run': run.name,
    'seed': NOT_RECORDED if run.settings.run.seed is None else str(run.settings.run.seed),
    'steps': _steps(run),
    'steps per second': NOT_RECORDED if speed is None else f'{speed:.1f}',
    'CPU hours': NOT_RECORDED if hours is None else f'{hours:.2f}',
    'machine': '; '.join(run.machines) or NOT_RECORDED,
    'version': run.version or NOT_RECORDED,
  }


def records(found: Sequence[Outcome]) -> pd.DataFrame:
  """Return the numbers of a report, a row for each run and for each mean over seeds.

  Accuracies are in 0..1. What is unknown is an empty cell.
  """
  rows = []
  for outcome in found:
    rows.append(_record(outcome, outcome.group.name))
    if len(outcome.lines) > 1:
      by_line = {id(line): run.name for run in outcome.group.runs for line in run.results}
      for line in outcome.lines:
        rows.append(_record(dataclasses.replace(outcome, lines=[line]), by_line[id(line)]))
  return pd.DataFrame(rows)


def _record(outcome: Outcome, name: str) -> dict[str, Any]:
  numbers: dict[str, float | None] = {}
  for measure, (interval, _) in MEASURES.items():
    numbers[measure], numbers[interval] = outcome.estimate(measure) or (None, None)
  return {
    'group': outcome.group.name,
    'run': name,
    'preset': outcome.preset,
    'dataset': outcome.measured['dataset'],
    'kind': outcome.title.partition(', ')[2],
    'runs': len(outcome.lines),
    'step': max(line['step'] for line in outcome.lines),
    'chosen': outcome.chosen,
    **numbers,
    'interval_over': outcome.over,
    'chance': outcome.chance,
    'paper': outcome.paper,
  }
