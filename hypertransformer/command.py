"""What all commands share: bad input ends in one message and status 2. Without TensorFlow."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import app

from hypertransformer.errors import InputError


def run(program: Callable[[], None]) -> None:
  """Parses the absl flags, which are all that may be given, and runs the program."""
  app.run(lambda argv: _main(program, argv))


def _main(program: Callable[[], None], argv: Sequence[str]) -> None:
  with exit_on_bad_input():
    if len(argv) > 1:
      raise InputError(f'arguments that are no flags: {" ".join(argv[1:])}; flags look like --name=value.')
    program()


@contextlib.contextmanager
def exit_on_bad_input() -> Iterator[None]:
  """Prints an InputError in one message on stderr and exits with status 2."""
  try:
    yield
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
