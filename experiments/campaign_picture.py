"""Draws the learning curves of Omniglot 1-shot from experiments/results:

  python experiments/campaign_picture.py --output=docs/omniglot_1shot.png

Accuracy on test episodes during training, in windows of 10,000 steps (2,000 for the first 20,000),
of our runs with and without normalised features, and of the original's run (docs/results.md).
"""

from __future__ import annotations

import csv
import json
import pathlib
import sys

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer.reports.tables import PUBLISHED

OUTPUT = flags.DEFINE_string('output', str(ROOT / 'docs/omniglot_1shot.png'), 'the picture')
RESULTS = ROOT / 'experiments/results'
WINDOW = 5  # rows of curve.csv, 2,000 steps each
# The original, one run: middle of the window in thousands of steps, accuracy of test episodes in %.
ORIGINAL = {
  2: 13.3, 6: 35.4, 10: 64.2, 14: 71.7, 18: 70.4, 22: 74.5, 26: 75.4, 30: 77.7, 35: 78.7, 45: 79.2,
  55: 80.7, 65: 81.2, 75: 82.4, 85: 82.6, 95: 84.6, 105: 83.4, 115: 83.8, 125: 85.5,
}  # fmt: skip
# Colours that colour-blind people can tell apart (Okabe and Ito).
SEEDS = {  # of the left panel
  'omniglot_1shot_20k_v1': ('#D55E00', 'v1, three seeds'),
  'omniglot_1shot_20k_normalised': ('#0072B2', 'the same, normalised features'),
}
LONG = {  # of the right panel
  'omniglot_1shot_16_v2': ('#009E73', 'v2 with 16 channels'),
  'omniglot_1shot_v2_500k': ('#0072B2', 'v2, to 500,000 steps'),
  'omniglot_1shot_v2': ('#56B4E9', 'v2, to 200,000 steps'),
  'omniglot_1shot_v1': ('#D55E00', 'v1'),
}


def curve(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Middles of windows in thousands of steps, and the accuracy of test episodes in %."""
  with (folder / 'curve.csv').open() as file:
    rows = np.array([[float(row[0]), float(row[2])] for row in list(csv.reader(file))[1:]])
  if len(rows) > 2 * WINDOW:
    rows = rows[: len(rows) // WINDOW * WINDOW].reshape(-1, WINDOW, 2).mean(1)
  return (rows[:, 0] - 1000) / 1000, rows[:, 1]


def main(argv: list[str]) -> None:
  """Draws the picture."""
  del argv
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
  for kind, (colour, label) in SEEDS.items():
    for number, folder in enumerate(sorted(RESULTS.glob(f'{kind}_seed*'))):
      left.plot(*curve(folder), color=colour, label='' if number else label)
  papers = {}  # by channels
  for name, (colour, label) in LONG.items():
    right.plot(*curve(RESULTS / name), color=colour, label=label)
    values = json.loads((RESULTS / name / 'flags.json').read_text())
    papers[values['default_num_channels']] = PUBLISHED[
      'omniglot', 20, 1, values['default_num_channels'], 0
    ]
  for channels, paper in papers.items():
    value = 100 * paper
    right.axhline(value, color='0.5', linestyle=':', zorder=1)  # behind the curves
    right.annotate(
      f'the paper,\n{channels} channels',
      (1.01, value),  # right of the panel
      xycoords=('axes fraction', 'data'),
      va='center',
      fontsize=9,
      color='0.4',
    )
  for panel, last in ((left, 20), (right, 1000)):
    points = {step: value for step, value in ORIGINAL.items() if step <= last}
    panel.plot(list(points), list(points.values()), 'k--', label='the original')
    panel.set_xlabel('training steps, thousands')
    panel.spines[['top', 'right']].set_visible(False)
    panel.legend(loc='lower right', frameon=False)
  left.set(ylabel='accuracy on test episodes, %', ylim=(0, 90), title='The first 20,000 steps')
  right.set(ylim=(60, 97), xlim=0, title='Longer runs, one each (the scale differs)')
  figure.savefig(OUTPUT.value, dpi=110)
  print(f'wrote {OUTPUT.value}')


if __name__ == '__main__':
  app.run(main)
