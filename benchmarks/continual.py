"""The continual method beside its baselines: a table of evaluated runs and a picture.

  python benchmarks/continual.py --output=docs/continual.png LOG_DIR [LOG_DIR ...]

Each folder has been evaluated by scripts/evaluate.sh (`--eval_once`), with one preset; its newest checkpoint counts.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from absl import app, flags

from hypertransformer.config import CONTINUAL_METHODS

matplotlib.use('Agg')
from matplotlib import pyplot

OUTPUT = flags.DEFINE_string('output', 'docs/continual.png', 'the picture')

NAMES = dict(zip(CONTINUAL_METHODS, ('continual HyperTransformer', 'constant ProtoNet', 'merged HyperTransformer'),
                 strict=True))


@dataclasses.dataclass(frozen=True)
class Run:
  """One evaluated checkpoint. flags: of its training. found: 'continual' of its line in results.jsonl."""
  flags: dict[str, Any]
  step: int
  found: dict[str, Any]

  @property
  def method(self) -> str:
    return NAMES[self.found['method']]

  @property
  def scenario(self) -> str:
    return self.found['scenario'].replace('_', '-')

  @property
  def setting(self) -> str:
    """What the runs of one table and panel share."""
    shots = self.flags['samples_transformer'] // self.flags['num_labels']
    return (f'{self.flags["num_labels"]}-way {shots}-shot, {self.flags["default_num_channels"]} channels, '
            f'trained on {self.flags["num_tasks"]} tasks, {self.step:,} steps')


def read(folder: str) -> Run:
  """The newest checkpoint of an evaluated log folder."""
  lines = [json.loads(line) for line in (pathlib.Path(folder) / 'eval' / 'results.jsonl').read_text().splitlines()]
  newest = max(lines, key=lambda line: line['step'])
  return Run(json.loads((pathlib.Path(folder) / 'flags.json').read_text()), newest['step'], newest['continual'])


def table(runs: Sequence[Run]) -> str:
  """Markdown: a row for each run of one setting, in %."""
  num_tasks = max(run.found['num_tasks'] for run in runs)
  rows = [['scenario', 'method', 'after 1', *map(str, range(2, num_tasks + 1)), 'forgetting', 'backward transfer']]
  rows.append(['---'] * len(rows[0]))
  for run in sorted(runs, key=lambda run: (run.scenario, run.method)):
    averages = map(_percent, run.found['average_accuracy'], run.found['average_accuracy_ci95'])
    rows.append([run.scenario, run.method, *averages, *[''] * (num_tasks - run.found['num_tasks']), *(
        _percent(run.found[name], run.found[f'{name}_ci95']) for name in ('forgetting', 'backward_transfer'))])
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _percent(mean: float | None, ci95: float) -> str:
  return '' if mean is None else f'{100 * mean:.1f} +- {100 * ci95:.1f}'


def _settings(runs: Sequence[Run]) -> list[str]:
  return list(dict.fromkeys(run.setting for run in runs))


def draw(runs: Sequence[Run], path: str) -> None:
  """A panel for each setting; a line for each method, dashed where queries know their task."""
  settings = _settings(runs)
  columns = min(len(settings), 2)
  lines = -(-len(settings) // columns)
  figure, panels = pyplot.subplots(lines, columns, figsize=(5.5 * columns, 3.8 * lines), sharey=True, squeeze=False)
  for setting, panel in zip(settings, panels.flat, strict=False):
    for run in runs:
      if run.setting == setting:
        _draw_run(panel, run)
    panel.set(title=setting.replace(', trained', ',\ntrained'), xlabel='tasks learned')
    panel.grid(alpha=0.3)
    panel.legend(fontsize='x-small')
  for panel in panels[:, 0]:
    panel.set_ylabel('average accuracy, %')
  for panel in panels.flat[len(settings):]:
    panel.set_axis_off()
  figure.tight_layout()
  figure.savefig(path, dpi=110)


def _draw_run(panel: Any, run: Run) -> None:
  means, ci95s = (100 * np.array(run.found[name]) for name in ('average_accuracy', 'average_accuracy_ci95'))
  panel.errorbar(range(1, len(means) + 1), means, ci95s,
                 fmt='o--' if run.scenario == 'task-incremental' else 'o-', markersize=3, capsize=2,
                 color=f'C{list(NAMES.values()).index(run.method)}', label=f'{run.method}, {run.scenario}')


def main(argv: list[str]) -> None:
  """Prints the table and draws the picture."""
  runs = [read(folder) for folder in argv[1:]]
  for setting in _settings(runs):
    print(f'\n{setting}\n\n{table([run for run in runs if run.setting == setting])}')
  draw(runs, OUTPUT.value)


if __name__ == '__main__':
  app.run(main)
