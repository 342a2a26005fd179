"""The file results.jsonl: what is appended is read, whatever else is in it; choices and texts."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import pathlib
import subprocess
import sys
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from hypertransformer.errors import InputError
from hypertransformer.evaluation import results

ON = {
  'dataset': 'tiny:0-9', 'split': '', 'augmentation': {'angle_range': 180.0}, 'ways': 5,
  'support_images': 5, 'unlabeled_per_class': 0, 'query_images': 1600, 'tasks': 400,
  'query_statistics': 'batch',
  'seed': None, 'sequence': None,
}  # fmt: skip
LINE = {
  'checkpoint': 'model-30', 'checkpoint_sha256': 'ab', 'step': 30, 'preset': 'val',
  'dataset': 'tiny:0-9', 'accuracy': 0.5, 'ci95': 0.025, 'num_tasks': 400, 'num_queries': 1600,
  'accuracy_disjoint': None, 'ci95_disjoint': None, 'seconds': 12.5, 'measured': ON,
}  # fmt: skip
CONTINUAL = {
  'scenario': 'class_incremental', 'method': 'constant_protonet', 'mixed_queries': False,
  'num_tasks': 2, 'matrix': [[0.5, None], [0.5, 0.75]], 'matrix_ci95': [[0.5, None], [0.5, None]],
  'average_accuracy': [0.5, 0.625], 'average_accuracy_ci95': [0.1, None],
  'forgetting': 0.1, 'forgetting_ci95': None,
  'backward_transfer': 0.1, 'backward_transfer_ci95': 0.25,
}  # fmt: skip
SEQUENCE = {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 2}
SEQUENCES = LINE | {'measured': ON | {'sequence': SEQUENCE}, 'continual': CONTINUAL}

CLASSES = {
  'class': [3, 5], 'name': ['a', None], 'tasks': [4, 0], 'queries': [8, 0],
  'accuracy': [0.5, None], 'ci95': [0.1, None],
}  # fmt: skip
PAIRS = {'true': [3], 'predicted': [5], 'count': [1], 'available': [8], 'tasks': [4]}
PER_CLASS = {'classes': CLASSES, 'pairs': PAIRS, 'num_pairs': 1}


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
  return results.file_of(tmp_path / 'logs')


def test_what_is_appended_is_read(path: pathlib.Path) -> None:
  """NaN, which JSON does not know, becomes null."""
  assert results.read(path) == []
  matrix = [[0.5, math.nan], [0.5, 0.75]]
  results.append(path, SEQUENCES | {'ci95': math.nan, 'continual': CONTINUAL | {'matrix': matrix}})
  results.append(path, LINE | {'step': 40, 'per_class': PER_CLASS})
  first, second = results.read(path)
  assert (first['ci95'], first['continual']) == (None, CONTINUAL)
  assert second == LINE | {'step': 40, 'per_class': PER_CLASS}
  assert 'NaN' not in path.read_text()


@hypothesis.settings(
  max_examples=50, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(before=strategies.binary(), between=strategies.binary())
def test_whatever_bytes_there_are_results_are_kept(
  path: pathlib.Path, before: bytes, between: bytes
) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(before)
  results.append(path, LINE)
  with path.open('ab') as file:
    file.write(between)
  results.append(path, LINE)
  assert results.read(path) == [LINE] * 2


@pytest.mark.parametrize(
  'text',
  [
    'null',
    '[' * 100_000,
    json.dumps(LINE)[:-9],
    *(
      json.dumps(LINE | changes)
      for changes in (
        {'step': '30'},
        {'step': 10**30},
        {'step': -1},
        {'accuracy': None},
        {'accuracy': 3.0},
        {'ci95': 'x'},
        {'accuracy_disjoint': []},
        {'measured': 1},
        {'measured': {}},
        {'measured': ON | {'ways': 0}},
        {'measured': ON | {'sequence': {}}},
        {'measured': SEQUENCES['measured']},
        {'continual': CONTINUAL},
        {'per_class': None},
        {'per_class': PER_CLASS | {'classes': []}},
        {'per_class': PER_CLASS | {'classes': CLASSES | {'name': [1, None]}}},
        {'per_class': PER_CLASS | {'classes': CLASSES | {'accuracy': [math.nan, None]}}},
        {'per_class': PER_CLASS | {'classes': CLASSES | {'tasks': [4]}}},
        {'per_class': PER_CLASS | {'pairs': PAIRS | {'count': [-1]}}},
      )
    ),
    *(
      json.dumps(SEQUENCES | {'continual': CONTINUAL | changes})
      for changes in (
        {'matrix': [[0.5], [0.5, 0.75]]},
        {'matrix_ci95': [[0.5, None]]},
        {'average_accuracy': ['x', 0.5]},
        {'average_accuracy_ci95': []},
        {'forgetting': {}},
        {'scenario': None},
      )
    ),
  ],
  ids=lambda text: text[-12:],
)
def test_a_malformed_line_is_skipped_with_a_warning(
  path: pathlib.Path, warnings: list[str], text: str
) -> None:
  results.append(path, LINE)
  with path.open('a') as file:
    file.write(text)
  results.append(path, LINE)
  assert results.read(path) == [LINE] * 2
  assert warnings == [f'{path}: skipping 1 malformed lines.']


def test_a_line_from_before_there_were_query_statistics_is_of_the_batch(path: pathlib.Path) -> None:
  old = {name: value for name, value in ON.items() if name != 'query_statistics'}
  results.append(path, LINE | {'measured': old})
  assert results.read(path) == [LINE]


def test_a_full_disk_leaves_the_file_as_it_was(
  path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  results.append(path, LINE)
  before = path.read_bytes()

  def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='No space left'):
    results.append(path, LINE)
  assert path.read_bytes() == before


def test_a_file_that_cannot_be_read_is_an_error(path: pathlib.Path) -> None:
  path.mkdir(parents=True)
  with pytest.raises(InputError, match=str(path)):
    results.read(path)


def test_reading_needs_no_tensorflow() -> None:
  program = 'import sys, hypertransformer.evaluation.results; sys.exit("tensorflow" in sys.modules)'
  subprocess.run([sys.executable, '-c', program], check=True)


def test_the_latest_result_of_all_that_was_measured_on() -> None:
  five_shot = ON | {'support_images': 25}
  lines = [
    LINE | {'step': step, 'measured': on, 'seconds': seconds}
    for step, on, seconds in (
      (30, ON, 1.0), (20, ON, 2.0), (20, five_shot, 3.0), (30, ON, 4.0), (10, five_shot, 5.0),
    )
  ]  # fmt: skip
  assert sorted(line['seconds'] for line in results.latest(lines)) == [3.0, 4.0]


@pytest.mark.parametrize(
  ('changes', 'text'),
  [
    ({}, '5-way 1-shot'),
    ({'support_images': 7}, '5-way, 7 support images'),
    (
      {'support_images': 15, 'unlabeled_per_class': 1},
      '5-way 2-shot, 1 more per class without label',
    ),
  ],
)
def test_tasks_are_described(changes: dict[str, Any], text: str) -> None:
  assert results.task(ON | changes) == text


def test_differences_are_described() -> None:
  changed = {'seed': 1, 'sequence': {'scenario': 'mini_batch', 'num_tasks': 3}}
  assert results.differences([ON, ON | changed]) == [
    'seed=none, sequence=none',
    'seed=1, sequence=scenario=mini_batch num_tasks=3',
  ]
  assert results.differences([ON, ON | {'support_images': 25}]) == ['', '']
  assert results.differences([]) == []
  assert results.key(ON) == results.key(dict(reversed(ON.items())))


def test_the_table_has_a_row_for_each_number_on_sequences() -> None:
  """Of several results that are about the same, the last one counts."""
  lines = [
    LINE,
    LINE | {'continual': CONTINUAL | {'forgetting': 0.5}},
    LINE | {'continual': CONTINUAL},
    LINE | {'preset': 'a, "b"', 'continual': CONTINUAL},
    LINE | {'measured': ON | {'seed': 3}, 'continual': CONTINUAL},
  ]
  rows = list(csv.DictReader(io.StringIO(results.continual_table(lines))))
  assert len(rows) == 3 * (3 + 2 + 2)
  assert [
    (row['measure'], row['after_task'], row['task'], row['value'], row['ci95']) for row in rows[:7]
  ] == [
    ('accuracy', '1', '1', '0.5', '0.5'),
    ('accuracy', '2', '1', '0.5', '0.5'),
    ('accuracy', '2', '2', '0.75', ''),
    ('average_accuracy', '1', '', '0.5', '0.1'),
    ('average_accuracy', '2', '', '0.625', ''),
    ('forgetting', '2', '', '0.1', ''),
    ('backward_transfer', '2', '', '0.1', '0.25'),
  ]
  assert [(row['preset'], row['seed']) for row in rows[::7]] == [
    ('val', ''), ('a, "b"', ''), ('val', '3'),
  ]  # fmt: skip
  assert (rows[0]['scenario'], rows[0]['augmentation']) == ('class_incremental', 'angle_range=180')
  assert results.continual_table([LINE]) == ''
