"""Writing data files: nothing half-written, nothing overwritten unasked, and progress meanwhile."""

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
from hypertransformer.files import npy

# What a dataset's folder may hold: --overwrite deletes no folder with anything else in it.
_DATASET_SUFFIXES = ('.npy', '.csv')


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
    raise InputError(
      f'--output_path is not given; expected a .npy file, or a folder for {default_name}'
    )
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

  The folder is made when it is missing. After an exception nothing is left behind; what a killed
  process left is removed by the next one.

  Raises:
    InputError: the folder or the file cannot be written.
  """
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
    raise InputError(
      f'cannot write {path}: {error.strerror or error}; check that the folder is '
      'writable and the disk has room, or give another path'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      beside.unlink()


def check_folder(path: pathlib.Path, overwrite: bool = False) -> None:
  """Raises InputError unless `path` can be made, or replaced, as the folder of a dataset.

  An empty folder may always be replaced; with `overwrite` also one that holds .npy and .csv files
  only, so that a mistyped path never deletes something else.
  """
  if not path.exists():
    return
  if not path.is_dir():
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
  """Makes an empty folder beside `path` to fill; it takes that name only when all went well.

  After an exception nothing is left behind; what a killed process left is removed by the next one.

  Raises:
    InputError: `path` exists (see check_folder), or the folder cannot be written.
  """
  check_folder(path, overwrite)
  path = path.resolve()  # a link to a folder on a larger disk stays a link
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
    raise InputError(
      f'cannot write {path}: {error.strerror or error}; check that the folder is '
      'writable and the disk has room, or give another path'
    ) from error
  finally:
    shutil.rmtree(beside, ignore_errors=True)


def _replace_folder(beside: pathlib.Path, path: pathlib.Path) -> None:
  """Gives `beside` the name `path`; the old folder goes only when the new one is in its place."""
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
  """Removes what killed processes left beside `path`; an old folder only if a new one is there."""
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
  """Whether there is another process of this number; assumed where it cannot be asked."""
  if os.name != 'posix':
    return True
  if (
    pid == os.getpid()
  ):  # numbers come again: in a container, the first process always has the same one
    return False
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except (PermissionError, OverflowError):
    pass
  return True


def require_space(path: pathlib.Path, needed: int) -> None:
  """Raises InputError when the disk of `path` (which need not exist yet) has not `needed` bytes."""
  folder = path.absolute().parent
  while not folder.exists():
    folder = folder.parent
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise InputError(
      f'{path} needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB '
      'free; make room, or give a path on another disk'
    )


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes `array` as the .npy file `path`, atomically. Raises InputError when it cannot."""
  with atomic_file(path) as file:
    np.save(file, array, allow_pickle=False)


def summary(path: pathlib.Path, array: np.ndarray | npy.Header) -> str:
  """The line with which a converter ends: what was written, where, its shape and size."""
  shape = ' x '.join(str(size) for size in array.shape)
  return f'wrote {path}: {array.dtype} {shape}, {path.stat().st_size / 1e6:.1f} MB'
