"""Results as lines of results.jsonl and as text."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import pathlib
import subprocess
import sys

import hypothesis
import pytest
from absl import logging
from hypothesis import strategies

from hypertransformer.errors import InputError
from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import Result, ResultFile
from hypertransformer.settings import flags

SETTINGS = flags.settings_from(
  flags.defaults() | {'train_log_dir': 'logs', 'num_task_evals': 400, 'eval_batch_size': 100}
)
ON = measured.measured_on(SETTINGS, 'tiny:0-9', '', 2)
RESULT = Result('model-30', 'ab' * 32, 30, 'val', ON, 0.5, 0.025, 400, 0.475, 0.03, 12.5)
# A line as it was written before there was `measured`.
OLD = {
  'checkpoint': 'logs/model-30', 'step': 30, 'preset': 'val', 'dataset': 'tiny:0-9',
  'accuracy': 0.5, 'ci95': 0.025, 'num_tasks': 400, 'num_queries': 1600,
  'accuracy_disjoint': None, 'ci95_disjoint': None, 'seconds': 12.5,
}  # fmt: skip
CONTINUAL = {
  'scenario': 'class_incremental', 'method': 'constant_protonet', 'mixed_queries': False,
  'num_tasks': 2, 'matrix': [[0.5, None], [0.5, 0.75]], 'matrix_ci95': [[0.5, None], [0.5, None]],
  'average_accuracy': [0.5, 0.625], 'average_accuracy_ci95': [0.1, None],
  'forgetting': 0.1, 'forgetting_ci95': None,
  'backward_transfer': 0.1, 'backward_transfer_ci95': 0.25,
}  # fmt: skip


def test_a_line_has_exactly_these_keys() -> None:
  line = json.loads(RESULT.json())
  assert list(line) == [
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
    'checkpoint_sha256',
    'measured',
  ]
  assert (line['dataset'], line['num_queries']) == ('tiny:0-9', 1600)


def test_nan_is_null_in_json() -> None:
  line = dataclasses.replace(RESULT, ci95=math.nan).json()
  assert json.loads(line, parse_constant=lambda text: pytest.fail(text))['ci95'] is None


def test_the_text_has_accuracies_and_numbers_of_tasks() -> None:
  assert str(RESULT) == (
    'val: 50.00 +- 2.50 % (47.50 +- 3.00 % without support images), 400 tasks x 1600 queries'
  )
  without = dataclasses.replace(RESULT, accuracy_disjoint=None, ci95_disjoint=None)
  assert str(without) == 'val: 50.00 +- 2.50 %, 400 tasks x 1600 queries'


def test_reading_needs_no_tensorflow() -> None:
  code = (
    'import sys\n'
    'from hypertransformer.evaluation import measured, places, results\n'
    'print("tensorflow" in sys.modules)'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert done.stdout == 'False\n'


@pytest.fixture
def file(tmp_path: pathlib.Path) -> ResultFile:
  return ResultFile(tmp_path / 'eval' / 'results.jsonl')


def test_what_is_appended_is_read(file: ResultFile) -> None:
  assert file.read() == []
  file.append([RESULT])
  file.append([RESULT, RESULT])
  assert file.read() == [json.loads(RESULT.json())] * 3
  assert file.read() == [RESULT.line()] * 3
  assert file.path.read_text() == f'{RESULT.json()}\n' * 3


def test_a_line_that_a_crash_cut_off_costs_nothing_else(
  file: ResultFile, warnings: list[str]
) -> None:
  file.append([RESULT])
  with file.path.open('a') as opened:
    opened.write(RESULT.json()[:40])
  assert len(file.read()) == 1
  file.append([RESULT])
  assert file.read() == [json.loads(RESULT.json())] * 2
  assert warnings == [f'{file.path}: 1 lines are no results and are passed over.']


def test_a_full_disk_leaves_the_file_as_it_was(
  file: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
  file.append([RESULT])
  before = file.path.read_bytes()

  def full(descriptor: int) -> None:
    assert file.path.read_bytes() != before
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
      file.append([RESULT])
  assert file.path.read_bytes() == before
  file.append([RESULT])
  assert len(file.read()) == 2


@pytest.mark.parametrize(
  'line',
  [
    b'null', b'[]', b'3', b'{}', b'"text"', b'\xff\xfe\x00', b'\x00' * 9, b'[' * 100_000,
    b'1' * 5000, json.dumps({**OLD, 'step': None}).encode(),
    json.dumps({**OLD, 'accuracy': '0.5'}).encode(), json.dumps({**OLD, 'step': True}).encode(),
    json.dumps({**OLD, 'accuracy': math.nan}).encode(),
    json.dumps({**OLD, 'dataset': ['tiny']}).encode(),
    json.dumps({**OLD, 'measured': 5}).encode(),
    json.dumps({**OLD, 'measured': {**ON.json(), 'ways': 0}}).encode(),
    json.dumps({**OLD, 'measured': {**ON.json(), 'seed': [1]}}).encode(),
    json.dumps({**OLD, 'continual': {}}).encode(),
    json.dumps({**OLD, 'continual': {**CONTINUAL, 'matrix': [[0.5]]}}).encode(),
    json.dumps({**OLD, 'continual': {**CONTINUAL, 'scenario': None}}).encode(),
  ],
)  # fmt: skip
def test_what_is_no_result_is_passed_over(
  file: ResultFile, warnings: list[str], line: bytes
) -> None:
  file.append([RESULT])
  with file.path.open('ab') as opened:
    opened.write(line + b'\n\n')
  file.append([RESULT])
  assert file.read() == [RESULT.line()] * 2
  assert file.read() == [RESULT.line()] * 2
  assert warnings == [f'{file.path}: 1 lines are no results and are passed over.']


def test_a_file_that_cannot_be_read_is_an_error(file: ResultFile) -> None:
  file.path.mkdir(parents=True)
  with pytest.raises(InputError, match=r'results\.jsonl cannot be read: Is a directory'):
    file.read()
  with pytest.raises(InputError, match=r'results\.jsonl cannot be written: Is a directory'):
    file.require_writable()


JSON = strategies.recursive(
  strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats()
  | strategies.text(),
  lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
  max_leaves=5,
)  # fmt: skip


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(before=strategies.binary(), between=strategies.binary())
def test_whatever_bytes_there_are_results_are_kept(before: bytes, between: bytes) -> None:
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logging, 'warning', lambda *args: None)
    path = pathlib.Path(os.environ.get('TMPDIR', '/tmp'), f'results-{os.getpid()}.jsonl')
    path.write_bytes(before)
    try:
      file = ResultFile(path)
      file.append([RESULT])
      with path.open('ab') as opened:
        opened.write(between)
      file.append([RESULT])
      assert file.read() == [RESULT.line()] * 2
    finally:
      path.unlink()
