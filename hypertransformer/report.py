"""Prints what the evaluator found, next to chance and a pixel nearest-neighbour baseline:
`python -m hypertransformer.report` with the flags of the training."""

from __future__ import annotations

import dataclasses
import pathlib

from hypertransformer import entry, flags
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluate import baseline
from hypertransformer.evaluate.results import ResultFile, mean_and_ci95
from hypertransformer.evaluate_model import presets_from

BASELINE_TASKS = 200
COLUMNS = '{:<8} {:>9} {:>9} {:>20} {:>20} {:>20}'


def main(values: flags.Values) -> None:
  """Prints a table: a row for each preset of the newest evaluated checkpoint. Raises InputError without results."""
  path = pathlib.Path(values['train_log_dir']) / 'eval' / 'results.jsonl'
  lines = ResultFile(path).read()
  if not lines:
    raise InputError(f'{path} holds no results: run python -m hypertransformer.evaluate_model with the same flags.')
  episodes = dataclasses.replace(flags.episode_config(values), query_samples=values['eval_batch_size'])
  newest = {line['preset']: line for line in sorted(lines, key=lambda line: line['step'])}
  print(f'\n{episodes.num_labels}-way, {episodes.support_samples} support images; 95 % intervals over tasks; '
        'accuracy* leaves out query images that are support images')
  print(COLUMNS.format('classes', 'step', 'chance', 'nearest pixels*', 'accuracy', 'accuracy*'))
  for preset in presets_from(values):
    line = newest.get(preset.name)
    if line is None:
      continue
    near = baseline.nearest_neighbour(EpisodeSampler(preset.class_set, episodes, 0, 0), BASELINE_TASKS)
    print(COLUMNS.format(preset.name, line['step'], f'{100 / episodes.num_labels:.1f} %',
                         _percent(*mean_and_ci95(near)), _percent(line['accuracy'], line['ci95']),
                         _percent(line['accuracy_disjoint'], line['ci95_disjoint'])))


def _percent(mean: float | None, ci95: float | None) -> str:
  if mean is None:
    return '-'
  return f'{100 * mean:.1f} %' if ci95 is None else f'{100 * mean:.1f} +- {100 * ci95:.1f} %'


if __name__ == '__main__':
  entry.run(main)
