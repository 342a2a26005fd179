"""Writing data files: nothing half-written, nothing overwritten unasked, and progress meanwhile."""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, TextIO

import numpy as np

from hypertransformer.errors import InputError


def output_file(text: str, default_name: str, overwrite: bool = False) -> pathlib.Path:
  """The .npy file that `--output_path=text` means; refuses an existing one.

  Args:
    text: a path that ends in .npy, or a folder (which need not exist yet).
    default_name: the file's name inside a folder, such as 'omniglot.npy'.
    overwrite: whether an existing file may be replaced.

  Raises:
    InputError: no path given, or the file exists and `overwrite` is False.
  """
  if not text:
    raise InputError('--output_path is not given; expected a .npy file, or a folder for '
                     f'{default_name}')
  path = pathlib.Path(text)
  if path.is_dir() or path.suffix != '.npy':
    path = path / default_name
  if path.is_dir():
    raise InputError(f'{path} is a folder; expected a file name: give another --output_path')
  if path.exists() and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')
  return path


@contextlib.contextmanager
def atomic_file(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a file beside `path` for writing; it takes that name only when all went well.

  The folder is made when it is missing. After an exception nothing is left behind.

  Raises:
    InputError: the folder or the file cannot be written.
  """
  beside = path.with_name(f'.{path.name}.{os.getpid()}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(beside, 'wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)
  except OSError as error:
    raise InputError(f'cannot write {path}: {error.strerror or error}; check that the folder is '
                     'writable and the disk has room, or give another path') from error
  finally:
    with contextlib.suppress(OSError):
      beside.unlink()


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes `array` as the .npy file `path`, atomically. Raises InputError when it cannot."""
  with atomic_file(path) as file:
    np.save(file, array, allow_pickle=False)


def summary(path: pathlib.Path, array: np.ndarray) -> str:
  """The line with which a converter ends: what was written, where, its shape and size."""
  shape = ' x '.join(str(size) for size in array.shape)
  return f'wrote {path}: {array.dtype} {shape}, {path.stat().st_size / 1e6:.1f} MB'


class Progress:
  """Lines such as `omniglot: 12000 of 32460 drawings, 2650/s, 8 s left`, every few seconds."""

  def __init__(self, what: str, total: int, unit: str, every: float = 3.0,
               stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
    """Starts the clock.

    Args:
      what: the name each line starts with.
      total: how many units there are.
      unit: their name, in the plural.
      every: seconds between two lines.
      stream: where the lines go; None is stderr.
      clock: seconds from an arbitrary start, never backwards.
    """
    self._what, self._total, self._unit = what, total, unit
    self._every, self._stream, self._clock = every, stream, clock
    self._start = self._last = clock()

  def update(self, done: int) -> None:
    """Says that `done` units are finished; prints when the last line is old enough."""
    now = self._clock()
    if now - self._last < self._every or done < 1:
      return
    self._last = now
    rate = done / (now - self._start)
    left = (self._total - done) / rate
    print(f'{self._what}: {done} of {self._total} {self._unit}, {rate:.0f}/s, {left:.0f} s left',
          file=self._stream or sys.stderr, flush=True)
