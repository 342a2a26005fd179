"""Tables of the results on sequences of tasks, as CSV and as text."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.evaluation import sequence_table
from hypertransformer.evaluation.measured import Result, measured_on
from hypertransformer.evaluation.sequence_evaluator import SequenceScores
from hypertransformer.settings import flags
from hypertransformer.settings.config import ContinualConfig

VALUES = flags.defaults() | {
  'train_log_dir': 'logs',
  'num_labels': 5,
  'samples_transformer': 5,
  'balanced_batches': True,
  'num_eval_batches': 1,
  'eval_batch_size': 75,
}


def scores(
  tasks: int = 3,
  seed: int = 0,
  scenario: str = 'class_incremental',
  sequences: int = 50,
  mixed_queries: bool = False,
) -> SequenceScores:
  rng = np.random.default_rng(seed)
  if scenario == 'mini_batch':
    cells = rng.uniform(0.3, 0.6, (sequences, tasks))
  else:
    cells = rng.uniform(0.3, 0.6, (sequences, tasks, tasks))
    cells[:, np.triu_indices(tasks, 1)[0], np.triu_indices(tasks, 1)[1]] = np.nan
  return SequenceScores(
    cells,
    np.full(sequences, 0.25),
    ContinualConfig(scenario, eval_length=tasks, mixed_queries=mixed_queries),
  )


def line(
  found: SequenceScores, step: int = 10, preset: str = 'val, "ö"/x', **values: Any
) -> dict[str, Any]:
  """A result as it is read from results.jsonl."""
  settings = dataclasses.replace(flags.settings_from(VALUES | values), continual=found.continual)
  on = measured_on(settings, 'tiny:0-9', '', 2)
  result = Result(f'model-{step}', 'ab', step, preset, on, seconds=1.5, **found.fields())
  return json.loads(result.json(), parse_constant=lambda text: pytest.fail(text))


def rows(path: pathlib.Path) -> list[dict[str, str]]:
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def test_csv_has_the_numbers_of_the_lines(tmp_path: pathlib.Path) -> None:
  lines = [
    line(scores(seed=1)),
    line(scores(seed=2), preset='test'),
    line(scores(tasks=4, seed=3), step=20),
  ]
  path = tmp_path / 'continual.csv'
  sequence_table.write_csv(path, lines)
  table = rows(path)
  for each in lines:
    found = each['continual']
    own = {
      (row['measure'], row['after_task'], row['task']): row
      for row in table
      if row['checkpoint'] == each['checkpoint'] and row['preset'] == each['preset']
    }
    expected: dict[tuple[str, str, str], tuple[float, float]] = {}
    count = found['num_tasks']
    for t in range(count):
      for tau in range(t + 1):
        expected['accuracy', str(t + 1), str(tau + 1)] = (
          found['matrix'][t][tau],
          found['matrix_ci95'][t][tau],
        )
      expected['average_accuracy', str(t + 1), ''] = (
        found['average_accuracy'][t],
        found['average_accuracy_ci95'][t],
      )
    for name in ('forgetting', 'backward_transfer'):
      expected[name, str(count), ''] = found[name], found[f'{name}_ci95']
    assert {key: (float(row['value']), float(row['ci95'])) for key, row in own.items()} == expected
    assert {row['step'] for row in own.values()} == {str(each['step'])}
  assert len(table) == 2 * (6 + 3 + 2) + 10 + 4 + 2


def test_the_newest_line_of_a_checkpoint_preset_and_kind_counts(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'continual.csv'
  newer = line(scores(seed=2))
  sequence_table.write_csv(path, [line(scores(seed=1)), newer])
  assert [float(row['value']) for row in rows(path) if row['measure'] == 'forgetting'] == [
    newer['continual']['forgetting']
  ]
  assert len(rows(path)) == 6 + 3 + 2


def test_all_kinds_of_a_checkpoint_stay(tmp_path: pathlib.Path) -> None:
  """Kinds differ in the scenario, in the length, and in queries that are mixed or not."""
  path = tmp_path / 'continual.csv'
  lines = [
    line(scores(seed=1)),
    line(scores(seed=2, scenario='task_incremental')),
    line(scores(seed=3, tasks=4)),
    line(scores(seed=4, mixed_queries=True)),
  ]
  sequence_table.write_csv(path, lines)
  forgotten = {
    (row['scenario'], row['mixed_queries'], row['num_tasks']): float(row['value'])
    for row in rows(path)
    if row['measure'] == 'forgetting'
  }
  assert forgotten == {
    tuple(
      str(each['continual'][name]) for name in ('scenario', 'mixed_queries', 'num_tasks')
    ): each['continual']['forgetting']
    for each in lines
  }
  assert len(forgotten) == 4


def test_evaluations_of_other_tasks_have_rows_of_their_own(tmp_path: pathlib.Path) -> None:
  """The columns say what they were; of a line of an older version that is unknown."""
  path = tmp_path / 'continual.csv'
  old = line(scores(seed=3))
  del old['measured'], old['checkpoint_sha256']
  lines = [line(scores(seed=1)), line(scores(seed=2), samples_transformer=25, seed=4), old]
  sequence_table.write_csv(path, lines)
  forgotten = {
    (row['ways'], row['support_images'], row['seed'], row['tasks']): float(row['value'])
    for row in rows(path)
    if row['measure'] == 'forgetting'
  }
  assert forgotten == {
    key: each['continual']['forgetting']
    for key, each in zip(
      [('5', '5', '', '512'), ('5', '25', '4', '512'), ('unknown', 'unknown', 'unknown', '50')],
      lines,
      strict=True,
    )
  }


def test_pieces_have_no_forgetting_and_a_single_sequence_has_no_intervals(
  tmp_path: pathlib.Path,
) -> None:
  path = tmp_path / 'continual.csv'
  found = line(scores(scenario='mini_batch', sequences=1))
  sequence_table.write_csv(path, [found])
  assert [(row['measure'], row['after_task'], row['task'], row['ci95']) for row in rows(path)] == [
    *(('accuracy', str(t), '1', '') for t in (1, 2, 3)),
    *(('average_accuracy', str(t), '', '') for t in (1, 2, 3)),
  ]
  assert [float(row['value']) for row in rows(path)[3:]] == found['continual']['average_accuracy']


def test_without_continual_results_there_is_no_file(tmp_path: pathlib.Path) -> None:
  on = measured_on(flags.settings_from(VALUES), 'tiny:0-9', '', 2)
  ordinary = Result('model-10', 'ab', 10, 'val', on, 0.5, 0.1, 10, None, None, 1.5)
  sequence_table.write_csv(tmp_path / 'continual.csv', [ordinary.line()])
  sequence_table.write_csv(tmp_path / 'continual.csv', [])
  assert list(tmp_path.iterdir()) == []


def test_the_file_is_written_as_a_whole_or_not_at_all(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path = tmp_path / 'continual.csv'
  sequence_table.write_csv(path, [line(scores(seed=1))])
  before = path.read_bytes()

  def fail(source: str, target: str) -> None:
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('os.replace', fail)
  with pytest.raises(InputError, match=r'cannot write .*continual\.csv: No space left on device'):
    sequence_table.write_csv(path, [line(scores(seed=2))])
  assert path.read_bytes() == before
  assert [each.name for each in tmp_path.iterdir()] == ['continual.csv']


@pytest.fixture
def fixed() -> SequenceScores:
  """Two sequences of 2 tasks. The mean accuracies are .9 after the first; .6 and .75 at the end."""
  cells = np.array([[[0.95, np.nan], [0.6, 0.8]], [[0.85, np.nan], [0.6, 0.7]]])
  return SequenceScores(cells, np.array([0.5, np.nan]), ContinualConfig('class_incremental'))


def test_text_has_all_accuracies_with_their_intervals(fixed: SequenceScores) -> None:
  """The half-width of two values is 1.96 * |their difference| / 2."""
  assert sequence_table.text(line(fixed, preset='val'), 9).splitlines() == [
    'val, step 10: continual_hypertransformer, class_incremental, 5-way, '
    '5 support images per task; 95 % intervals over 2 sequences',
    '   after  chance          task 1          task 2         average',
    '       1  20.0 %   90.0 +- 9.8 %                   90.0 +- 9.8 %',
    '       2  10.0 %   60.0 +- 0.0 %   75.0 +- 9.8 %   67.5 +- 4.9 %',
    'after all: 67.5 +- 4.9 % (50.0 % without support images), forgetting 30.0 +- 9.8 %, '
    'backward transfer -30.0 +- 9.8 %',
  ]


def test_text_says_what_was_measured_and_not_what_the_flags_are_today(
  fixed: SequenceScores,
) -> None:
  found = line(fixed, preset='val', num_labels=4, samples_transformer=8)
  head, _, first = sequence_table.text(found, 9, 'seed=3').splitlines()[:3]
  assert '4-way, 8 support images per task' in head
  assert head.endswith('over 2 sequences; seed=3')
  assert first.split()[1] == '25.0'
  del found['measured']
  head, _, first = sequence_table.text(found, 5).splitlines()[:3]
  assert '5-way, unknown support images per task' in head
  assert first.split()[1] == '20.0'


def test_chance_stays_the_same_where_the_task_is_told(fixed: SequenceScores) -> None:
  single = dataclasses.replace(fixed, continual=ContinualConfig('task_incremental'))
  assert [row.split()[1] for row in sequence_table.text(line(single), 9).splitlines()[2:4]] == [
    '20.0',
    '20.0',
  ]


def test_text_of_pieces_has_averages_only() -> None:
  found = SequenceScores(
    np.array([[0.2, 0.4], [0.2, 0.6]]), np.array([np.nan, np.nan]), ContinualConfig('mini_batch')
  )
  assert sequence_table.text(line(found, preset='val'), 9).splitlines()[1:] == [
    '   after  chance         average',
    '       1  20.0 %   20.0 +- 0.0 %',
    '       2  20.0 %  50.0 +- 19.6 %',
    'after all: 50.0 +- 19.6 %',
  ]
