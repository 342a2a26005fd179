"""Lines of results.jsonl, means and intervals."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

from hypertransformer.evaluation.estimates import mean_and_ci95
from hypertransformer.evaluation.results import Result, ResultFile

RESULT = Result('logs/model-30', 30, 'val', 'tiny:0-9', 0.5, 0.025, 400, 1600, 0.475, 0.03, 12.5)


def test_mean_and_interval_by_hand() -> None:
  """Deviations -1, 0, 0, 1 of 1/2: s = sqrt(2 / 3) / 2; half-width 1.96 s / sqrt(4)."""
  mean, ci95 = mean_and_ci95([0.0, 0.5, 0.5, 1.0])
  assert mean == 0.5
  assert ci95 == pytest.approx(1.959964 * math.sqrt(2 / 3) / 2 / 2)


def test_the_interval_holds_the_true_mean_in_95_of_100_cases() -> None:
  rng = np.random.default_rng(0)
  cases = [mean_and_ci95(rng.binomial(20, 0.7, 200) / 20) for _ in range(2000)]
  assert np.mean([abs(mean - 0.7) <= ci95 for mean, ci95 in cases]) == pytest.approx(0.95, abs=0.02)


def test_single_precision_does_not_matter() -> None:
  values: np.ndarray = np.full(3000, 0.1, np.float32)
  assert mean_and_ci95(values) == (pytest.approx(0.1, abs=1e-8), pytest.approx(0.0, abs=1e-8))


def test_the_interval_of_a_single_task() -> None:
  mean, ci95 = mean_and_ci95([0.25])
  assert mean == 0.25
  assert math.isnan(ci95)


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


def test_not_a_number_is_null_in_json() -> None:
  line = Result('m', 1, 'val', 'd', 0.5, math.nan, 1, 10, None, None, 0.1).json()
  assert json.loads(line, parse_constant=lambda text: pytest.fail(text))['ci95'] is None


def test_as_text() -> None:
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


def test_append_and_read(file: ResultFile) -> None:
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


def test_has(file: ResultFile, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ('logs/model-30', 'val', 'tiny:0-9', 400, 1600, ('task_incremental', False, 5)),
  ):
    assert not file.has(*other)


def test_has_of_sequences(file: ResultFile) -> None:
  """Another scenario, batches mixed or not, another length are other evaluations."""
  found = {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 5}
  file.append(dataclasses.replace(RESULT, continual=found))
  for of_kind in (
    ('class_incremental', False, 5),
    ('task_incremental', False, 5),
    ('class_incremental', True, 5),
    ('class_incremental', False, 3),
    (),
  ):
    assert file.has('logs/model-30', 'val', 'tiny:0-9', 400, 1600, of_kind) == (
      of_kind == tuple(found.values())
    )
