"""The best checkpoint: when it is replaced, and that a crash or a full disk leaves the former."""

from __future__ import annotations

import errno
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.evaluation import best
from hypertransformer.evaluation.results import Line

MEASURED = {
  'dataset': 'tiny:0-9',
  'ways': 5,
  'support_images': 5,
  'unlabeled_per_class': 0,
  'sequence': None,
}


def names(folder: pathlib.Path) -> list[str]:
  return sorted(path.name for path in folder.iterdir())


def contents(step: int, text: str = '') -> dict[str, bytes]:
  """Files as of a checkpoint of a run."""
  endings = ('data-00000-of-00002', 'data-00001-of-00002', 'index')
  files = {f'model-{step}.{ending}': f'{step} {ending} {text}'.encode() for ending in endings}
  return {**files, 'flags.json': b'{}'}


def result(step: int, accuracy: float, **on: Any) -> Line:
  return {
    'checkpoint': f'model-{step}',
    'checkpoint_sha256': best.digest(contents(step)),
    'step': step,
    'preset': 'val',
    'dataset': 'tiny:0-9',
    'accuracy': accuracy,
    'num_tasks': 10,
    'measured': {**MEASURED, 'seed': None, 'query_statistics': 'batch', **on},
  }


def kept(folder: pathlib.Path) -> dict[str, bytes]:
  """The files that are kept, but not what TensorFlow says of them."""
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != 'checkpoint'}


def expected(line: Line) -> dict[str, bytes]:
  return contents(line['step']) | {'best.json': f'{json.dumps(line)}\n'.encode()}


def test_the_files_of_a_checkpoint_and_its_flags_are_read(tmp_path: pathlib.Path) -> None:
  for name, content in {**contents(3), 'model-3.meta': b'', 'model-30.index': b''}.items():
    (tmp_path / name).write_bytes(content)
  prefix = str(tmp_path / 'model-3')
  assert best.files(prefix) == contents(3)
  before = best.state(prefix)
  os.utime(f'{prefix}.index', (1000, 1000))
  assert best.state(prefix) != before
  (tmp_path / 'model-3.index').unlink()
  with pytest.raises(FileNotFoundError):
    best.files(prefix)


def test_the_best_is_replaced_by_a_better_one_only(tmp_path: pathlib.Path) -> None:
  """The folder can be moved: TensorFlow finds the checkpoint by its name alone."""
  folder = tmp_path / 'best'
  for step, accuracy, number in ((1, 0.0, 1), (2, 0.5, 2), (3, 0.4, 2), (4, 0.5, 2), (5, 0.6, 5)):
    best.keep(contents(step), result(step, accuracy), folder)
    assert kept(folder).keys() == expected(result(number, 0.0)).keys()
  assert kept(folder) == expected(result(5, 0.6))
  moved = folder.rename(tmp_path / 'elsewhere')
  state = tf.train.get_checkpoint_state(str(moved))
  assert state.model_checkpoint_path == str(moved / 'model-5')


def test_only_equal_evaluations_are_compared(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  best.keep(contents(1), result(1, 0.3), tmp_path)
  best.keep(contents(2), result(2, 0.9, seed=1), tmp_path)
  assert kept(tmp_path) == expected(result(1, 0.3))
  (warning,) = warnings
  assert str(tmp_path) in warning
  assert 'seed=none; this one: seed=1' in warning


@pytest.mark.parametrize('content', ['', '[1]', '{"accuracy": 0.5}'])
def test_a_damaged_best_json_counts_as_none(tmp_path: pathlib.Path, content: str) -> None:
  (tmp_path / 'best.json').write_text(content)
  best.keep(contents(1), result(1, 0.1), tmp_path)
  assert kept(tmp_path) == expected(result(1, 0.1))


def test_a_crash_leaves_the_former_best_and_is_made_good_by_the_same_checkpoint(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  best.keep(contents(1), result(1, 0.5), tmp_path)
  replace = os.replace

  def crash_at(name: str) -> Callable[[pathlib.Path, pathlib.Path], None]:
    return lambda source, target: 1 / 0 if target.name == name else replace(source, target)

  for name in ('model-2.index', 'best.json'):
    with monkeypatch.context() as patch:
      patch.setattr(os, 'replace', crash_at(name))
      with pytest.raises(ZeroDivisionError):
        best.keep(contents(2), result(2, 0.7), tmp_path)
    assert expected(result(1, 0.5)).items() <= kept(tmp_path).items()
  with monkeypatch.context() as patch:
    patch.setattr(best.checkpoints, 'write_state', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      best.keep(contents(2), result(2, 0.7), tmp_path)
  best.keep(contents(2), result(2, 0.7), tmp_path)
  assert kept(tmp_path) == expected(result(2, 0.7))


@pytest.mark.parametrize('failing', ['index', 'data-00001-of-00002', 'flags.json', 'best.json'])
def test_a_full_disk_leaves_the_former_best_whole(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
  """Also if the better checkpoint has the name of the former one."""
  best.keep(contents(1), result(1, 0.5), tmp_path)
  write = pathlib.Path.write_bytes

  def full(path: pathlib.Path, content: bytes) -> int:
    if path.name.endswith(failing):
      write(path, b'half')
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(path, content)

  monkeypatch.setattr(pathlib.Path, 'write_bytes', full)
  with pytest.raises(OSError, match='No space left'):
    best.keep(contents(1, 'better'), result(1, 0.9), tmp_path)
  assert kept(tmp_path) == expected(result(1, 0.5))
