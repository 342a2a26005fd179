"""The one exception for bad input: a file, a flag or a checkpoint that cannot be used."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
  """Says that something the user gave cannot be used.

  The message names the thing, what was found, what is expected and what to do. Programs print it
  without a traceback and exit with status 2.
  """


def require(condition: bool, message: str) -> None:
  """Raises an InputError with this message unless the condition holds."""
  if not condition:
    raise InputError(message)


def hint(name: str, known: Iterable[str], otherwise: str) -> str:
  """Return 'Did you mean X?' for an unknown name, or another sentence if no known name is near."""
  near = difflib.get_close_matches(name, known, n=1)
  return f'Did you mean {near[0]}?' if near else otherwise
