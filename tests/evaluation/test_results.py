"""Results as lines of results.jsonl and as text."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib

import pytest

from hypertransformer.evaluation.results import Result, ResultFile, SequenceKind

RESULT = Result('logs/model-30', 30, 'val', 'tiny:0-9', 0.5, 0.025, 400, 1600, 0.475, 0.03, 12.5)


def test_a_line_has_exactly_these_keys() -> None:
  assert list(json.loads(RESULT.json())) == [
    'checkpoint',
    'step',
    'preset',
    'dataset',
    'accuracy',
    'ci95',
    'num_tasks',
    'num_queries',
    'accuracy_disjoint',
    'ci95_disjoint',
    'seconds',
  ]
  assert json.loads(RESULT.json())['num_queries'] == 1600


def test_nan_is_null_in_json() -> None:
  line = Result('m', 1, 'val', 'd', 0.5, math.nan, 1, 10, None, None, 0.1).json()
  assert json.loads(line, parse_constant=lambda text: pytest.fail(text))['ci95'] is None


def test_the_text_has_accuracies_and_numbers_of_tasks() -> None:
  assert str(RESULT) == (
    'val: 50.00 +- 2.50 % (47.50 +- 3.00 % without support images), 400 tasks x 1600 queries'
  )
  assert (
    str(Result('m', 1, 'x', 'd', 0.5, 0.1, 2, 10, None, None, 0.1))
    == 'x: 50.00 +- 10.00 %, 2 tasks x 10 queries'
  )


@pytest.fixture
def file(tmp_path: pathlib.Path) -> ResultFile:
  return ResultFile(tmp_path / 'results.jsonl')


def test_what_is_appended_is_read(file: ResultFile) -> None:
  assert file.read() == []
  file.append(RESULT)
  file.append(RESULT)
  assert file.read() == [json.loads(RESULT.json())] * 2
  assert file.path.read_text() == f'{RESULT.json()}\n' * 2


def test_a_line_that_a_crash_cut_off_costs_nothing_else(file: ResultFile) -> None:
  file.append(RESULT)
  with file.path.open('a') as opened:
    opened.write(RESULT.json()[:40])
  assert len(file.read()) == 1
  file.append(RESULT)
  assert file.read() == [json.loads(RESULT.json())] * 2


def test_has_finds_a_result_by_checkpoint_preset_classes_and_sizes(
  file: ResultFile, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  file.append(RESULT)
  assert file.has('logs/model-30', 'val', 'tiny:0-9', 400, 1600)
  monkeypatch.chdir(tmp_path)
  assert file.has(str(tmp_path / 'logs/model-30'), 'val', 'tiny:0-9', 400, 1600)
  for other in (
    ('logs/model-31', 'val', 'tiny:0-9', 400, 1600),
    ('other/model-30', 'val', 'tiny:0-9', 400, 1600),
    ('logs/model-30', 'test', 'tiny:0-9', 400, 1600),
    ('logs/model-30', 'val', 'tiny:0-8', 400, 1600),
    ('logs/model-30', 'val', 'tiny:0-9', 40, 1600),
    ('logs/model-30', 'val', 'tiny:0-9', 400, 160),
    ('logs/model-30', 'val', 'tiny:0-9', 400, 1600, SequenceKind('task_incremental', False, 5)),
  ):
    assert not file.has(*other)


def test_has_tells_kinds_of_sequences_apart(file: ResultFile) -> None:
  """Another scenario, another length, and queries mixed or not are other evaluations."""
  found = {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 5}
  file.append(dataclasses.replace(RESULT, continual=found))
  for of_kind in (
    SequenceKind('class_incremental', False, 5),
    SequenceKind('task_incremental', False, 5),
    SequenceKind('class_incremental', True, 5),
    SequenceKind('class_incremental', False, 3),
    None,
  ):
    assert file.has('logs/model-30', 'val', 'tiny:0-9', 400, 1600, of_kind) == (
      of_kind == tuple(found.values())
    )
