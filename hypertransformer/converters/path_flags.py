"""Reads the paths in flags of the converters."""

from __future__ import annotations

import os
import pathlib

from hypertransformer.converters.class_names import shown
from hypertransformer.errors import InputError


def given(text: str, flag: str) -> pathlib.Path:
  """Returns the path that a flag gives, with `~` and `~user` at its start expanded.

  Args:
    text: the value of the flag.
    flag: its name, without --, for errors.

  Raises:
    InputError: it is empty, or no file can have this path: it has a NUL character, a name in it is
      too long, it may not be looked at, or a folder of it would be called `~`.
  """
  what = f'--{flag}={shown(text)}'
  if not text:
    raise InputError(f'--{flag} is not given; expected a path')
  if '\0' in text:
    raise InputError(f'{what} has a NUL character, which no path can have; correct it')
  path = pathlib.Path(os.path.expanduser(text))
  wild = [part for part in path.parts if part.startswith('~') and part in ('~', path.parts[0])]
  if wild:
    raise InputError(
      f'{what} has a folder {wild[0]!r}; ~ means a home folder only at the start of a path, and '
      '~NAME that of a user of this computer: write the path in full'
    )
  try:
    os.lstat(path)
  except (FileNotFoundError, NotADirectoryError):
    pass
  except OSError as error:
    raise InputError(
      f'{what} cannot be used as a path ({error.strerror}); give another one'
    ) from error
  return path
