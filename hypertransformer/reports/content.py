"""The tables of a report as texts, which the page, the Markdown and the CSV lay out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hypertransformer.evaluation.metrics import Estimate
from hypertransformer.reports import groups as groups_lib
from hypertransformer.reports import published, summary
from hypertransformer.reports.groups import Group
from hypertransformer.reports.runs import Run
from hypertransformer.reports.summary import Row

NOT_RECORDED = 'not recorded'
# Of the CSV file.
COLUMNS = (
  'group', 'run', 'preset', 'dataset', 'kind', 'runs', 'step', 'chosen', 'accuracy', 'ci95',
  'interval_over', 'accuracy_disjoint', 'ci95_disjoint', 'chance', 'paper',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of texts.

  Attributes:
    title: its heading.
    note: what to know when reading it, in whole sentences; '' for nothing.
    head: the names of the columns; the first column names the row.
    rows: the cells, as many as there are columns.
  """

  title: str
  note: str
  head: list[str]
  rows: list[list[str]]


def tables(groups: Sequence[Group], rows: Sequence[Row]) -> list[Table]:
  """All tables of a report that have something to say."""
  found = [_results(rows), _differences(groups), _runs(groups)]
  return [table for table in found if table.rows]


def estimate(value: Estimate | None) -> str:
  """An accuracy with its interval in %, '-' if it is unknown."""
  if value is None:
    return '-'
  mean, half = value
  return f'{100 * mean:.1f}' if half != half else f'{100 * mean:.1f} ± {100 * half:.1f}'


def steps(values: Sequence[int]) -> str:
  """Steps of checkpoints: one number, or the smallest and the largest."""
  low, high = min(values), max(values)
  return f'{low:,}' if low == high else f'{low:,} to {high:,}'


def headline(rows: Sequence[Row]) -> str:
  """The best result of the report in one sentence; '' if nothing was evaluated."""
  if not rows:
    return ''
  best = max((row for row in rows if row.preset == rows[0].preset), key=lambda r: r.accuracy[0])
  count = len(best.steps)
  runs = f', mean of {count} seeds' if count > 1 else ''
  paper = f' The paper: {100 * best.paper.accuracy:.1f} %.' if best.paper else ''
  return (
    f'{estimate(best.accuracy)} % on {best.title} tasks ({best.group.name}{runs}); '
    f'chance is {100 * best.chance:.1f} %.{paper}'
  )


def _results(rows: Sequence[Row]) -> Table:
  note = (
    'Accuracy in %, with the half-width of its 95 % interval: over tasks or sequences for one run, '
    'over seeds (Student\'s t) for several. "Without support images" leaves out query images that '
    'are in the support set.'
  )
  papers = list(dict.fromkeys(row.paper.task for row in rows if row.paper))
  if papers:
    note += f' The paper ({published.CITATION}) is for {"; for ".join(papers)}.'
  return Table(
    'Accuracy at the best validation checkpoint',
    note,
    ['runs', 'classes', 'accuracy', 'without support images', 'the paper', 'chance', 'checkpoint',
     'interval'],
    [
      [
        row.group.name,
        f'{row.title} ({", ".join(filter(None, [row.dataset, remark]))})',
        estimate(row.accuracy),
        estimate(row.disjoint),
        f'{100 * row.paper.accuracy:.1f}' if row.paper else '-',
        f'{100 * row.chance:.1f}',
        f'{steps(row.steps)}, {row.chosen}',
        f'over {len(row.steps)} seeds' if row.over == 'seeds' else f'over {row.over}',
      ]
      for row, remark in zip(rows, summary.remarks(rows), strict=True)
    ],
  )  # fmt: skip


def _differences(groups: Sequence[Group]) -> Table:
  found = groups_lib.differences(groups)
  return Table(
    'Flags in which the runs differ',
    'Seeds and folders are left out.',
    ['flag', *(each.name for each in groups)],
    [[f'--{name}', *map(_value, values)] for name, values in found.items()],
  )


def _runs(groups: Sequence[Group]) -> Table:
  return Table(
    'The runs',
    'Steps per second is the median during training. CPU hours are those of the training; where '
    'experiments/campaign.py has counted them, the evaluation is in them.',
    ['run', 'seed', 'steps', 'steps per second', 'CPU hours', 'machine', 'version'],
    [_run(run) for each in groups for run in each.runs],
  )


def _run(run: Run) -> list[str]:
  recorded = run.recorded
  last = max([recorded.last_step, *(line['step'] for line in run.results)])
  speed, hours = recorded.steps_per_second, recorded.cpu_hours
  return [
    run.name,
    NOT_RECORDED if run.facts.seed is None else str(run.facts.seed),
    f'{last:,} of {run.facts.train_steps:,}',
    NOT_RECORDED if speed is None else f'{speed:.1f}',
    NOT_RECORDED if hours is None else f'{hours:.2f}',
    '; '.join(run.machines) or NOT_RECORDED,
    run.version or NOT_RECORDED,
  ]


def _value(value: Any) -> str:
  return 'empty' if value in ('', None) else str(value)


def records(groups: Sequence[Group], rows: Sequence[Row]) -> list[dict[str, Any]]:
  """The results as records for a CSV file: a row for each run and for each mean over seeds.

  Accuracies are in 0..1. What is unknown is an empty text.
  """
  found = []
  for row in rows:
    found.append(_record(row, row.group.name, row.over, row.accuracy, row.disjoint, row.steps))
    if len(row.steps) > 1:
      for run in row.group.runs:
        for alone in summary.rows([Group(run.name, [run])]):
          if (alone.preset, alone.measured) == (row.preset, row.measured):
            found.append(
              _record(row, run.name, alone.over, alone.accuracy, alone.disjoint, alone.steps)
            )
  return found


def _record(
  row: Row, name: str, over: str, accuracy: Estimate, disjoint: Estimate | None, at: list[int]
) -> dict[str, Any]:
  mean, half = disjoint or ('', '')
  return {
    'group': row.group.name,
    'run': name,
    'preset': row.preset,
    'dataset': row.dataset,
    'kind': '' if row.kind is None else row.title.partition(', ')[2],
    'runs': len(at),
    'step': max(at),
    'chosen': row.chosen,
    'accuracy': accuracy[0],
    'ci95': '' if accuracy[1] != accuracy[1] else accuracy[1],
    'interval_over': over,
    'accuracy_disjoint': mean,
    'ci95_disjoint': half,
    'chance': row.chance,
    'paper': row.paper.accuracy if row.paper else '',
  }
