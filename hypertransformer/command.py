"""What all commands share: bad input ends in one message and status 2. Without TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.util
import os
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
      raise InputError(
        f'arguments that are no flags: {" ".join(argv[1:])}; flags look like --name=value.'
      )
    program()


def leave_out_keras() -> None:
  """For a program of ours, before TensorFlow is imported: keeps it from importing Keras, which
  costs 0.8 s of CPU and 48 MB (benchmarks/RESULTS.md) and which we do not use. Not for a library:
  its user may want tf.keras.

  Asked for the legacy Keras, TensorFlow looks for the package tf_keras; without that there is no
  Keras. A setting of the environment is kept.
  """
  if importlib.util.find_spec('tf_keras') is None:
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')


@contextlib.contextmanager
def exit_on_bad_input() -> Iterator[None]:
  """Prints an InputError in one message on stderr and exits with status 2."""
  try:
    yield
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
