"""Safe reading of untrusted files, and atomic writes.

Paths of users are expanded and checked here, and nowhere else. Everything that is written gets its
own name only when it is complete: until then it is `.NAME.RANDOM.part` in the same directory.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from hypertransformer.errors import InputError

try:
  import fcntl
except ImportError:  # Windows; temporary files of killed processes stay there
  fcntl = None  # type: ignore[assignment]

_SHOWN_LETTERS = 120
_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_POINTER_START = b'version https://git-lfs.github.com/spec/'
# Only directories that hold nothing else are replaced.
_DATASET_SUFFIXES = ('.npy', '.csv')


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
  """Return a path given by a user, with `~` and `~user` replaced by the home directory.

  Raises:
    InputError: the path contains a NUL character.
  """
  text = os.fspath(path)
  if '\0' in text:
    raise InputError(f'the path {shown(text)} contains a NUL character; correct the path')
  return pathlib.Path(os.path.expanduser(text))


def shown(text: str | os.PathLike[str]) -> str:
  """Return a path or text as messages show it: on one line, and only the end if it is long."""
  text = os.fspath(text)
  if not text.isprintable():
    text = ascii(text)[1:-1]
  return text if len(text) <= _SHOWN_LETTERS else '...' + text[3 - _SHOWN_LETTERS :]


def reason(error: Exception) -> str:
  """Return the reason of an error as one short line, as it may quote an untrusted file."""
  text = getattr(error, 'strerror', None) or str(error).partition('\n')[0]
  return shown(text or type(error).__name__)


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raise InputError if a file is unreadable, empty, a web page or a Git LFS pointer.

  Args:
    path: The file.
    expected: What it should be, for the message; such as 'a zip archive'.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD_BYTES)
  except (OSError, ValueError) as error:
    raise InputError(
      f'{shown(path)} cannot be read ({reason(error)}); expected {expected}'
    ) from error
  if not head:
    raise InputError(
      f'{shown(path)} is an empty file; expected {expected}: download or make it again'
    )
  if head.removeprefix(b'\xef\xbb\xbf').lstrip().lower().startswith(_PAGE_STARTS):
    raise InputError(
      f'{shown(path)} is a web page; expected {expected}: download the file itself, the link may '
      'lead to a confirmation page'
    )
  if head.startswith(_POINTER_START):
    raise InputError(
      f'{shown(path)} is a Git LFS pointer; expected {expected}: run `git lfs pull` in its '
      'repository'
    )


def require_folder(path: pathlib.Path) -> None:
  """Raise InputError unless `path` is a directory that can be read."""
  try:
    os.scandir(path).close()
  except (OSError, ValueError) as error:
    raise InputError(
      f'the directory {shown(path)} cannot be read ({reason(error)}); correct the path'
    ) from error


class Header(NamedTuple):
  """The header of a .npy file: shape, element order and type, as NumPy returns them."""

  shape: tuple[int, ...]
  fortran_order: bool
  dtype: np.dtype

  def __str__(self) -> str:
    """Return type and shape, such as 'uint8 [5, 28, 28, 1]'."""
    return f'{self.dtype} {list(self.shape)}'


def read_header(file: BinaryIO, path: pathlib.Path) -> Header:
  """Read the header of a .npy file.

  Args:
    file: The open file, at its start; afterwards it is at the data.
    path: The name of the file in errors.

  Raises:
    InputError: The header is missing or malformed.
  """
  try:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # the others are for headers of more than 64 kB
      raise ValueError(f'format version {version}')
    return Header(*np.lib.format.read_array_header_1_0(file))
  except Exception as error:  # NumPy parses the header as Python code, which can raise anything
    raise InputError(
      f'{shown(path)} is not a NumPy .npy file ({reason(error)}): make or download it again'
    ) from error


def header_of(path: pathlib.Path) -> Header:
  """Return the header of a .npy file; raise InputError if it is not one."""
  refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    return read_header(file, path)


def uint8_header(shape: tuple[int, ...]) -> bytes:
  """Return the header of a .npy file with a uint8 array in C order.

  NumPy pads headers, so those of all images [classes, samples, H, W, C] or [all images, H, W, C]
  have 128 bytes. A header can thus be replaced when the number of images has become known.
  """
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  )
  return header.getvalue()


def map_array(path: pathlib.Path) -> np.memmap:
  """Open a .npy file of numbers as a read-only memory map.

  Raises:
    InputError: The file is not a .npy file of numbers, is empty or truncated.
  """
  refuse_page_or_empty(path, 'a NumPy .npy file')
  try:
    array = np.lib.format.open_memmap(path, mode='r')
  except Exception as error:  # NumPy parses the header as Python code, which can raise anything
    raise InputError(
      f'{shown(path)} is not a whole NumPy .npy file ({reason(error)}): make or download it again'
    ) from error
  if array.dtype.kind not in 'biufc' or not array.size:
    raise InputError(
      f'{shown(path)} holds {array.dtype} {list(array.shape)}; expected numbers, at least one'
    )
  return array


@contextlib.contextmanager
def atomic_file(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Open a file for writing that gets its name only when the `with` block succeeds.

  Missing directories are made. After an exception nothing is left behind, and an existing file
  `path` is unchanged. What a killed process leaves is removed by the next one that writes `path`.

  Raises:
    InputError: The file cannot be written.
  """
  path = expanded(path)
  with _beside(path, pathlib.Path.touch) as beside:
    with open(beside, 'wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)


def check_folder(path: pathlib.Path, overwrite: bool = False) -> None:
  """Raise InputError unless `path` may become the directory of a dataset.

  It may if it does not exist or is empty. With `overwrite` it may hold .npy and .csv files, but
  nothing else, so a mistyped path never deletes anything else.
  """
  if not os.path.lexists(path):
    return
  if not path.is_dir():
    raise InputError(f'{path} is a file; give another path for the directory of the dataset')
  entries = list(path.iterdir())
  for entry in entries:
    if entry.is_dir() or entry.suffix not in _DATASET_SUFFIXES:
      raise InputError(
        f'{path} holds {entry.name!r}, so it is not the directory of one dataset; give a path such '
        'as data_numpy_dir/NAME'
      )
  if entries and not overwrite:
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')


@contextlib.contextmanager
def atomic_folder(path: pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
  """Make a directory to be filled, which gets its name only when the `with` block succeeds.

  After an exception nothing is left behind, and an existing directory `path` is unchanged.

  Args:
    path: The directory.
    overwrite: Whether the directory of an existing dataset may be replaced.

  Raises:
    InputError: `path` may not be replaced (see `check_folder`), or it cannot be written.
  """
  path = expanded(path)
  check_folder(path, overwrite)
  path = path.resolve()  # a link to a directory, perhaps on a larger disk, stays a link
  with _beside(path, pathlib.Path.mkdir) as beside:
    yield beside
    for file in filter(pathlib.Path.is_file, beside.rglob('*')):
      with open(file, 'rb') as written:
        os.fsync(written.fileno())
    old = beside.with_suffix('.old')  # the only copy until `beside` has its name
    if path.exists():
      path.rename(old)
    beside.rename(path)
    _remove(old)


@contextlib.contextmanager
def _beside(path: pathlib.Path, make: Callable[[pathlib.Path], None]) -> Iterator[pathlib.Path]:
  """Make a hidden file or directory beside `path`, locked while it is in use.

  Raises:
    InputError: It cannot be written; this includes all OSErrors of the `with` block.
  """
  beside = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    make(beside)
    with _locked(beside):
      yield beside
  except OSError as error:
    raise InputError(
      f'cannot write {shown(path)}: {reason(error)}; check that the directory is writable and the '
      'disk has room, or give another path'
    ) from error
  finally:
    _remove(beside)


def _remove_leftovers(path: pathlib.Path) -> None:
  """Remove what killed processes left beside `path`.

  A dataset that was about to be replaced is removed only if `path` exists; otherwise it is the
  only copy.
  """
  for suffix in ('part', 'old') if path.exists() else ('part',):
    for found in path.parent.glob(f'.{glob.escape(path.name)}.*.{suffix}'):
      with contextlib.suppress(OSError), _locked(found) as is_abandoned:
        if is_abandoned:
          _remove(found)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[bool]:
  """Lock a file or directory, and yield whether that was possible."""
  if fcntl is None:
    yield False
    return
  descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      locked = True
    except OSError:  # another process has locked it, or the file system has no locks
      locked = False
    yield locked
  finally:
    os.close(descriptor)


def _remove(path: pathlib.Path) -> None:
  """Remove a file or directory if it exists and can be removed."""
  shutil.rmtree(path, ignore_errors=True)
  with contextlib.suppress(OSError):
    path.unlink()


def summary(path: pathlib.Path) -> str:
  """Return the last line of a converter's output: what it wrote where, its shape and size."""
  array = map_array(path)
  shape = ' x '.join(map(str, array.shape))
  return f'wrote {path}: {array.dtype} {shape}, {path.stat().st_size / 1e6:.1f} MB'
