"""The one exception for bad input: a file, a flag or a checkpoint that cannot be used."""


class InputError(ValueError):
  """Says that something the user gave cannot be used.

  The message names the thing, what was found, what is expected and what to do. Programs print it
  without a traceback and exit with status 2.
  """


def require(condition: bool, message: str) -> None:
  """Raises an InputError with this message unless the condition holds."""
  if not condition:
    raise InputError(message)
