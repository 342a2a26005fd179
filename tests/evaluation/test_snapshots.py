"""Copies of checkpoints, and the best checkpoint."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.evaluation import measured, snapshots
from hypertransformer.evaluation.measured import Result
from hypertransformer.evaluation.results import Line
from hypertransformer.settings import flags


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
  assert not (tmp_path / 'eval').exists()


def on(dataset: str = 'tiny:0-9', **values: Any) -> measured.Measured:
  values = flags.defaults() | {'train_log_dir': 'logs'} | values
  return measured.measured_on(flags.settings_from(values), dataset, '', 2)


def result(step: int, accuracy: float, of: measured.Measured | None = None) -> Line:
  return Result(
    f'model-{step}', '', step, 'val', of or on(), accuracy, 0.01, 10, accuracy, 0.01, 1.0
  ).line()


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
    kept_now = snapshots.keep_best(make(logs, step), result(step, accuracy), best, logs)
    assert kept_now == (kept == step)
    assert names(best) == best_files(kept)
    assert (best / f'model-{kept}.index').read_text() == f'{kept} index '
    assert json.loads((best / 'best.json').read_text())['step'] == kept
    assert tf.train.get_checkpoint_state(str(best)).model_checkpoint_path == str(
      best / f'model-{kept}'
    )
  assert json.loads((best / 'best.json').read_text()) == result(5, 0.6)
  assert snapshots.read_best(best) == snapshots.Best(0.6, on())


def test_the_folder_of_the_best_can_be_moved(logs: pathlib.Path, tmp_path: pathlib.Path) -> None:
  snapshots.keep_best(make(logs, 3), result(3, 0.5), tmp_path / 'best', logs)
  moved = (tmp_path / 'best').rename(tmp_path / 'elsewhere')
  state = tf.train.get_checkpoint_state(str(moved))
  assert state.model_checkpoint_path == str(moved / 'model-3')


SEQUENCES = {'continual_scenario': 'class_incremental'}


@pytest.mark.parametrize(
  'changes',
  [
    {'dataset': 'tiny:10-19'},
    {'samples_transformer': 160},
    {'disjoint_query': True},
    {'seed': 1},
    SEQUENCES,
    {**SEQUENCES, 'continual_scenario': 'task_incremental'},
    {**SEQUENCES, 'eval_num_tasks': 20},
    {**SEQUENCES, 'mixed_queries': True},
  ],
)
def test_only_equal_evaluations_are_compared(
  logs: pathlib.Path, tmp_path: pathlib.Path, changes: Any
) -> None:
  """A better result of another kind replaces nothing; one of the same kind does."""
  best = tmp_path / 'best'
  former = SEQUENCES if 'continual_scenario' in changes and changes != SEQUENCES else {}
  for step, accuracy, settings, kept in (
    (1, 0.3, former, True),
    (2, 0.9, {**former, **changes}, False),
    (3, 0.2, former, False),
    (4, 0.4, former, True),
  ):
    found = result(step, accuracy, on(**settings))
    assert snapshots.keep_best(make(logs, step), found, best, logs) == kept
  assert names(best) == best_files(4)


def test_the_best_of_an_older_version_stays(logs: pathlib.Path, tmp_path: pathlib.Path) -> None:
  """It does not say what it was measured on, so that nothing can be compared with it."""
  best = tmp_path / 'best'
  snapshots.keep_best(make(logs, 1), result(1, 0.1), best, logs)
  old = {key: value for key, value in result(1, 0.1).items() if key != 'measured'}
  (best / 'best.json').write_text(json.dumps(old))
  assert not snapshots.keep_best(make(logs, 2), result(2, 0.9), best, logs)
  assert names(best) == best_files(1)


def test_a_crash_while_keeping_leaves_the_former_best(
  logs: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  """The next time, all is put right."""
  best = tmp_path / 'best'
  snapshots.keep_best(make(logs, 1), result(1, 0.5), best, logs)
  replace = os.replace

  def crash(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.name == 'model-2.index':
      raise KeyboardInterrupt
    replace(source, target)

  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', crash)
    with pytest.raises(KeyboardInterrupt):
      snapshots.keep_best(make(logs, 2), result(2, 0.7), best, logs)
  assert json.loads((best / 'best.json').read_text())['step'] == 1
  assert set(best_files(1)) <= set(names(best))
  assert snapshots.keep_best(make(logs, 3), result(3, 0.6), best, logs)
  assert names(best) == best_files(3)


@pytest.mark.parametrize('content', ['', '{"accuracy": ', '[1]', '{}', '{"accuracy": null}'])
def test_an_unreadable_best_json_counts_as_none(tmp_path: pathlib.Path, content: str) -> None:
  (tmp_path / 'best.json').write_text(content)
  assert snapshots.read_best(tmp_path) is None


@pytest.mark.parametrize('failing', ['index', 'data-00001-of-00002', 'flags.json', 'best.json'])
def test_a_full_disk_leaves_the_former_best_whole(
  logs: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
  """Also if the better checkpoint has the name of the former one."""
  best = tmp_path / 'best'
  make(logs, 1)
  (logs / 'flags.json').write_text('{}')
  snapshots.keep_best(make(logs, 1, 'former'), result(1, 0.5), best, logs)
  before = {path.name: path.read_bytes() for path in best.iterdir()}
  copy, write = shutil.copy2, pathlib.Path.write_text

  def full_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if source.name.endswith(failing):
      pathlib.Path(target).write_bytes(b'half')
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    copy(source, target)

  def full_write(path: pathlib.Path, text: str) -> int:
    if path.name.startswith(failing):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(path, text)

  prefix = make(logs, 1, 'better')
  monkeypatch.setattr(shutil, 'copy2', full_copy)
  monkeypatch.setattr(pathlib.Path, 'write_text', full_write)
  with pytest.raises(OSError, match='No space left'):
    snapshots.keep_best(prefix, result(1, 0.9), best, logs)
  assert {path.name: path.read_bytes() for path in best.iterdir()} == before


def test_copies_of_killed_evaluators_are_removed_and_never_one_in_use(
  logs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  prefix, folder = make(logs, 3), tmp_path / 'eval'
  with snapshots.snapshot(prefix, folder) as copy:
    for name in ('.checkpoint-dead', '.checkpoint-before_locks'):
      shutil.copytree(os.path.dirname(copy), folder / name)
    (folder / '.checkpoint-dead.lock').touch()
    (folder / 'results.jsonl').touch()
    snapshots.remove_copies(folder)
    copied = os.path.basename(os.path.dirname(copy))
    assert names(folder) == sorted([copied, f'{copied}.lock', 'results.jsonl'])
    assert names(folder / copied) == sorted(path.name for path in logs.iterdir())
  assert names(folder) == ['results.jsonl']


def test_a_digest_is_of_the_index(logs: pathlib.Path, tmp_path: pathlib.Path) -> None:
  """Neither the time nor the folder matters."""
  prefix = make(logs, 3)
  os.utime(f'{prefix}.index', (1000, 1000))
  assert snapshots.digest(prefix) == hashlib.sha256(b'3 index ').hexdigest()
  assert snapshots.digest(make(tmp_path / 'other', 3)) == snapshots.digest(prefix)
  assert snapshots.digest(make(logs, 3, 'new')) != hashlib.sha256(b'3 index ').hexdigest()
