"""The continual method beside its baselines: a table of evaluated runs, their matrices and a
picture.

  python benchmarks/continual.py --output=docs/continual.png --report=benchmarks/CONTINUAL.md
  LOG_DIR [LOG_DIR ...]

Each folder has been evaluated by scripts/evaluate.sh with one preset, in one scenario or several,
with mixed queries or without; the last line of results of each counts.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import matplotlib
import numpy as np
from absl import app, flags

from hypertransformer import command
from hypertransformer.errors import InputError
from hypertransformer.evaluation.results import ResultFile, kind
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import CONTINUAL_METHODS

matplotlib.use('Agg')
from matplotlib import pyplot

OUTPUT = flags.DEFINE_string('output', 'continual.png', 'the picture')
REPORT = flags.DEFINE_string(
  'report', None, 'a Markdown file for the tables and the matrix of every run'
)

REPORT_HEAD = """# The continual method, measured

Average accuracy after each task, and for every run the accuracy on the queries of each task (columns) after learning
a task (rows); 95 % intervals over sequences. How the runs were made: README, The continual method. Made by
`python benchmarks/continual.py --report=benchmarks/CONTINUAL.md LOG_DIR ...`
"""
NAMES = dict(
  zip(
    CONTINUAL_METHODS,
    ('continual HyperTransformer', 'constant ProtoNet', 'merged HyperTransformer'),
    strict=True,
  )
)
SUMMARIES = ('forgetting', 'backward_transfer')


@dataclasses.dataclass(frozen=True)
class Run:
  """One evaluated checkpoint. flags: of its training. line: of results.jsonl."""

  flags: dict[str, Any]
  line: dict[str, Any]

  @property
  def found(self) -> dict[str, Any]:
    return self.line['continual']

  @property
  def method(self) -> str:
    return NAMES[self.found['method']] + (', pre-trained features' if self.pretrained else '')

  @property
  def pretrained(self) -> bool:
    return bool(self.flags['restore_shared_features_from'])

  @property
  def scenario(self) -> str:
    return self.found['scenario'].replace('_', '-') + (
      ', mixed queries' if self.found.get('mixed_queries') else ''
    )

  @property
  def setting(self) -> str:
    """What the runs of one panel share."""
    shots = self.flags['samples_transformer'] // self.flags['num_labels']
    trained = self.flags['continual_scenario'].replace('_', '-')
    how = ', mixed queries' if self.flags.get('mixed_queries') else ''
    if self.flags['continual_loss_terms'] == 'last':
      how += ', loss after the last'
    return (
      f'{self.line["dataset"].split(":")[0]}, {self.flags["num_labels"]}-way {shots}-shot, '
      f'{self.flags["default_num_channels"]} channels, trained on {self.flags["num_tasks"]} {trained} '
      f'{"pieces" if self.of_pieces else "tasks"}{how}, {self.line["step"]:,} steps'
    )

  @property
  def of_pieces(self) -> bool:
    return self.found['scenario'] == 'mini_batch'

  @property
  def order(self) -> tuple[Any, ...]:
    """From easy to read to long."""
    return (
      self.flags['num_labels'],
      self.flags['samples_transformer'],
      self.flags['default_num_channels'],
      self.flags['num_tasks'],
      self.line['step'],
      self.setting,
      self.method,
    )


def read(folder: str) -> list[Run]:
  """The last line of each kind of an evaluated log folder. Raises InputError."""
  path = pathlib.Path(folder, 'eval', 'results.jsonl')
  last = {kind(line['continual']): line for line in ResultFile(path).read() if 'continual' in line}
  values = flags_file.read_flags(folder)
  if not last or values is None:
    raise InputError(
      f'{folder} is not the folder of a continual run that has been evaluated ({path}, flags.json): '
      'run scripts/evaluate.sh there first.'
    )
  return [Run(values, line) for line in last.values()]


def table(runs: Sequence[Run]) -> str:
  """Markdown, in %: average accuracy after each task, forgetting and backward transfer."""
  num_tasks = max(run.found['num_tasks'] for run in runs)
  rows = [
    [
      'setting',
      'method',
      'after 1',
      *map(str, range(2, num_tasks + 1)),
      'forgetting',
      'backward transfer',
    ]
  ]
  rows.append(['---'] * len(rows[0]))
  for before, run in zip([None, *runs], runs, strict=False):
    setting = '' if before is not None and before.setting == run.setting else run.setting
    averages = [
      _percent(*pair)
      for pair in zip(
        run.found['average_accuracy'], run.found['average_accuracy_ci95'], strict=True
      )
    ]
    rows.append(
      [
        setting,
        run.method,
        *averages,
        *[''] * (num_tasks - len(averages)),
        *(_percent(run.found[name], run.found[f'{name}_ci95']) for name in SUMMARIES),
      ]
    )
  return _markdown(rows)


def matrix(run: Run) -> str:
  """Markdown, in %: queries of a task (column) after a task (row); of pieces of one task, their
  only column.
  """
  columns = 1 if run.of_pieces else run.found['num_tasks']
  rows = [['after', *(f'task {task}' for task in range(1, columns + 1))]]
  rows.append(['---'] * len(rows[0]))
  for after, pairs in enumerate(zip(run.found['matrix'], run.found['matrix_ci95'], strict=True), 1):
    rows.append([str(after), *(_percent(*pair) for pair in zip(*pairs, strict=True))])
  return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _percent(mean: float | None, ci95: float | None) -> str:
  return '' if mean is None or ci95 is None else f'{100 * mean:.1f} +- {100 * ci95:.1f}'


def draw(runs: Sequence[Run], path: str) -> None:
  """A panel for each setting; a line for each method, dashed where queries know their task, dotted
  where the batches of queries are mixed.
  """
  settings = list(dict.fromkeys(run.setting for run in runs))
  columns = min(len(settings), 3)
  lines = -(-len(settings) // columns)
  figure, panels = pyplot.subplots(
    lines, columns, figsize=(4.2 * columns, 3.4 * lines), sharey=True, squeeze=False
  )
  for setting, panel in zip(settings, panels.flat, strict=False):
    shown: set[str] = set()
    for run in runs:
      if run.setting == setting:
        _draw_run(panel, run, run.method not in shown)
        shown.add(run.method)
    panel.set_title(setting.replace(', trained', ',\ntrained'), fontsize='x-small')
    panel.set_xlabel('tasks learned')
    panel.grid(alpha=0.3)
    panel.legend(
      fontsize='x-small',
      title='dashed: task-incremental, dotted: mixed queries',
      title_fontsize='xx-small',
    )
  for panel in panels[:, 0]:
    panel.set_ylabel('average accuracy, %')
  for panel in panels.flat[len(settings) :]:
    panel.set_axis_off()
  figure.tight_layout()
  figure.savefig(path, dpi=100)


def _draw_run(panel: Any, run: Run, labelled: bool) -> None:
  means, ci95s = (
    100 * np.array(run.found[name]) for name in ('average_accuracy', 'average_accuracy_ci95')
  )
  number = list(NAMES).index(run.found['method']) + len(NAMES) * run.pretrained
  line = (
    '--'
    if run.found['scenario'] == 'task_incremental'
    else ':'
    if run.found.get('mixed_queries')
    else '-'
  )
  panel.errorbar(
    range(1, len(means) + 1),
    means,
    ci95s,
    fmt=f'o{line}',
    markersize=3,
    capsize=2,
    color=f'C{number}',
    label=run.method if labelled else None,
  )
  panel.set_xticks(range(1, len(means) + 1))


def main(folders: list[str]) -> None:
  """Prints a table for each scenario, draws the picture and writes the report."""
  runs = sorted((run for folder in folders for run in read(folder)), key=lambda run: run.order)
  tables, matrices = [], []
  for scenario in dict.fromkeys(run.scenario for run in runs):
    chosen = [run for run in runs if run.scenario == scenario]
    tables.append(f'## {scenario}, average accuracy in %\n\n{table(chosen)}\n')
    matrices += [f'## {scenario}: {run.method}\n{run.setting}\n\n{matrix(run)}\n' for run in chosen]
  print('\n'.join(tables))
  draw(runs, OUTPUT.value)
  if REPORT.value:
    pathlib.Path(REPORT.value).write_text('\n'.join([REPORT_HEAD, *tables, *matrices]))


def _main(argv: list[str]) -> None:
  with command.exit_on_bad_input():
    if len(argv) < 2:
      raise InputError('no folder is given; give those of evaluated runs.')
    main(argv[1:])


if __name__ == '__main__':
  app.run(_main)
