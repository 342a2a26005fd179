"""What all programs share: after bad input they end with one message and exit status 2.

TensorFlow is imported only on demand, as some programs do without it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from absl import app

from hypertransformer.errors import InputError

# TensorFlow's own variable: 0 shows all that it prints, 1 leaves out what it calls information, 2
# also warnings, 3 also errors. Errors that matter to us it raises as exceptions as well.
_LOG_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'
_LOG_LEVELS = 'IWEF'
_LOG_LINE = re.compile(r'([IWEF])\d{4} |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IWEF]) ')
_LOG_PREAMBLE = 'WARNING: All log messages before absl::InitializeLog() is called'


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


def import_tensorflow() -> None:
  """Imports TensorFlow for a program: without Keras, and without the lines that it prints.

  They are about its libraries (CUDA, oneDNN, the instructions of the CPU), and some of them it
  prints whatever the environment variable TF_CPP_MIN_LOG_LEVEL says. Here the variable counts. It
  is set to 3 if the user has not set it, and 0 shows everything.
  """
  leave_out_keras()
  level = os.environ.setdefault(_LOG_LEVEL, '3')
  with contextlib.ExitStack() as stack:
    if level in ('1', '2', '3'):
      stack.enter_context(_filtered_stderr(int(level)))
    importlib.import_module('tensorflow')


@contextlib.contextmanager
def _filtered_stderr(level: int) -> Iterator[None]:
  """Holds back what native code writes to stderr in the block, and shows at its end what remains.

  If the process crashes in the block, it shows Python's traceback.

  Args:
    level: lines of TensorFlow are left out if they are below it, as TF_CPP_MIN_LOG_LEVEL says.
  """
  sys.stderr.flush()
  true_stderr = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    faulthandler.enable(true_stderr)
    try:
      yield
    finally:
      faulthandler.disable()
      sys.stderr.flush()
      os.dup2(true_stderr, 2)
      os.close(true_stderr)
      held.seek(0)
      sys.stderr.write(_without_log_lines(held.read().decode(errors='replace'), level))


def _without_log_lines(text: str, level: int) -> str:
  """Leaves out TensorFlow's log lines that are below a level, and what belongs to them."""
  kept, keep = [], True
  for line in text.splitlines(keepends=True):
    found = _LOG_LINE.match(line)
    if found:
      keep = _LOG_LEVELS.index(found[1] or found[2]) >= level
    if keep and not line.startswith(_LOG_PREAMBLE):
      kept.append(line)
  return ''.join(kept)


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
  """Turns an InputError of the block into one message on stderr and exit status 2.

  What stdout cannot do is no reason for a traceback either: characters that it cannot show are
  written as escapes, and if nobody reads it any more, as in `... | head`, the process ends without
  a word.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')
  try:
    yield
    sys.stdout.flush()
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:
    # Python would try once more to write what is left, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
