"""Looks at paths that people give: `~` is expanded, and what no system can open is refused."""

from __future__ import annotations

import errno
import os
import pathlib

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
