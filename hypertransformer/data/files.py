"""Writes data files such that none is ever half-written, and none overwritten unasked.

Files and folders are written under a hidden name beside their place, `.NAME.PROCESS.part`, and get
their own name when all is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import io
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from hypertransformer.errors import InputError

_SHOWN_LETTERS = 120


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
  """Returns a path as `expanded_text` does, as a Path; that of '' is the current folder."""
  return pathlib.Path(expanded_text(path))


def expanded_text(path: str | os.PathLike[str]) -> str:
  """Returns a path with `~` and `~user` at its beginning replaced by the home folder.

  Raises:
    InputError: no system can have such a path, because there is a NUL character in it.
  """
  text = os.fspath(path)
  if '\0' in text:
    raise InputError(
      f'the path {shown(text)} holds a NUL character, which no file name can have; correct the path'
    )
  return os.path.expanduser(text)


def shown(path: str | os.PathLike[str]) -> str:
  """Returns a path as a message shows it: on one line, and only the end of a very long one."""
  text = os.fspath(path)
  if not text.isprintable():
    text = ascii(text)[1:-1]
  return text if len(text) <= _SHOWN_LETTERS else '...' + text[3 - _SHOWN_LETTERS :]


def is_file(path: pathlib.Path) -> bool:
  """Tells whether a file is there; raises InputError where the system cannot say."""
  return _asked(path) and path.is_file()


def is_folder(path: pathlib.Path) -> bool:
  """Tells whether a folder is there; raises InputError where the system cannot say."""
  return _asked(path) and path.is_dir()


def exists(path: pathlib.Path) -> bool:
  """Tells whether a file or folder is there; raises InputError where the system cannot say."""
  return _asked(path)


def _asked(path: pathlib.Path) -> bool:
  """Asks the system for a path: whether there is anything.

  Raises:
    InputError: the name is too long or not one at all, a folder above may not be read, or the disk
      fails. Nobody knows then whether there is something.
  """
  try:
    os.stat(path)
  except (FileNotFoundError, NotADirectoryError):
    return False
  except (OSError, ValueError) as error:
    raise InputError(f'{shown(path)} cannot be looked for ({reason(error)})') from error
  return True


def reason(error: OSError | ValueError) -> str:
  """Returns why the system refused a path, with what to do where a path itself is the reason."""
  number = error.errno if isinstance(error, OSError) else None
  if number == errno.ENAMETOOLONG:
    return 'the name is too long; give a shorter one'
  if number == errno.ELOOP:
    return 'its links lead in a circle; give the path of the file itself'
  return (error.strerror if isinstance(error, OSError) else None) or str(error)


_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
# The first line of what Git LFS leaves in place of a large file that was not downloaded.
_POINTER_START = b'version https://git-lfs.github.com/spec/'


def is_web_page(head: bytes) -> bool:
  """Tells whether a file that begins with the bytes `head` is an HTML or XML page."""
  text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
  return text.startswith(_PAGE_STARTS)


def is_pointer(head: bytes) -> bool:
  """Tells whether a file that begins with the bytes `head` only points to one in Git LFS."""
  return head.removeprefix(_BYTE_ORDER_MARK).startswith(_POINTER_START)


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raises InputError if a file cannot be read, is empty, a web page, or a pointer of Git LFS.

  Args:
    path: the file.
    expected: what it should be, for the message; such as 'a zip archive'.
  """
  name = shown(path)
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD_BYTES)
  except IsADirectoryError as error:
    raise InputError(
      f'{name} cannot be read (Is a directory); expected {expected}, not a folder: give the file '
      'itself'
    ) from error
  except (OSError, ValueError) as error:
    raise InputError(f'{name} cannot be read ({reason(error)}); expected {expected}') from error
  if not head:
    raise InputError(f'{name} is an empty file; expected {expected}; download or make it again')
  if is_web_page(head):
    raise InputError(
      f'{name} is a web page, not {expected}; the download link probably led to a '
      'confirmation or error page: download the file itself'
    )
  if is_pointer(head):
    raise InputError(
      f'{name} is a pointer of Git LFS, not {expected}: the file itself was not downloaded; run '
      '`git lfs pull` in its repository'
    )


def require_folder(path: pathlib.Path) -> None:
  """Raises InputError unless `path` is a folder that can be read."""
  try:
    os.scandir(path).close()
  except NotADirectoryError as error:
    raise InputError(
      f'{shown(path)} cannot be read as a folder (Not a directory); expected the folder that '
      'the files are in: correct --input_path'
    ) from error
  except (OSError, ValueError) as error:
    raise InputError(
      f'{shown(path)} cannot be read as a folder ({reason(error)}); correct --input_path'
    ) from error


_MAX_HEADER_BYTES = 10_000  # NumPy's own limit for headers of strangers
_MAX_AXES = 32  # of NumPy 1
_MAX_BYTES = (1 << 63) - 1
_MAX_REASON = 100  # letters


@dataclasses.dataclass(frozen=True)
class Header:
  """What a .npy file says it holds.

  Attributes:
    shape: the shape of the array.
    dtype: the type of its elements.
    fortran_order: whether the first axis is the one that runs fastest in the file.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  fortran_order: bool = False

  def __str__(self) -> str:
    return f'{self.dtype} {list(self.shape)}'


def read_header(file: BinaryIO, path: pathlib.Path) -> Header:
  """Reads the header of a .npy file.

  Args:
    file: the open file, at the beginning of the header; afterwards it is at the data.
    path: the name of the file in errors.

  Raises:
    InputError: there is no header, or a broken one.
  """
  readers = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
  }
  try:
    version = np.lib.format.read_magic(file)
    if version not in readers:  # version 3.0 is for structured arrays only
      raise ValueError(f'version {version} of the format')
    count_bytes, read = readers[version]
    count = file.read(count_bytes)
    length = int.from_bytes(count, 'little')
    if length > _MAX_HEADER_BYTES:  # a small zip file can hold a header of many GB
      raise ValueError(f'a header of {length} bytes')
    with warnings.catch_warnings():  # Python warns of doubtful code, and a header is code
      warnings.simplefilter('ignore')
      shape, fortran_order, dtype = read(io.BytesIO(count + file.read(length)))
    _check_claims(shape, dtype)
  except Exception as error:  # a broken header, being Python code, can raise any exception
    raise InputError(
      f'{shown(path)} is not a NumPy .npy file, or a broken one ({_short(error)}); make or '
      'download it again'
    ) from error
  return Header(shape, dtype, fortran_order)


def _check_claims(shape: tuple[Any, ...], dtype: np.dtype) -> None:
  """Raises ValueError for a shape or type that no array of numbers or objects can have."""
  if len(shape) > _MAX_AXES:
    raise ValueError(f'an array of {len(shape)} axes')
  for number, size in enumerate(shape):
    if type(size) is not int or size < 0:  # NumPy lets True through, which counts as an int
      raise ValueError(f'axis {number} has the size {str(size)[:20]}')
    if size > _MAX_BYTES:
      raise ValueError(f'axis {number} is larger than any memory')
  if dtype.fields is not None or dtype.subdtype is not None:
    raise ValueError('it holds records of several fields; expected plain numbers')
  if dtype.itemsize == 0:
    raise ValueError(f'its items of type {dtype} have no size')
  # NumPy refuses this product too, and leaves out the axes of size 0.
  if math.prod(max(size, 1) for size in shape) * dtype.itemsize > _MAX_BYTES:
    raise ValueError('the array is larger than any memory')


def _short(error: Exception) -> str:
  """Returns the reason of an error on one line, cut if it is long, as it may quote the file."""
  text = ' '.join(str(error).split()) or type(error).__name__
  if not text.isprintable():
    text = ascii(text)[1:-1]
  return text if len(text) <= _MAX_REASON else f'{text[:_MAX_REASON]}...'


def header_of(path: pathlib.Path) -> Header:
  """Returns what a .npy file says it holds; raises InputError if it is not a .npy file."""
  refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    return read_header(file, path)


def uint8_header(shape: tuple[int, ...]) -> bytes:
  """Returns the beginning of a .npy file that holds a uint8 array of this shape, in C order.

  The data are to follow it. NumPy pads headers, so those of all images [classes, samples, H, W, C]
  or [all images, H, W, C] have the same length, 128 bytes. A header can thus be written again with
  another shape when the number of images has become known.
  """
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  )
  return header.getvalue()


def map_array(path: pathlib.Path) -> np.memmap:
  """Opens a .npy file of numbers as a memory map that can only be read.

  Raises:
    InputError: the file is not a .npy file (if it is a web page, the message says so), it holds
      Python objects, its array is empty, or it is cut short.
  """
  refuse_page_or_empty(path, 'a NumPy .npy file')
  name = shown(path)
  with open(path, 'rb') as file:
    header = read_header(file, path)
    begin = file.tell()
    available = path.stat().st_size - begin
  if header.dtype.hasobject:
    raise InputError(
      f'{name} holds Python objects ({header}); expected an array of numbers: save it as uint8'
    )
  if 0 in header.shape:
    raise InputError(f'{name} holds an empty array ({header}); expected at least one image')
  needed = math.prod(header.shape) * header.dtype.itemsize
  if available < needed:
    raise InputError(
      f'{name} is truncated: {header} needs {needed} bytes, the file has '
      f'{available}; make or download it again'
    )
  order = 'F' if header.fortran_order else 'C'
  return np.memmap(path, header.dtype, 'r', begin, header.shape, order)  # type: ignore[call-overload]


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
  path = expanded(text)
  if is_folder(path) or path.suffix != '.npy':
    path = path / default_name
  if is_folder(path):
    raise InputError(f'{path} is a folder; expected a file name: give another --output_path')
  if exists(path) and not overwrite:
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
  path = expanded(path)
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
    f'cannot write {shown(path)}: {error.strerror or error}; check that the folder is '
    'writable and the disk has room, or give another path'
  )


def check_folder(path: pathlib.Path, overwrite: bool = False) -> None:
  """Raises InputError unless `path` may become the folder of a dataset.

  That is so if nothing of this name exists, or an empty folder. With `overwrite` it may also be a
  folder that holds .npy and .csv files only. A mistyped path can thus never delete anything else.
  """
  if not exists(path):
    return
  if not is_folder(path):
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
  path = expanded(path)
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
  while not exists(folder):
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


def summary(path: pathlib.Path, array: np.ndarray | Header) -> str:
  """Returns the line with which a converter ends: what it wrote and where, its shape and size."""
  shape = ' x '.join(str(size) for size in array.shape)
  return f'wrote {path}: {array.dtype} {shape}, {path.stat().st_size / 1e6:.1f} MB'
