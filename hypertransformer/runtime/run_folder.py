"""The directory of a run: one process per role, and the machines that trained it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import platform
import re
import socket
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.errors import InputError

try:
  import fcntl
except ImportError:  # Windows
  fcntl = None  # type: ignore[assignment]

# What flock says of a file system that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class NoLocks(OSError):
  """Says that the system, or the file system of the folder, has no locks."""


class FileLock:
  """A lock on a file, which one process at a time can hold.

  The file is made when it is needed and deleted by the process that gives the lock back. Where the
  process was killed it stays, and the next one takes the lock on it.

  Attributes:
    path: the path of the file.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path
    self._descriptor: int | None = None

  def acquire(self, wait: bool = False) -> bool:
    """Takes the lock; if this object holds it already, it is kept.

    If the file of a lock that is held was deleted by somebody, the lock is taken on a new file.

    Args:
      wait: whether to wait while another holds it.

    Returns:
      Whether the lock is held now. With `wait` that is always so.

    Raises:
      NoLocks: there are no locks on this file system.
      OSError: the file cannot be opened.
    """
    while not self._is_held():
      self._close()
      descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
      try:
        locked = _lock(descriptor, wait)
      except BaseException as error:
        os.close(descriptor)
        if isinstance(error, NoLocks):
          self.path.unlink(missing_ok=True)
        raise
      if not locked:
        os.close(descriptor)
        return False
      # The one before may have deleted the file between our opening it and locking it: then this
      # lock is on a file that nobody else can see, and the loop goes on.
      self._descriptor = descriptor
      self._write_holder(descriptor)
    return True

  def release(self) -> None:
    """Gives the lock back, if it is held."""
    if self._is_held():
      with contextlib.suppress(OSError):
        self.path.unlink()  # before the lock is free, so that it is our own file
    self._close()

  def holder(self) -> str:
    """Who holds the lock, or did last, as 'process 12 on host'; 'another process' if unknown."""
    try:
      return self.path.read_text().strip() or 'another process'
    except (OSError, ValueError):
      return 'another process'

  def _is_held(self) -> bool:
    """Whether the file that this object has locked is the one at its path."""
    if self._descriptor is None:
      return False
    try:
      return os.path.samestat(os.fstat(self._descriptor), os.stat(self.path))
    except OSError:
      return False

  def _write_holder(self, descriptor: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
      os.ftruncate(descriptor, 0)
      os.pwrite(descriptor, f'process {os.getpid()} on {socket.gethostname()}\n'.encode(), 0)

  def _close(self) -> None:
    if self._descriptor is not None:
      os.close(self._descriptor)
      self._descriptor = None


def _lock(descriptor: int, wait: bool) -> bool:
  """Locks an open file; returns False if another holds the lock. Raises NoLocks."""
  if fcntl is None:
    raise NoLocks(errno.ENOSYS, 'this system has no flock')
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno in _NO_LOCKS:
      raise NoLocks(error.errno, error.strerror) from error
    raise
  return True


@contextlib.contextmanager
def hold(folder: str | os.PathLike[str], role: str, advice: str) -> Iterator[FileLock]:
  """Keeps other processes of the same role out of a folder, for the time of a `with`.

  Where the file system has no locks, a warning says so and nobody is kept out.

  Args:
    folder: the folder, which must be there.
    role: what this process is, in one word such as 'trainer'. Processes of other roles may work in
      the folder at the same time.
    advice: the end of the message to the second one: what to do.

  Yields:
    The lock. If the folder may have been deleted and made anew meanwhile, `acquire` tells whether
    it is held still, or takes it anew.

  Raises:
    InputError: another process of this role works in the folder, or no file can be made there.
  """
  lock = FileLock(pathlib.Path(folder) / f'.{role}.lock')
  try:
    held = lock.acquire()
  except NoLocks as error:
    logging.warning(
      '%s cannot be locked (%s): see to it that no other %s works in this folder.',
      folder,
      error.strerror,
      role,
    )
    held = True
  except OSError as error:
    raise InputError(
      f'{lock.path} cannot be written: {error.strerror}; make the folder writable for you, or give '
      'another one.'
    ) from error
  if not held:
    raise InputError(f'another {role} works in {folder}: {lock.holder()}. {advice}')
  try:
    yield lock
  finally:
    lock.release()


@contextlib.contextmanager
def in_turn(path: pathlib.Path) -> Iterator[None]:
  """Waits until no other process is in such a block with the same path, and keeps others waiting.

  Where the file of the lock cannot be made, or there are no locks, the block runs all the same.

  Args:
    path: the path of the file of the lock.
  """
  lock = FileLock(path)
  with contextlib.suppress(OSError):
    lock.acquire(wait=True)
  try:
    yield
  finally:
    lock.release()


MACHINES_FILE = 'machines.jsonl'


def describe_machine() -> str:
  """Describes this machine in one line: processor, cores, memory, GPUs, TensorFlow, Python."""
  usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  parts = [
    f'{_processor()}, {usable} of {os.cpu_count()} cores',
    _memory(),
    *map(_gpu, tf.config.list_physical_devices('GPU')),
    f'TensorFlow {tf.__version__}, Python {platform.python_version()}',
  ]
  return ', '.join(filter(None, parts))


def note_machine(folder: str, step: int) -> None:
  """Adds a line to machines.jsonl of a run: from which step on this machine trains it."""
  with open(os.path.join(folder, MACHINES_FILE), 'a') as file:
    file.write(json.dumps({'from_step': step, 'machine': describe_machine()}) + '\n')


def machines(folder: str) -> list[str]:
  """The different machines that have trained the run in a folder, in order; [] if unknown.

  A line that a crash has cut off is left out.
  """
  path = pathlib.Path(folder, MACHINES_FILE)
  if not path.exists():
    return []
  found = []
  for line in path.read_text(errors='replace').splitlines():
    try:
      found.append(str(json.loads(line)['machine']))
    except (ValueError, KeyError, TypeError):
      continue
  return list(dict.fromkeys(found))


def _processor() -> str:
  """The name of the processor, as far as the system tells it."""
  try:
    match = re.search(r'^model name\s*:\s*(.+)$', pathlib.Path('/proc/cpuinfo').read_text(), re.M)
  except OSError:
    match = None
  return match[1].strip() if match else platform.processor() or platform.machine()


def _gpu(device: tf.config.PhysicalDevice) -> str:
  """The name of a GPU, as far as its driver tells it."""
  return tf.config.experimental.get_device_details(device).get('device_name', device.name)


def _memory() -> str:
  """The memory of the machine; '' where the system does not tell it."""
  try:
    size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (AttributeError, ValueError, OSError):
    return ''
  return f'{size / 2**30:.0f} GiB'
