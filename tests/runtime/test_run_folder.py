"""A second process is kept out of a folder, until the first one has ended, in whatever way."""

from __future__ import annotations

import errno
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from hypertransformer.errors import InputError
from hypertransformer.runtime import run_folder
from hypertransformer.runtime.run_folder import FileLock

HOLDER = """
import sys
from hypertransformer.runtime import run_folder
with run_folder.hold(sys.argv[1], sys.argv[2], ''):
  print('held', flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def hold_elsewhere() -> Iterator[Callable[..., subprocess.Popen[str]]]:
  """hold_elsewhere(folder, role): a process that holds the lock until its stdin is closed."""
  started = []

  def start(folder: pathlib.Path, role: str = 'trainer') -> subprocess.Popen[str]:
    process = subprocess.Popen(
      [sys.executable, '-c', HOLDER, str(folder), role],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
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
  tmp_path: pathlib.Path, hold_elsewhere: Callable[..., subprocess.Popen[str]]
) -> None:
  first = hold_elsewhere(tmp_path)
  with (
    pytest.raises(InputError) as caught,
    run_folder.hold(tmp_path, 'trainer', 'Wait until it has ended.'),
  ):
    pass
  assert str(caught.value) == (
    f'another trainer works in {tmp_path}: process {first.pid} on {socket.gethostname()}. '
    'Wait until it has ended.'
  )
  assert first.poll() is None
  first.communicate('')
  assert_free(tmp_path)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_leaves_the_lock_free(
  tmp_path: pathlib.Path, hold_elsewhere: Callable[..., subprocess.Popen[str]], number: int
) -> None:
  first = hold_elsewhere(tmp_path)
  first.send_signal(number)
  first.wait()
  assert_free(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_a_process_of_another_role_is_let_in(
  tmp_path: pathlib.Path, hold_elsewhere: Callable[..., subprocess.Popen[str]]
) -> None:
  hold_elsewhere(tmp_path, 'trainer')
  assert_free(tmp_path, 'evaluator')


def test_the_lock_is_free_after_an_error_and_no_file_stays(tmp_path: pathlib.Path) -> None:
  def fail() -> None:
    with run_folder.hold(tmp_path, 'trainer', ''):
      assert [path.name for path in tmp_path.iterdir()] == ['.trainer.lock']
      raise KeyError

  with pytest.raises(KeyError):
    fail()
  assert list(tmp_path.iterdir()) == []
  assert_free(tmp_path)


def test_one_process_cannot_hold_it_twice(tmp_path: pathlib.Path) -> None:
  with run_folder.hold(tmp_path, 'trainer', ''):
    assert not FileLock(tmp_path / '.trainer.lock').acquire()


def test_a_deleted_lock_is_taken_anew(
  tmp_path: pathlib.Path, hold_elsewhere: Callable[..., subprocess.Popen[str]]
) -> None:
  with run_folder.hold(tmp_path, 'trainer', '') as lock:
    lock.path.unlink()
    assert lock.acquire()
    assert not FileLock(lock.path).acquire()
    lock.path.unlink()
    second = hold_elsewhere(tmp_path)
    assert not lock.acquire()
    assert lock.holder().startswith(f'process {second.pid} on ')
  assert lock.path.exists(), 'the lock of the other one'


def test_those_who_wait_have_it_one_after_the_other(tmp_path: pathlib.Path) -> None:
  """Each adds 1 to a number in a file 50 times; without the lock, additions were lost."""
  work = (
    'import pathlib, sys\n'
    'from hypertransformer.runtime.run_folder import FileLock\n'
    'folder = pathlib.Path(sys.argv[1])\n'
    'for _ in range(50):\n'
    '  lock = FileLock(folder / "lock")\n'
    '  assert lock.acquire(wait=True)\n'
    '  number = folder / "number"\n'
    '  number.write_text(str(int(number.read_text()) + 1))\n'
    '  lock.release()\n'
  )
  (tmp_path / 'number').write_text('0')
  processes = [subprocess.Popen([sys.executable, '-c', work, str(tmp_path)]) for _ in range(3)]
  assert [process.wait() for process in processes] == [0, 0, 0]
  assert (tmp_path / 'number').read_text() == '150'


def test_where_there_are_no_locks_a_warning_says_so(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
  def refuse(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  monkeypatch.setattr(run_folder.fcntl, 'flock', refuse)
  assert_free(tmp_path)
  assert warnings == [
    f'{tmp_path} cannot be locked (No locks available): see to it that no other trainer works in '
    'this folder.'
  ]
  assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: pathlib.Path) -> None:
  with (
    pytest.raises(InputError, match=r'/missing/\.trainer\.lock cannot be written: No such file'),
    run_folder.hold(tmp_path / 'missing', 'trainer', ''),
  ):
    pass


def test_it_holds_on_a_full_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  def full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, 'pwrite', full)
  with run_folder.hold(tmp_path, 'trainer', ''):
    other = FileLock(tmp_path / '.trainer.lock')
    assert not other.acquire()
    assert other.holder() == 'another process'
