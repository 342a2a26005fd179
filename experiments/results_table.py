"""Writes the table of the campaign's results into docs/results.md, from experiments/results/:

  python experiments/results_table.py

Of each run it takes the newest evaluated checkpoint. After runs of several seeds (NAME_seed1,
...) stands their mean.
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

from hypertransformer.evaluation.estimates import percent
from hypertransformer.evaluation.results import ResultFile, newest_by_preset

PAGE = ROOT / 'docs/results.md'
RESULTS = ROOT / 'experiments/results'
BEGIN, END = '<!-- campaign: begin -->\n', '<!-- campaign: end -->\n'
HEAD = (
  '| run | steps | val, % | test, % | test without support images, % | CPU hours | against |\n'
  '|---|---|---|---|---|---|---|\n'
)


def newest(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """{preset: line of results.jsonl} of the newest evaluated step of a run.

  Raises InputError if a preset was evaluated in several ways.
  """
  return newest_by_preset(ResultFile(folder / 'results.jsonl').read())


def cell(lines: list[dict[str, Any] | None], field: str, interval: str) -> str:
  """An accuracy with its interval over tasks; of several runs their mean, without an interval."""
  found = [line for line in lines if line and line.get(field) is not None]
  if not found:
    return ''
  if len(lines) == 1:
    return percent(found[0][field], found[0][interval]).removesuffix(' %')
  return f'{100 * sum(line[field] for line in found) / len(found):.1f}'


def row(name: str, folders: list[pathlib.Path]) -> str:
  """The row of one run, or the means of several."""
  found = [newest(folder) for folder in folders]
  about = [json.loads((folder / 'run.json').read_text()) for folder in folders]
  val, test = ([lines.get(preset) for lines in found] for preset in ('val', 'test'))
  steps = next(line['step'] for line in test if line)
  hours = [run['cpu_hours'] for run in about if run['cpu_hours'] is not None]
  cells = [
    name,
    f'{steps:,}',
    cell(val, 'accuracy', 'ci95'),
    cell(test, 'accuracy', 'ci95'),
    cell(test, 'accuracy_disjoint', 'ci95_disjoint'),
    f'{sum(hours):.1f}' if hours else '',
    about[0]['against'],
  ]
  return '| ' + ' | '.join(cells) + ' |\n'


def table() -> str:
  """All runs that have results."""
  runs: dict[str, list[pathlib.Path]] = {}
  for folder in sorted(path.parent for path in RESULTS.glob('*/run.json')):
    runs.setdefault(re.sub(r'_seed\d+$', '', folder.name), []).append(folder)
  rows = []
  for name, folders in runs.items():
    rows += [row(folder.name, [folder]) for folder in folders]
    if len(folders) > 1:
      rows.append(row(f'mean of {len(folders)} seeds of {name}', folders))
  return HEAD + ''.join(rows)


def main(argv: list[str]) -> None:
  """Writes the table between its two marks. Raises ValueError if the page has no such marks."""
  del argv
  page = PAGE.read_text()
  start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
  PAGE.write_text(page[:start] + '\n' + table() + '\n' + page[stop:])
  print(f'wrote {PAGE}')


if __name__ == '__main__':
  app.run(main)
