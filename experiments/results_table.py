"""Writes the tables of the campaign's results into docs/results.md, from experiments/results/:

  python experiments/results_table.py

Of each run it takes the newest evaluated checkpoint. Runs of several seeds (NAME_seed1, ...) have
one row. The search, runs that differ from one in one change, has a table of its own, and so have
the checkpoints that were evaluated on the way of long runs (checkpoints.jsonl, lines of the
evaluator).
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from typing import Any

from absl import app

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer.evaluation import results
from hypertransformer.evaluation.metrics import percent
from hypertransformer.evaluation.results import newest_by_preset
from hypertransformer.settings.flags import defaults
from hypertransformer.settings.flags_file import facts

from runs import RUNS  # isort: skip  (beside this file)

PAGE = ROOT / 'docs/results.md'
RESULTS = ROOT / 'experiments/results'
# Flags that say which run it is, and not how it learns.
RUN = ('data_numpy_dir', 'train_log_dir', 'train_steps', 'seed', 'steps_between_saves')
SEARCH = 'search_'  # with this the names of the search's runs begin
HEAD = (
  '| run | steps | cooldown | val, % | test, % | test without support images, % | CPU hours '
  '| against |\n'
  '|---|---|---|---|---|---|---|---|\n'
)


def newest(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """{preset: line of results.jsonl} of the newest evaluated step of a run.

  Raises InputError if a preset was evaluated in several ways.
  """
  return newest_by_preset(results.read(folder / 'results.jsonl'))


def cell(
  lines: list[dict[str, Any] | None], field: str, interval: str, each_too: bool = False
) -> str:
  """An accuracy with its interval over tasks; of several runs their mean, and each too."""
  found = [line for line in lines if line and line.get(field) is not None]
  if not found:
    return ''
  if len(lines) == 1:
    return percent(found[0][field], found[0][interval]).removesuffix(' %')
  if not each_too:
    return f'{mean(found, field):.1f}'
  each = ', '.join(f'{100 * line[field]:.1f}' for line in found)
  widest = max(line[interval] for line in found)
  return f'{mean(found, field):.1f} ({each}; each +- {100 * widest:.1f})'


def cooldown(folder: pathlib.Path) -> str:
  """The part of the run in which its learning rate fell to 0, in %; '' if there was none."""
  part = flags_of(folder)['learning_rate_cooldown']
  return f'{100 * part:.0f} %' if part else ''


def row(name: str, folders: list[pathlib.Path]) -> str:
  """The row of one run, or the means of several."""
  found = [newest(folder) for folder in folders]
  about = [json.loads((folder / 'run.json').read_text()) for folder in folders]
  val, test = ([lines.get(preset) for lines in found] for preset in ('val', 'test'))
  against = {run.name: run.against for run in RUNS}  # may have been put better since
  steps = next(line['step'] for line in test if line)
  hours = [run['cpu_hours'] for run in about if run['cpu_hours'] is not None]
  cells = [
    name,
    f'{steps:,}',
    cooldown(folders[0]),
    cell(val, 'accuracy', 'ci95'),
    cell(test, 'accuracy', 'ci95', each_too=True),
    cell(test, 'accuracy_disjoint', 'ci95_disjoint'),
    f'{sum(hours):.1f}' if hours else '',
    against.get(folders[0].name, about[0]['against']),
  ]
  return '| ' + ' | '.join(cells) + ' |\n'


def runs() -> dict[str, list[pathlib.Path]]:
  """The folders of all runs that have results, by the name without its seed."""
  found: dict[str, list[pathlib.Path]] = {}
  for folder in sorted(path.parent for path in RESULTS.glob('*/run.json')):
    found.setdefault(re.sub(r'_seed\d+$', '', folder.name), []).append(folder)
  return found


def table() -> str:
  """All runs that have results, but for those of the search."""
  rows = []
  for name, folders in runs().items():
    if name.startswith(SEARCH):
      continue
    seeds = f'{name}, mean of {len(folders)} seeds'
    rows.append(row(folders[0].name if len(folders) == 1 else seeds, folders))
  return HEAD + ''.join(rows)


def flags_of(folder: pathlib.Path) -> dict[str, Any]:
  """The flags of a run by name; one that is younger than the run was at its default."""
  return defaults() | json.loads((folder / 'flags.json').read_text())


def own_flags(folder: pathlib.Path) -> list[str]:
  """The flags in which a run of the search differs from the run without a change."""
  base, own = flags_of(RESULTS / f'{SEARCH}none_seed1'), flags_of(folder)
  return [f'--{name}={own[name]}' for name in base if base[name] != own[name] and name not in RUN]


def mean(lines: list[dict[str, Any]], field: str = 'accuracy') -> float:
  """The mean accuracy of some lines, in %."""
  return 100 * sum(line[field] for line in lines) / len(lines)


def search_table() -> str:
  """The search, sorted by the mean accuracy on val, which is what may choose between changes."""
  rows = []
  for name, folders in runs().items():
    if not name.startswith(SEARCH):
      continue
    val, test = ([newest(folder)[preset] for folder in folders] for preset in ('val', 'test'))
    accuracies = ', '.join(
      percent(line['accuracy'], line['ci95']).removesuffix(' %') for line in test
    )
    flags_text = ' '.join(f'`{flag}`' for flag in own_flags(folders[0])) or 'none'
    cells = [
      flags_text,
      f'{test[0]["step"]:,}',
      f'{mean(val):.1f}',
      accuracies,
      f'{mean(test):.1f}',
    ]
    rows.append((mean(val), '| ' + ' | '.join(cells) + ' |\n'))
  head = (
    '| change | updates | val, % | test, %, seed by seed | test, mean |\n|---|---|---|---|---|\n'
  )
  return head + ''.join(text for _, text in sorted(rows, reverse=True))


def checkpoints_table() -> str:
  """Checkpoints on the way of long runs, before their cooldown if they have one."""
  rows = ['| run | steps | val, % | test, % |\n|---|---|---|---|\n']
  for file in sorted(RESULTS.glob('*/checkpoints.jsonl')):
    by_step: dict[int, dict[str, dict[str, Any]]] = {}
    cooldown_from = facts(flags_of(file.parent)).cooldown_from
    for line in results.read(file):
      if line['step'] <= cooldown_from:
        by_step.setdefault(line['step'], {})[line['preset']] = line
    for step, found in sorted(by_step.items()):
      val, test = (cell([found.get(preset)], 'accuracy', 'ci95') for preset in ('val', 'test'))
      rows.append(f'| {file.parent.name} | {step:,} | {val} | {test} |\n')
  return ''.join(rows)


def between(page: str, name: str, content: str) -> str:
  """The page with this content between the marks of `name`; ValueError if it has no such marks."""
  begin, end = f'<!-- {name}: begin -->\n', f'<!-- {name}: end -->\n'
  start, stop = page.index(begin) + len(begin), page.index(end)
  return page[:start] + '\n' + content + '\n' + page[stop:]


def with_tables(page: str) -> str:
  """The page with the tables between their marks."""
  tables = {'campaign': table(), 'checkpoints': checkpoints_table(), 'search': search_table()}
  for name, content in tables.items():
    page = between(page, name, content)
  return page


def main(argv: list[str]) -> None:
  """Writes the tables between their marks."""
  del argv
  PAGE.write_text(with_tables(PAGE.read_text()))
  print(f'wrote {PAGE}')


if __name__ == '__main__':
  app.run(main)
