"""Copies of checkpoints, and the best checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.evaluation import snapshots
from hypertransformer.evaluation.results import Result


def make(folder: pathlib.Path, step: int, content: str = '') -> str:
  """Writes files with the names of a checkpoint's, and returns its path without ending."""
  folder.mkdir(exist_ok=True)
  for ending in ('index', 'data-00000-of-00002', 'data-00001-of-00002'):
    (folder / f'model-{step}.{ending}').write_text(f'{step} {ending} {content}')
  return str(folder / f'model-{step}')


def names(folder: pathlib.Path) -> list[str]:
  return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def logs(tmp_path: pathlib.Path) -> pathlib.Path:
  return tmp_path / 'logs'


def test_a_snapshot_is_a_copy_that_goes_away(logs: pathlib.Path, tmp_path: pathlib.Path) -> None:
  prefix = make(logs, 3)
  (logs / 'model-30.index').touch()  # another checkpoint's
  with snapshots.snapshot(prefix, tmp_path / 'eval') as copy:
    for path in logs.iterdir():
      path.unlink()
    assert os.path.basename(copy) == 'model-3'
    assert names(pathlib.Path(copy).parent) == [
      'model-3.data-00000-of-00002',
      'model-3.data-00001-of-00002',
      'model-3.index',
    ]
    assert pathlib.Path(f'{copy}.index').read_text() == '3 index '
  assert names(tmp_path / 'eval') == []


def test_a_snapshot_keeps_the_times_of_the_files(
  logs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  prefix = make(logs, 3)
  os.utime(f'{prefix}.index', (1000, 1000))
  with snapshots.snapshot(prefix, tmp_path / 'eval') as copy:
    assert os.path.getmtime(f'{copy}.index') == 1000


@pytest.mark.parametrize('missing', ['index', 'data-*'])
def test_a_snapshot_of_an_incomplete_checkpoint_fails(
  logs: pathlib.Path, tmp_path: pathlib.Path, missing: str
) -> None:
  prefix = make(logs, 3)
  for path in logs.glob(f'model-3.{missing}'):
    path.unlink()
  with (
    pytest.raises(FileNotFoundError, match=r'model-3: no \.index and \.data files'),
    snapshots.snapshot(prefix, tmp_path / 'eval'),
  ):
    pass
  assert names(tmp_path / 'eval') == []


def result(step: int, accuracy: float) -> Result:
  return Result(
    f'logs/model-{step}', step, 'val', 'tiny:0-9', accuracy, 0.01, 10, 100, accuracy, 0.01, 1.0
  )


def best_files(step: int) -> list[str]:
  return [
    'best.json',
    'checkpoint',
    f'model-{step}.data-00000-of-00002',
    f'model-{step}.data-00001-of-00002',
    f'model-{step}.index',
  ]


def test_the_best_is_replaced_by_a_better_one_only(
  logs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  best = tmp_path / 'best'
  assert snapshots.read_best(best) is None
  for step, accuracy, kept in ((1, 0.0, 1), (2, 0.5, 2), (3, 0.4, 2), (4, 0.5, 2), (5, 0.6, 5)):
    assert snapshots.keep_best(make(logs, step), result(step, accuracy), best) == (kept == step)
    assert names(best) == best_files(kept)
    assert (best / f'model-{kept}.index').read_text() == f'{kept} index '
    assert json.loads((best / 'best.json').read_text())['step'] == kept
    assert tf.train.get_checkpoint_state(str(best)).model_checkpoint_path == str(
      best / f'model-{kept}'
    )
  assert json.loads((best / 'best.json').read_text()) == json.loads(result(5, 0.6).json())
  assert snapshots.read_best(best) == snapshots.Best(0.6, snapshots.Evaluation('tiny:0-9', None))


SEQUENCES = {'scenario': 'task_incremental', 'mixed_queries': False, 'num_tasks': 5}


@pytest.mark.parametrize(
  'changes',
  [
    {'dataset': 'tiny:10-19'},
    {'continual': SEQUENCES},
    {'continual': {**SEQUENCES, 'scenario': 'class_incremental'}},
    {'continual': {**SEQUENCES, 'num_tasks': 20}},
    {'continual': {**SEQUENCES, 'mixed_queries': True}},
  ],
)
def test_only_equal_evaluations_are_compared(
  logs: pathlib.Path, tmp_path: pathlib.Path, changes: Any
) -> None:
  """A better result of another kind replaces nothing; one of the same kind does."""
  best = tmp_path / 'best'
  former = {} if changes == {'continual': SEQUENCES} else {'continual': SEQUENCES}
  for step, accuracy, settings, kept in (
    (1, 0.3, former, True),
    (2, 0.9, {**former, **changes}, False),
    (3, 0.2, former, False),
    (4, 0.4, former, True),
  ):
    found = dataclasses.replace(result(step, accuracy), **settings)
    assert snapshots.keep_best(make(logs, step), found, best) == kept
  assert names(best) == best_files(4)


def test_a_crash_while_keeping_leaves_the_former_best(
  logs: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  """The next time, all is put right."""
  best = tmp_path / 'best'
  snapshots.keep_best(make(logs, 1), result(1, 0.5), best)
  replace = os.replace

  def crash(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.name == 'model-2.index':
      raise KeyboardInterrupt
    replace(source, target)

  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', crash)
    with pytest.raises(KeyboardInterrupt):
      snapshots.keep_best(make(logs, 2), result(2, 0.7), best)
  assert json.loads((best / 'best.json').read_text())['step'] == 1
  assert set(best_files(1)) <= set(names(best))
  assert snapshots.keep_best(make(logs, 3), result(3, 0.6), best)
  assert names(best) == best_files(3)


@pytest.mark.parametrize('content', ['', '{"accuracy": ', '[1]', '{}', '{"accuracy": null}'])
def test_an_unreadable_best_json_counts_as_none(tmp_path: pathlib.Path, content: str) -> None:
  (tmp_path / 'best.json').write_text(content)
  assert snapshots.read_best(tmp_path) is None
