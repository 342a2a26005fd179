"""Compares the continual method with its baselines: tables of evaluated runs, and a picture.

  python experiments/continual_tables.py --report=docs/continual_results.md LOG_DIR [LOG_DIR ...]

Each folder is that of a run which has been evaluated by scripts/evaluate.sh, on one preset. It may
have been evaluated in several scenarios, and with mixed queries and without. Of each such kind of
evaluation the last line in results.jsonl counts. The picture has a panel for each setting; the
simpler one in docs/ is drawn by continual_picture.py.
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

from hypertransformer import cli
from hypertransformer.errors import InputError
from hypertransformer.evaluation import results
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import CONTINUAL_METHODS

matplotlib.use('Agg')
from matplotlib import pyplot

OUTPUT = flags.DEFINE_string('output', 'continual.png', 'file of the picture')
REPORT = flags.DEFINE_string(
  'report', None, 'Markdown file for the tables and the matrix of every run; without it, none'
)

# The top of docs/continual_results.md.
REPORT_HEAD = """# The continual method: all tables

Made by `python experiments/continual_tables.py --report=docs/continual_results.md LOG_DIR ...`:
edit that program, not this page. [How the runs were made](continual.md#how-it-was-measured), and
[what the tables say](continual.md#results).

All numbers are in %, with 95 % intervals over sequences. The first part has the average accuracy
after each task, forgetting and backward transfer. The second part has, for every run, the accuracy
on the queries of each task (columns) after learning so many tasks (rows).
"""
# How the methods are called in tables and in the picture.
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
  """One evaluation of a checkpoint.

  Attributes:
    flags: all flags of the training, by name.
    line: what the evaluator wrote: a line of results.jsonl.
  """

  flags: dict[str, Any]
  line: dict[str, Any]

  @property
  def found(self) -> dict[str, Any]:
    """What was found on sequences of tasks: the matrix, averages, forgetting and so on."""
    return self.line['continual']

  @property
  def method(self) -> str:
    """The method as it is called in tables."""
    return NAMES[self.found['method']] + (', pre-trained features' if self.pretrained else '')

  @property
  def pretrained(self) -> bool:
    """Whether the shared features came from another run."""
    return bool(self.flags['restore_shared_features_from'])

  @property
  def scenario(self) -> str:
    """The scenario of the evaluation, which may differ from that of the training."""
    return self.found['scenario'].replace('_', '-') + (
      ', mixed queries' if self.found.get('mixed_queries') else ''
    )

  @property
  def setting(self) -> str:
    """What runs must have in common to be compared: data, CNN, and how they were trained."""
    task = results.task(self.line['measured'])
    trained = self.flags['continual_scenario'].replace('_', '-')
    how = ', mixed queries' if self.flags.get('mixed_queries') else ''
    if self.flags['continual_loss_terms'] == 'last':
      how += ', loss after the last'
    return (
      f'{self.line["dataset"].split(":")[0]}, {task}, '
      f'{self.flags["default_num_channels"]} channels, trained on {self.flags["num_tasks"]} '
      f'{trained} {"pieces" if self.of_pieces else "tasks"}{how}, {self.line["step"]:,} steps'
    )

  @property
  def of_pieces(self) -> bool:
    """Whether the "tasks" of the evaluation are pieces of one support set."""
    return self.found['scenario'] == 'mini_batch'

  @property
  def order(self) -> tuple[Any, ...]:
    """Sort key of the runs: small settings come first."""
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
  """Reads the last result of each evaluation of a run: of all that was measured on.

  Args:
    folder: the --train_log_dir of the run.

  Raises:
    InputError: the run is not continual, or has not been evaluated.
  """
  path = pathlib.Path(folder, 'eval', 'results.jsonl')
  lines = [line for line in results.read(path) if 'continual' in line]
  last = {results.key(line['measured']): line for line in lines}
  values = flags_file.read_flags(folder)
  if not last or values is None:
    raise InputError(
      f'{folder} is not the folder of a continual run that has been evaluated ({path}, '
      'flags.json): run scripts/evaluate.sh there first.'
    )
  return [Run(values, line) for line in last.values()]


def table(runs: Sequence[Run]) -> str:
  """Makes a Markdown table of the average accuracy after each task, and of what was forgotten.

  All numbers are in %, with the half-width of their 95 % intervals.
  """
  length = max(run.found['num_tasks'] for run in runs)
  rows = [
    [
      'setting',
      'method',
      'after 1',
      *map(str, range(2, length + 1)),
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
        *[''] * (length - len(averages)),
        *(_percent(run.found[name], run.found[f'{name}_ci95']) for name in SUMMARIES),
      ]
    )
  return _markdown(rows)


def matrix(run: Run) -> str:
  """Makes a Markdown table of the accuracy on the queries of each task (column) after each (row).

  Pieces of one support set have one set of queries, and so one column. All numbers are in %, with
  the half-width of their 95 % intervals.
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
  """Draws the average accuracy over the number of tasks learned.

  Each setting has a panel, and each run a line with the colour of its method. The line is dashed if
  the evaluation was task-incremental, and dotted if its batches of queries were mixed.

  Args:
    runs: what is drawn.
    path: file of the picture.
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
  """Draws the line of a run; only with `labelled` does it get an entry in the legend."""
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
  """Prints a table for each scenario, draws the picture and, with --report, writes the report."""
  runs = sorted((run for folder in folders for run in read(folder)), key=lambda run: run.order)
  tables, matrices = [], []
  for scenario in dict.fromkeys(run.scenario for run in runs):
    chosen = [run for run in runs if run.scenario == scenario]
    tables.append(f'## {scenario}, average accuracy in %\n\n{table(chosen)}\n')
    matrices.append(f'## {scenario}, accuracy on each task in %\n')
    for before, run in zip([None, *chosen], chosen, strict=False):
      if before is None or before.setting != run.setting:
        matrices.append(f'### {run.setting}\n')
      matrices.append(f'{run.method}:\n\n{matrix(run)}\n')
  print('\n'.join(tables))
  draw(runs, OUTPUT.value)
  if REPORT.value:
    pathlib.Path(REPORT.value).write_text('\n'.join([REPORT_HEAD, *tables, *matrices]))


def _main(argv: list[str]) -> None:
  with cli.exit_on_bad_input():
    if len(argv) < 2:
      raise InputError('no folder is given; give those of evaluated runs.')
    main(argv[1:])


if __name__ == '__main__':
  app.run(_main)
