"""The directory of a run: one process per role, however it ends; and the machines of the run."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import filelock
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import run_folder
from hypertransformer.runtime.run_folder import FolderLock

HOLDER = """
import sys
from hypertransformer.runtime import run_folder
with run_folder.hold(sys.argv[1], 'trainer', ''):
  print('held', flush=True)
  sys.stdin.read()
"""
Start = Callable[[pathlib.Path], 'subprocess.Popen[str]']


@pytest.fixture
def hold_elsewhere() -> Iterator[Start]:
  """Starts a process that holds the lock of a folder until its stdin is closed."""
  started = []

  def start(folder: pathlib.Path) -> subprocess.Popen[str]:
    command = [sys.executable, '-c', HOLDER, str(folder)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == 'held\n'
    return process

  yield start
  for process in started:
    process.kill()
    process.communicate()


def assert_free(folder: pathlib.Path, role: str = 'trainer') -> None:
  with run_folder.hold(folder, role, ''):
    pass


def test_the_second_is_refused_and_told_who_the_first_is(
  tmp_path: pathlib.Path, hold_elsewhere: Start
) -> None:
  first = hold_elsewhere(tmp_path)
  for _ in range(2):  # looking does not change what the first one has written
    holder = f'another trainer .*{tmp_path}: process {first.pid} on {socket.gethostname()}'
    with pytest.raises(InputError, match=holder), run_folder.hold(tmp_path, 'trainer', ''):
      pass
  assert_free(tmp_path, 'evaluator')
  first.kill()
  first.wait()
  assert_free(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_a_deleted_lock_is_taken_again(tmp_path: pathlib.Path, hold_elsewhere: Start) -> None:
  with run_folder.hold(tmp_path, 'trainer', '') as lock:
    assert lock.acquire()
    lock.path.unlink()
    assert lock.acquire()
    assert not FolderLock(tmp_path, 'trainer').acquire()
    lock.path.unlink()
    second = hold_elsewhere(tmp_path)
    assert not lock.acquire()
    assert lock.holder().startswith(f'process {second.pid} on ')
  assert lock.path.exists(), 'the lock of the other one'


def test_where_there_are_no_locks_a_warning_says_so(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
  def refuse(self: filelock.FileLock, timeout: float) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  monkeypatch.setattr(filelock.FileLock, 'acquire', refuse)
  with run_folder.hold(tmp_path, 'trainer', '') as lock:
    assert lock.acquire()
  (warning,) = warnings
  assert f'{tmp_path}/.trainer.lock cannot be locked (No locks available)' in warning


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').touch()
  with (
    pytest.raises(InputError, match=r'/file/\.trainer\.lock cannot be written'),
    run_folder.hold(tmp_path / 'file', 'trainer', ''),
  ):
    pass


@pytest.mark.parametrize('make', [lambda path: path.symlink_to('/dev/null'), os.mkfifo])
def test_links_and_pipes_are_refused_and_never_written(
  make: Callable[[pathlib.Path], None], tmp_path: pathlib.Path
) -> None:
  run_folder.require_no_links(str(tmp_path / 'new'))
  (tmp_path / 'eval').mkdir()
  run_folder.require_no_links(str(tmp_path))
  make(tmp_path / 'eval' / 'x')
  with pytest.raises(InputError, match=r'/eval/x is a link, a device or a pipe'):
    run_folder.require_no_links(str(tmp_path))


def test_a_link_that_is_made_later_is_not_followed(tmp_path: pathlib.Path) -> None:
  (tmp_path / run_folder.MACHINES_FILE).symlink_to(tmp_path / 'other')
  with pytest.raises(OSError, match='symbolic links'):
    run_folder.note_machine(str(tmp_path), 0)
  assert not (tmp_path / 'other').exists()


def test_a_training_notes_its_machine(trained: Any) -> None:
  (machine,) = run_folder.machines(str(trained.folder))
  assert tf.__version__ in machine
  assert 'cores' in machine


def test_machines_are_read_once_and_in_order(tmp_path: pathlib.Path) -> None:
  assert run_folder.machines(str(tmp_path)) == []
  lines = [json.dumps({'from_step': 0, 'machine': name}) for name in ('b', 'a', 'b')]
  (tmp_path / run_folder.MACHINES_FILE).write_text(
    '\n'.join([*lines, '{"machine": "cut', '3', '[' * 10**5])
  )
  assert run_folder.machines(str(tmp_path)) == ['b', 'a']
