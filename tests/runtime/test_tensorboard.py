"""Event files for TensorBoard, whatever happens to them."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.runtime.tensorboard import EventLog, scalar_summary


def add(log: EventLog, step: int) -> None:
  log.add(scalar_summary({'a': float(step)}), step)
  log.flush()


def test_each_summary_is_there_at_once(
  tmp_path: pathlib.Path, read_events: Callable[[pathlib.Path], Any]
) -> None:
  log = EventLog(tmp_path / 'eval')
  assert not (tmp_path / 'eval').exists()
  for step in (1, 2):
    add(log, step)
    assert read_events(tmp_path / 'eval').scalars == {'a': {n: n for n in range(1, step + 1)}}
  (path,) = (tmp_path / 'eval').iterdir()
  first = next(tf.train.summary_iterator(str(path)))
  assert first.file_version == 'brain.Event:2'


def test_a_deleted_file_is_followed_by_a_new_one(
  tmp_path: pathlib.Path, read_events: Callable[[pathlib.Path], Any]
) -> None:
  log = EventLog(tmp_path / 'eval')
  for step in (1, 2, 3):
    add(log, step)
    if step < 3:
      shutil.rmtree(tmp_path / 'eval')
  assert read_events(tmp_path / 'eval').scalars == {'a': {3: 3.0}}


def test_what_cannot_be_written_goes_into_a_new_file(
  tmp_path: pathlib.Path,
  read_events: Callable[[pathlib.Path], Any],
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """Behind a record that is cut off, nothing more could be read."""
  log = EventLog(tmp_path)
  add(log, 1)

  class Full:
    """A writer on a full disk."""

    def write(self, record: bytes) -> None:
      pass

    def flush(self) -> None:
      raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    close = flush

  real, log._writer = log._writer, Full()  # type: ignore[assignment]
  assert real is not None
  real.close()
  with pytest.raises(tf.errors.ResourceExhaustedError):
    add(log, 2)
  with monkeypatch.context() as patch:
    patch.setattr(tf.io, 'TFRecordWriter', lambda path: Full())
    with pytest.raises(tf.errors.ResourceExhaustedError):
      add(log, 3)
  assert len(list(tmp_path.iterdir())) == 1
  add(log, 4)
  assert len(list(tmp_path.iterdir())) == 2
  assert read_events(tmp_path).scalars == {'a': {step: step for step in (1, 2, 3, 4)}}
