"""The one exception for bad input: files, flags, checkpoints."""


class InputError(ValueError):
  """Something the user gave cannot be used.

  The message names the thing, what was found, what is expected and what to do. Entry points print it
  without a traceback and exit with status 2.
  """
