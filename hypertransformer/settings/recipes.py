"""Recipes: the flags of the published runs and the quickstart, in hypertransformer/recipes/."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import flags as absl_flags

from hypertransformer.errors import InputError, hint
from hypertransformer.settings import flags

_FOLDER = pathlib.Path(__file__).parents[1] / 'recipes'


def names() -> list[str]:
  """Return the names of all recipes."""
  return sorted(path.stem for path in _FOLDER.glob('*.flags'))


def flagfile(name: str) -> str:
  """Return the flag --flagfile=PATH of a recipe.

  Raises:
    InputError: There is no such recipe.
  """
  if name not in names():
    others = f'Use one of {", ".join(names())}.'
    raise InputError(f'{name!r} is not a recipe. {hint(name, names(), others)}')
  return f'--flagfile={_FOLDER / name}.flags'


def values(name: str) -> dict[str, Any]:
  """Return the value of every flag in a run of a recipe, by its name.

  Raises:
    InputError: There is no such recipe.
  """
  holder = absl_flags.FlagValues()
  flags.define(holder)
  holder(['', *expand_flagfiles([flagfile(name)])])
  return flags.values(holder)


def expand_flagfiles(arguments: Iterable[str], files: tuple[pathlib.Path, ...] = ()) -> list[str]:
  """Replace each --flagfile=PATH by the flags in the file.

  absl does the same, but looks for a path in a file from the working directory, not from the
  directory of that file. What cannot be read here is left to absl.

  Args:
    arguments: the arguments, or the lines of the last file.
    files: the files that include each other, from the first one on.
  """
  expanded = []
  for argument in arguments:
    name = os.path.expanduser(argument.strip().removeprefix('--flagfile='))
    path = (files[-1].parent if files else pathlib.Path()) / name
    if argument.startswith('--flagfile=') and path.is_file() and path not in files:
      lines = path.read_text(errors='replace').splitlines()
      flag_lines = (line.strip() for line in lines if line.strip()[:1] not in ('', '#'))
      expanded += expand_flagfiles(flag_lines, (*files, path))
    else:
      expanded.append(argument)
  return expanded
