"""Safe reading of untrusted files, and atomic writes.

Paths of users are expanded and checked here, and nowhere else. Everything that is written gets its
own name only when it is complete: until then it is `.NAME.RANDOM.part` in the same directory.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import json
import os
import pathlib
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hypertransformer.errors import InputError

try:
  import fcntl
except ImportError:  # Windows; temporary files of killed processes stay there
  fcntl = None  # type: ignore[assignment]

# What reading a JSON file can raise. OverflowError: a number that is used is too large.
JSON_ERRORS = (OSError, ValueError, RecursionError, OverflowError)
# The directory NAME/ of a packaged model holds a checkpoint, the flags.json of its training, and a
# card.json: the command, the number of steps, the accuracy with its interval, the data and its
# license.
PACKAGED = pathlib.Path(__file__).resolve().parents[1] / 'pretrained'
CARD = 'card.json'
_NO_WAITING = getattr(os, 'O_NONBLOCK', 0)
_SHOWN_LETTERS = 120
# As gs://bucket; pathlib makes gs:/bucket of it. One letter is a drive of Windows.
_URL = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)
_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_KINDS = {
  'a zip archive, as .npz and .pt are': b'PK\x03\x04',
  'an HDF5 file': b'\x89HDF\r\n',
  'a Parquet file': b'PAR1',
  'a gzip file': b'\x1f\x8b',
  'a pickle': b'\x80',
  'a NumPy .npy file': b'\x93NUMPY',
}
_POINTER_START = b'version https://git-lfs.github.com/spec/'
# Only directories that hold nothing else are replaced.
_DATASET_SUFFIXES = ('.npy', '.csv')


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
  """Return a path given by a user, with `~` and `~user` replaced by the home directory.

  Raises:
    InputError: the path contains a NUL character, is a URL, or has the home of an unknown user.
  """
  text = os.fspath(path)
  if '\0' in text:
    raise InputError(f'the path {shown(text)} contains a NUL character; correct the path')
  if _URL.match(text):
    raise InputError(
      f'{shown(text)} is not a local path; copy the data to a local disk or mount the storage, and '
      'give the path there'
    )
  local = os.path.expanduser(text)
  if local.startswith('~'):
    raise InputError(
      f'{shown(text)}: there is no home directory {shown(text.partition("/")[0])}; correct the path'
    )
  return pathlib.Path(local)


def packaged() -> list[str]:
  """Return the names of the models that come with the package, sorted."""
  return sorted(path.parent.name for path in PACKAGED.glob(f'*/{CARD}'))


def checkpoint(path: str | os.PathLike[str]) -> str:
  """Return the path of a checkpoint, given by a user, as `expanded`; '' stays.

  The name of a packaged model stands for its directory, unless there is something of that name.
  """
  text = os.fspath(path)
  if text in packaged() and not os.path.lexists(text):
    return str(PACKAGED / text)
  return str(expanded(text)) if text else ''


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


def read_small(path: str | os.PathLike[str], most: int = 1 << 26) -> bytes:
  """Return the content of a regular file of at most `most` bytes; anything else is an OSError."""
  # A pipe would otherwise wait for its writer.
  with open(path, 'rb', opener=lambda name, mode: os.open(name, mode | _NO_WAITING)) as file:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
      raise OSError(errno.EINVAL, 'not a regular file', os.fspath(path))
    content = file.read(most + 1)
  if len(content) > most:
    raise OSError(errno.EFBIG, f'larger than {most} bytes', os.fspath(path))
  return content


def read_json(path: str | os.PathLike[str]) -> Any:
  """Return the content of a small JSON file; one of JSON_ERRORS if there is none."""
  return json.loads(read_small(path))


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raise InputError if a file is unreadable, empty, a web page, a Git LFS pointer or of _KINDS.

  Args:
    path: The file.
    expected: What it should be, such as 'a zip archive'; it may be of a kind that this names.
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
  kind = next((kind for kind, start in _KINDS.items() if head.startswith(start)), None)
  if kind and kind.partition(',')[0] not in expected:
    raise InputError(f'{shown(path)} is {kind}; expected {expected}: convert it, or give another')
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


def require_regular(path: str | os.PathLike[str]) -> None:
  """Raise InputError if a path that is to be written is a link, a device or a directory."""
  if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
    kind = 'a symbolic link' if os.path.islink(path) else 'not a regular file'
    raise InputError(f'{shown(path)} is {kind} and is not written; remove it or give another path')


def no_link(path: str, mode: int) -> int:
  """Open a file for `open(..., opener=no_link)`, which fails if it is a symbolic link."""
  return os.open(path, mode | getattr(os, 'O_NOFOLLOW', 0), 0o666)


@contextlib.contextmanager
def atomic_file(path: pathlib.Path, overwrite: bool = True) -> Iterator[BinaryIO]:
  """Open a file for writing that gets its name only when the `with` block succeeds.

  Missing directories are made. After an exception nothing is left behind, and an existing file
  `path` is unchanged. What a killed process leaves is removed by the next one that writes `path`.

  Args:
    path: The file.
    overwrite: Whether an existing file may be replaced, also one that was made in the meantime.

  Raises:
    InputError: The file cannot be written, or it is a link, a device or a directory.
  """
  path = expanded(path)
  require_regular(path)
  with temporary(path, pathlib.Path.touch) as part:
    with open(part, 'wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    give_name(part, path, overwrite)


def give_name(part: pathlib.Path, path: pathlib.Path, overwrite: bool) -> None:
  """Give a complete file its name; raise OSError if that exists and may not be replaced."""
  if not overwrite:
    try:
      os.link(part, path)
      return
    except FileExistsError:
      raise
    except OSError:  # the file system has no links
      os.close(os.open(path, os.O_CREAT | os.O_EXCL))
  os.replace(part, path)


def require_new(path: pathlib.Path, overwrite: bool) -> None:
  """Raise InputError if a file exists and may not be replaced."""
  if not overwrite and path.exists():
    raise InputError(f'{path} exists already; remove it or give --overwrite to replace it')


def check_folder(path: pathlib.Path, overwrite: bool = False) -> None:
  """Raise InputError unless `path` may become the directory of a dataset.

  It may if it does not exist or is empty. With `overwrite` it may hold .npy and .csv files, but
  nothing else, so a mistyped path never deletes anything else.
  """
  recover(path)
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
  with temporary(path, pathlib.Path.mkdir) as part:
    yield part
    for file in filter(pathlib.Path.is_file, part.rglob('*')):
      with open(file, 'rb') as written:
        os.fsync(written.fileno())
    if overwrite and path.exists():
      old = part.with_suffix('.old')  # the only copy until `part` has its name, see `recover`
      with _locked(path):
        path.rename(old)
        part.rename(path)
        _remove(old)
    else:
      part.rename(path)


@contextlib.contextmanager
def temporary(path: pathlib.Path, make: Callable[[pathlib.Path], None]) -> Iterator[pathlib.Path]:
  """Make a hidden file or directory beside `path`, locked while it is in use, and then removed.

  Raises:
    InputError: It cannot be written; this includes all OSErrors of the `with` block.
  """
  part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
      with _locked(path.parent, wait=True):  # or another process could take `part` for abandoned
        for found in _abandoned(path, 'part'):
          _remove(found)
        make(part)
        stack.enter_context(_locked(part))
      yield part
  except OSError as error:
    raise InputError(
      f'cannot write {shown(path)}: {reason(error)}; check that the directory is writable and the '
      'disk has room, or give another path'
    ) from error
  finally:
    _remove(part)


def recover(path: pathlib.Path) -> None:
  """Give a directory its name back if a process was killed while it replaced that directory."""
  path = path.resolve()
  for found in _abandoned(path, 'old'):
    if path.exists():
      _remove(found)
    else:
      with contextlib.suppress(OSError):
        found.rename(path)


def _abandoned(path: pathlib.Path, suffix: str) -> Iterator[pathlib.Path]:
  """Yield what killed processes left beside `path`; each is locked until the next one."""
  for found in path.parent.glob(f'.{glob.escape(path.name)}.*.{suffix}'):
    with contextlib.suppress(OSError), _locked(found) as is_abandoned:
      if is_abandoned:
        yield found


@contextlib.contextmanager
def _locked(path: pathlib.Path, wait: bool = False) -> Iterator[bool]:
  """Lock a file or directory, and yield whether that was possible; `wait` waits for others."""
  if fcntl is None:
    yield False
    return
  descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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
