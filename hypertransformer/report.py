"""Prints a table of what the evaluator found, beside chance and a simple baseline.

  python -m hypertransformer.report [the flags of the training]

The baseline gives a query image the label of the support image whose pixels are nearest.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import command

  command.import_tensorflow()

import dataclasses
import pathlib
from typing import Any

from hypertransformer import program
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation import pixel_baseline, sequence_table
from hypertransformer.evaluation.estimates import mean_and_ci95, percent
from hypertransformer.evaluation.presets import Preset, presets_from
from hypertransformer.evaluation.results import ResultFile, kind
from hypertransformer.settings.config import Settings
from hypertransformer.settings.data_config import EpisodeConfig

BASELINE_TASKS = 200  # on which the baseline is measured, for each preset
COLUMNS = '{:<8} {:>9} {:>9} {:>20} {:>20} {:>20}'


def main(settings: Settings) -> None:
  """Prints the results of the newest evaluated checkpoint of each preset.

  Single tasks have a row for each preset. Sequences of tasks have a table for each preset and each
  kind of sequence (its scenario, its length, and whether its batches of queries are mixed).

  Raises:
    InputError: nothing has been evaluated yet.
  """
  path = pathlib.Path(settings.run.log_dir) / 'eval' / 'results.jsonl'
  lines = ResultFile(path).read()
  if not lines:
    raise InputError(
      f'{path} holds no results: run python -m hypertransformer.evaluate_model with the same flags.'
    )
  by_step = sorted(lines, key=lambda line: line['step'])
  newest = {(line['preset'], kind(line.get('continual'))): line for line in by_step}
  found = [
    (preset, line)
    for preset in presets_from(settings.data)
    for (name, _), line in newest.items()
    if name == preset.name
  ]
  episodes = dataclasses.replace(settings.episodes, query_samples=settings.evaluation.batch_size)
  _print_tasks([(preset, line) for preset, line in found if 'continual' not in line], episodes)
  for _, line in found:
    if 'continual' in line:
      print('\n' + sequence_table.text(line, episodes))


def _print_tasks(found: list[tuple[Preset, dict[str, Any]]], episodes: EpisodeConfig) -> None:
  """Prints a row for each preset, and nothing if there is no result for single tasks."""
  if not found:
    return
  print(
    f'\n{episodes.num_labels}-way, {episodes.support_samples} support images; 95 % intervals over '
    'tasks; accuracy* leaves out query images that are support images'
  )
  print(COLUMNS.format('classes', 'step', 'chance', 'nearest pixels*', 'accuracy', 'accuracy*'))
  for preset, line in found:
    near = pixel_baseline.nearest_neighbour(
      EpisodeSampler(preset.class_set, episodes, 0, 0), BASELINE_TASKS
    )
    print(
      COLUMNS.format(
        preset.name,
        line['step'],
        percent(1 / episodes.num_labels),
        percent(*mean_and_ci95(near)),
        percent(line['accuracy'], line['ci95']),
        percent(line['accuracy_disjoint'], line['ci95_disjoint']),
      )
    )


if __name__ == '__main__':
  program.run(main)
