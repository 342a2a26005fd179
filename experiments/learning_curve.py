"""Compares learning curves of Omniglot 1-shot runs with the original's: a table and a picture.

  python experiments/learning_curve.py --output=learning_curve.png LOG_DIR [LOG_DIR ...]

Accuracies are means over windows of 4,000 steps. Those of the original are of one run
(docs/results.md).
"""

from __future__ import annotations

import pathlib

import matplotlib
import numpy as np
from absl import app, flags
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

matplotlib.use('Agg')
from matplotlib import pyplot

OUTPUT = flags.DEFINE_string('output', 'learning_curve.png', 'file of the picture')

WINDOW = 4000  # steps
# The original's mean accuracy in each window, in %.
ORIGINAL = {
  'accuracy/accuracy': (11.6, 37.5, 60.5, 69.5, 70.7),
  'accuracy/test_accuracy': (13.3, 35.4, 64.2, 71.7, 70.4),
}
TITLES = {'accuracy/accuracy': 'training episodes', 'accuracy/test_accuracy': 'test episodes'}


def window_means(folder: str, tag: str, window_steps: int = WINDOW) -> np.ndarray:
  """Returns the mean of an accuracy over each full window of steps, in %; NaN if it has none.

  Args:
    folder: the --train_log_dir of a run.
    tag: the tag of the accuracy in TensorBoard.
    window_steps: steps of a window.
  """
  events = EventAccumulator(str(pathlib.Path(folder) / 'train'), size_guidance={'scalars': 0})
  events.Reload()
  scalars = events.Scalars(tag)
  windows = (np.array([event.step for event in scalars]) - 1) // window_steps
  values = np.array([event.value for event in scalars])
  full = int(max(event.step for event in scalars)) // window_steps
  inside = [values[windows == window] for window in range(full)]
  return np.array([100 * each.mean() if each.size else np.nan for each in inside])


def main(argv: list[str]) -> None:
  """Prints the table and draws the picture, for the folders after the name of the program."""
  figure, panels = pyplot.subplots(1, len(TITLES), figsize=(10, 4), sharey=True)
  for (tag, title), panel in zip(TITLES.items(), panels, strict=True):
    runs = [window_means(folder, tag) for folder in argv[1:]]
    shortest = min(map(len, runs))
    print(
      f'\n{title}, % over windows of {WINDOW} steps\n'
      + 'steps up to'
      + ''.join(f'{WINDOW * (window + 1):>9}' for window in range(shortest))
    )
    for name, means in [
      *((pathlib.Path(folder).name, run) for folder, run in zip(argv[1:], runs, strict=True)),
      ('mean', np.mean([run[:shortest] for run in runs], axis=0)),
      ('original', ORIGINAL[tag]),
    ]:
      print(f'{name:<11}' + ''.join(f'{mean:>9.1f}' for mean in means[:shortest]))
    for folder, run in zip(argv[1:], runs, strict=True):
      panel.plot(
        WINDOW * (np.arange(len(run)) + 0.5), run, marker='o', label=pathlib.Path(folder).name
      )
    panel.plot(
      WINDOW * (np.arange(len(ORIGINAL[tag])) + 0.5),
      ORIGINAL[tag],
      'k--',
      marker='s',
      label='original',
    )
    panel.set(title=f'Omniglot 20-way 1-shot, 8 channels: {title}', xlabel='training step')
    panel.grid(alpha=0.3)
  panels[0].set_ylabel('accuracy, %')
  panels[0].legend()
  figure.tight_layout()
  figure.savefig(OUTPUT.value, dpi=110)


if __name__ == '__main__':
  app.run(main)
