"""Draws the picture of the continual method from the tables in docs/continual_results.md.

  python experiments/continual_picture.py --output=docs/continual.png

It shows one thing. If the task of a query is told, nothing is forgotten. Among all classes so far
the accuracy falls, because there are more and more of them, and it does so for the baseline too.
"""

from __future__ import annotations

import pathlib
import re

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLES = flags.DEFINE_string('tables', str(ROOT / 'docs/continual_results.md'), 'file of tables')
OUTPUT = flags.DEFINE_string('output', str(ROOT / 'docs/continual.png'), 'file of the picture')
SETTING = flags.DEFINE_string(
  'setting',
  'omniglot, 5-way 1-shot, 8 channels, trained on 3 class-incremental tasks, 30,000 steps',
  'setting whose rows are drawn, as it stands in the tables',
)
# Colours that colour-blind people can tell apart (Okabe and Ito).
METHODS = {'continual HyperTransformer': ('#0072B2', 'o-'), 'constant ProtoNet': ('#D55E00', 's--')}
SCENARIOS = {
  'task-incremental': 'the task is told: nothing is forgotten',
  'class-incremental': 'among all classes so far',
  'class-incremental, mixed queries': 'the same, batches of queries mixed',
}
WAYS = 5  # classes of a task, in the setting that is drawn


def rows(text: str, scenario: str, setting: str) -> dict[str, np.ndarray]:
  """Reads the rows of one setting in the table of average accuracies of one scenario.

  Args:
    text: the content of docs/continual_results.md.
    scenario: the scenario, as it stands in the heading of the table.
    setting: the setting, as it stands in the first column.

  Returns:
    For each method its average accuracy after 1, 2, ... tasks, in %, [T].

  Raises:
    ValueError: there are no such rows.
  """
  table = text.split(f'## {scenario}, average accuracy in %\n', 1)[1].split('\n## ', 1)[0]
  found, current = {}, ''
  for line in table.splitlines():
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    if len(cells) < 9 or not re.match(r'[\d.]+ \+-', cells[2]):
      continue
    current = cells[0] or current
    if current == setting:
      found[cells[1]] = np.array([float(cell.split()[0]) for cell in cells[2:-2]])
  if not found:
    raise ValueError(f'{TABLES.value} has no rows of {setting!r} under {scenario!r}.')
  return found


def draw(text: str) -> None:
  """Draws the picture; `text` is the content of docs/continual_results.md."""
  figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
  for scenario, label in SCENARIOS.items():
    found = rows(text, scenario, SETTING.value)
    for method, (colour, style) in METHODS.items():
      tasks = np.arange(1, len(found[method]) + 1)
      axes.plot(tasks, found[method], style, color=colour, markersize=5)
    top = max(values[-1] for values in found.values())
    axes.annotate(label, (len(tasks) + 0.1, top), va='center', fontsize=9)
  axes.plot(tasks, 100 / (WAYS * tasks), ':', color='0.5')
  axes.annotate('chance among all classes', (len(tasks) + 0.1, 100 / (WAYS * tasks[-1])),
                va='center', fontsize=9, color='0.4')  # fmt: skip
  for height, (method, (colour, style)) in zip((31, 24), METHODS.items(), strict=True):
    axes.plot([1, 1.3], [height, height], style, color=colour, markersize=5)
    axes.annotate(method, (1.4, height), va='center', fontsize=9, color=colour)
  axes.set(xlim=(0.8, len(tasks) + 2.6), ylim=(0, 100), xticks=tasks)
  axes.set_xlabel('tasks learned, 5 new classes each')
  axes.set_ylabel('average accuracy, %')
  axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(OUTPUT.value, dpi=150)


def main(argv: list[str]) -> None:
  """Reads the tables and draws the picture."""
  del argv
  draw(pathlib.Path(TABLES.value).read_text())
  print(f'wrote {OUTPUT.value}')


if __name__ == '__main__':
  app.run(main)
