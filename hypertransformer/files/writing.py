"""Writes data files such that none is ever half-written, and none overwritten unasked.

Files and folders are written under a hidden name beside their place, `.NAME.PROCESS.part`, and get
their own name when all is done.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.files import npy, paths

# What the folder of a dataset may hold. With anything else in it, a folder is never replaced.
_DATASET_SUFFIXES = ('.npy', '.csv')


def output_file(text: str, default_name: str, overwrite: bool = False) -> pathlib.Path:
  """Returns the .npy file that a converter is to write.

  Args:
    text: the flag --output_path: a path that ends in .npy, or a folder, which need not exist yet;
      `~` at its beginning is the home folder.
    default_name: the name that the file gets in a folder, such as 'omniglot.npy'.
    overwrite: whether an existing file may be replaced.

  Raises:
    InputError: no path is given, the path is a folder where a file is expected, or the file exists
      and may not be replaced.
  """
  if not text:
    raise InputError(
      f'--output_path is not given; expected a .npy file, or a folder for {default_name}'
    )
  path = paths.expanded(text)
  if paths.is_folder(path) or path.suffix != '.npy':
    path = path / default_name
  if paths.is_folder(path):
    raise InputError(f'{path} is a folder; expected a file name: give another --output_path')
  if paths.exists(path) and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')
  return path


@contextlib.contextmanager
def atomic_file(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a file for writing, which is called `path` only when the `with` block has succeeded.

  The folder of the file is made if it is missing. If the block raises an exception, nothing is left
  behind, and an older file `path` stays as it was. If the process is killed, what it left is
  removed by the next one that writes the same file.

  Raises:
    InputError: the folder or the file cannot be written.
  """
  path = paths.expanded(path)
  beside = path.with_name(f'.{path.name}.{os.getpid()}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_overs(path)
    with open(beside, 'wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)
  except OSError as error:
    raise _cannot_write(path, error) from error
  finally:
    with contextlib.suppress(OSError):
      beside.unlink()


def _cannot_write(path: pathlib.Path, error: OSError) -> InputError:
  """Returns the error about a file or folder that the system did not let be written."""
  return InputError(
    f'cannot write {paths.shown(path)}: {error.strerror or error}; check that the folder is '
    'writable and the disk has room, or give another path'
  )


def check_folder(path: pathlib.Path, overwrite: bool = False) -> None:
  """Raises InputError unless `path` may become the folder of a dataset.

  That is so if nothing of this name exists, or an empty folder. With `overwrite` it may also be a
  folder that holds .npy and .csv files only. A mistyped path can thus never delete anything else.
  """
  if not paths.exists(path):
    return
  if not paths.is_folder(path):
    raise InputError(f'{path} is a file; expected the folder of a dataset: give another path')
  others = [
    entry.name
    for entry in path.iterdir()
    if entry.is_dir() or entry.suffix not in _DATASET_SUFFIXES
  ]
  if others:
    raise InputError(
      f'{path} is there and holds {others[0]!r}, so it is not the folder of one '
      'dataset; give a path of its own, such as data_numpy_dir/NAME'
    )
  if any(path.iterdir()) and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')


@contextlib.contextmanager
def atomic_folder(path: pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
  """Makes an empty folder to be filled, which is called `path` only when the block has succeeded.

  If the `with` block raises an exception, nothing is left behind, and an older folder `path` stays
  as it was. If the process is killed, what it left is removed by the next one that writes the same
  folder.

  Args:
    path: the folder to make.
    overwrite: whether the folder of an older dataset may be replaced.

  Raises:
    InputError: `path` may not be replaced (see `check_folder`), or it cannot be written.
  """
  path = paths.expanded(path)
  check_folder(path, overwrite)
  path = path.resolve()  # so that a link to a folder, perhaps on a larger disk, stays a link
  beside = path.with_name(f'.{path.name}.{os.getpid()}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_overs(path)
    beside.mkdir()
    yield beside
    for file in beside.iterdir():
      with open(file, 'rb') as written:
        os.fsync(written.fileno())
    _replace_folder(beside, path)
  except OSError as error:
    raise _cannot_write(path, error) from error
  finally:
    shutil.rmtree(beside, ignore_errors=True)


def _replace_folder(beside: pathlib.Path, path: pathlib.Path) -> None:
  """Gives the folder `beside` the name `path`, and only then deletes an older folder `path`."""
  old = beside.with_suffix('.old')
  if path.exists():
    path.rename(old)
  try:
    beside.rename(path)
  except OSError:
    if old.exists():
      old.rename(path)
    raise
  shutil.rmtree(old, ignore_errors=True)


def _remove_left_overs(path: pathlib.Path) -> None:
  """Removes what killed processes left beside `path`.

  An older folder that a process was about to replace is removed only if `path` is there. Otherwise
  it is the only copy.
  """
  for suffix in ('part', 'old') if path.exists() else ('part',):
    for found in path.parent.glob(f'.{glob.escape(path.name)}.*.{suffix}'):
      pid = found.suffixes[-2][1:]
      if not pid.isdecimal() or _is_running(int(pid)):
        continue
      if found.is_dir():
        shutil.rmtree(found, ignore_errors=True)
      else:
        found.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
  """Tells whether another process has this number; where that cannot be asked, yes is assumed."""
  if os.name != 'posix':
    return True
  # The number of this process itself was that of an earlier one, as numbers are used again. In a
  # container the first process always has the same one.
  if pid == os.getpid():
    return False
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except (PermissionError, OverflowError):
    pass
  return True


def require_space(path: pathlib.Path, needed: int) -> None:
  """Raises InputError unless the disk of `path` has `needed` bytes free; `path` need not exist."""
  folder = path.absolute().parent
  while not paths.exists(folder):
    folder = folder.parent
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise InputError(
      f'{path} needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB '
      'free; make room, or give a path on another disk'
    )


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes `array` as the .npy file `path` by `atomic_file`; raises InputError if it cannot."""
  with atomic_file(path) as file:
    np.save(file, array, allow_pickle=False)


def summary(path: pathlib.Path, array: np.ndarray | npy.Header) -> str:
  """Returns the line with which a converter ends: what it wrote and where, its shape and size."""
  shape = ' x '.join(str(size) for size in array.shape)
  return f'wrote {path}: {array.dtype} {shape}, {path.stat().st_size / 1e6:.1f} MB'
