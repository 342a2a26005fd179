"""The one exception for bad input: files, flags, checkpoints."""

from hypertransformer import errors


class InputError(ValueError):
  """Something the user gave cannot be used.

  The message names the thing, what was found, what is expected and what to do. Entry points print
  it without a traceback and exit with status 2.
  """


def require(condition: bool, message: str) -> None:
  """Raises InputError(message) unless the condition holds."""
  if not condition:
    raise errors.InputError(message)
