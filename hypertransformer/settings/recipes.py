"""Recipes: the flags of the published runs and the quickstart, in hypertransformer/recipes/."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

from absl import flags as absl_flags

from hypertransformer.data import files
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


def expand_flagfiles(arguments: Iterable[str], within: tuple[pathlib.Path, ...] = ()) -> list[str]:
  """Replace each --flagfile=PATH by the flags in the file.

  absl does the same, but looks for a path in a file from the working directory, not from the
  directory of that file. What cannot be read here is left to absl.

  Args:
    arguments: the arguments, or the lines of the last file.
    within: the files that include each other, from the first one on.

  Raises:
    InputError: a path is not a local one.
  """
  found = []
  folder = within[-1].parent if within else pathlib.Path()
  for argument in arguments:
    path = None
    if argument.startswith('--flagfile='):
      path = folder / files.expanded(argument.removeprefix('--flagfile='))
    if path and path.is_file() and path not in within:
      lines = path.read_text(errors='replace').splitlines()
      flag_lines = (line.strip() for line in lines if line.strip()[:1] not in ('', '#'))
      found += expand_flagfiles(flag_lines, (*within, path))
    else:
      found.append(argument)
  return found
