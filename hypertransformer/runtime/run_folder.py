"""The directory of a run: who works in it, and the machines that trained it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import platform
import re
import socket
import stat
from collections.abc import Iterator

import filelock
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import cores
from hypertransformer.data import files
from hypertransformer.errors import InputError, require

MACHINES_FILE = 'machines.jsonl'
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP}  # what some network file systems say


class FolderLock:
  """Keeps other processes of the same role out of a directory.

  The operating system frees the lock when its process ends, however that happens. The file of the
  lock names the process for messages; it is deleted when the lock is released.

  Attributes:
    path: the file of the lock.
  """

  def __init__(self, folder: str | os.PathLike[str], role: str) -> None:
    """Name the file of the lock; `acquire` takes it."""
    self.path = pathlib.Path(folder) / f'.{role}.lock'
    self._lock = filelock.FileLock(self.path, thread_local=False)
    self._locked: os.stat_result | None = None  # the file that is locked

  def acquire(self) -> bool:
    """Take the lock, again if its file was deleted; return whether it is held now.

    Raises:
      OSError: the file cannot be made.
    """
    if self._is_held():
      return True
    self._lock.release(force=True)
    try:
      self._lock.acquire(timeout=0)
    except filelock.Timeout:
      return False
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      logging.warning('%s cannot be locked (%s). Start only one.', self.path, error.strerror)
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
      if 'process' in self.holder():  # else filelock's own mark, where the system has no locks
        with open(self.path, 'w', opener=files.no_link) as file:
          file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    self._locked = self.path.stat()
    return True

  def release(self) -> None:
    """Release the lock, if it is held, and delete its file."""
    if self._is_held():
      self.path.unlink(missing_ok=True)  # before the lock is free, so that it is our own file
    self._lock.release(force=True)
    self._locked = None

  def holder(self) -> str:
    """Return who holds the lock, as 'process 12 on host', or 'another process' if unknown."""
    try:
      return self.path.read_text().strip() or 'another process'
    except (OSError, ValueError):
      return 'another process'

  def _is_held(self) -> bool:
    try:
      return self._locked is not None and os.path.samestat(self._locked, self.path.stat())
    except OSError:
      return False


@contextlib.contextmanager
def hold(folder: str | os.PathLike[str], role: str, advice: str) -> Iterator[FolderLock]:
  """Keep other processes of the same role out of a directory for the time of a `with`.

  Args:
    folder: the directory, which must exist.
    role: what this process is, such as 'trainer'. Processes of other roles may work in the
      directory at the same time.
    advice: the end of the message to the second one: what to do.

  Yields:
    The lock. If the directory may have been deleted in the meantime, `acquire` tells whether the
    lock is still held, or takes it again.

  Raises:
    InputError: another process of this role works in the directory, or it cannot be written.
  """
  lock = FolderLock(folder, role)
  try:
    held = lock.acquire()
  except OSError as error:
    raise InputError(
      f'{lock.path} cannot be written: {error.strerror}. Make the directory writable, or use '
      'another one.'
    ) from error
  require(held, f'another {role} works in {folder}: {lock.holder()}. {advice}')
  try:
    yield lock
  finally:
    lock.release()


def require_no_links(folder: str) -> None:
  """Refuse a directory of a run that contains links, devices or pipes: they lead elsewhere.

  Args:
    folder: the directory, which need not exist.

  Raises:
    InputError: there is one in the directory, or in one of those in it that programs write.
  """
  for inner in ('', 'train', 'eval', 'best'):
    with contextlib.suppress(OSError), os.scandir(os.path.join(folder, inner)) as entries:
      for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        require(
          stat.S_ISREG(mode) or stat.S_ISDIR(mode),
          f'{files.shown(entry.path)} is a link, a device or a pipe, which a run does not write. '
          'Remove it, or use another --train_log_dir.',
        )


def note_machine(folder: str, step: int) -> None:
  """Append a line to machines.jsonl of a run: from which step this machine trains it."""
  with open(os.path.join(folder, MACHINES_FILE), 'a', opener=files.no_link) as file:
    file.write(json.dumps({'from_step': step, 'machine': describe_machine()}) + '\n')


def machines(folder: str) -> list[str]:
  """Return the different machines that have trained a run, in order; [] if unknown.

  A malformed line, such as one that a crash has cut off, is skipped.
  """
  content, found = b'', []
  with contextlib.suppress(OSError):
    content = files.read_small(pathlib.Path(folder, MACHINES_FILE))
  for line in content.decode(errors='replace').splitlines():
    with contextlib.suppress(*files.JSON_ERRORS, KeyError, TypeError):
      found.append(str(json.loads(line)['machine']))
  return list(dict.fromkeys(found))


def describe_machine() -> str:
  """Describe this machine in one line: processor, cores, memory, GPUs, TensorFlow, Python."""
  gpus = [
    tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name)
    for gpu in tf.config.list_physical_devices('GPU')
  ]
  return ', '.join(
    [
      f'{_processor()}, {cores.available()} of {os.cpu_count()} cores',
      f'{cores.memory() / 2**30:.0f} GiB',
      *gpus,
      f'TensorFlow {tf.__version__}, Python {platform.python_version()}',
    ]
  )


def _processor() -> str:
  """Return the name of the processor, as far as the system tells it."""
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  text = cpuinfo.read_text() if cpuinfo.exists() else ''
  match = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
  return match[1].strip() if match else platform.processor() or platform.machine()
