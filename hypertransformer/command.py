"""What all programs share: after bad input they end with one message and exit status 2.

TensorFlow is not imported here, as some programs do without it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import app

from hypertransformer.errors import InputError


def run(program: Callable[[], None]) -> None:
  """Parses the command line, which may hold nothing but flags, and runs the program.

  An InputError of the program, or an argument that is not a flag, ends the process with one message
  on stderr and exit status 2.
  """
  run_with_arguments(lambda arguments: _without_arguments(program, arguments))


def run_with_arguments(program: Callable[[Sequence[str]], None]) -> None:
  """Does the same for a program that takes arguments: what of the command line is no flag."""
  app.run(lambda argv: _main(program, argv[1:]))


def _main(program: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
  with exit_on_bad_input():
    program(arguments)


def _without_arguments(program: Callable[[], None], arguments: Sequence[str]) -> None:
  if arguments:
    raise InputError(
      f'arguments that are no flags: {" ".join(arguments)}; flags look like --name=value.'
    )
  program()


def leave_out_keras() -> None:
  """Keeps TensorFlow from importing Keras, if called before TensorFlow itself is imported.

  Keras costs 0.8 s of CPU and 48 MB at the start (docs/performance.md), and we do not use it. Only
  programs call this. A library must not, because its user may want tf.keras.

  How it works: when TensorFlow is asked for the legacy Keras, it looks for the package tf_keras and
  goes on without Keras if that is not installed. If the environment variable TF_USE_LEGACY_KERAS is
  set already, it is left as it is.
  """
  if importlib.util.find_spec('tf_keras') is None:
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')


@contextlib.contextmanager
def exit_on_bad_input() -> Iterator[None]:
  """Turns an InputError of the block into one message on stderr and exit status 2."""
  try:
    yield
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
