"""Starts and ends every program: imports, flags, bad input and exit status.

TensorFlow is imported only on demand because some programs do without it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags, logging

from hypertransformer.errors import InputError, hint
from hypertransformer.settings.config import Settings
from hypertransformer.settings.recipes import expand_flagfiles
from hypertransformer.startup import INTERRUPTED, end_at_once

# TensorFlow's own variable. 0 shows all its log lines, 3 none; errors that matter are exceptions.
_LOG_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'


def import_tensorflow() -> None:
  """Import TensorFlow for a program: without Keras and without its log lines.

  TensorFlow prints some lines during its import whatever TF_CPP_MIN_LOG_LEVEL says. They are
  discarded here unless the user has set it to 0.
  """
  leave_out_keras()
  shows = os.environ.setdefault(_LOG_LEVEL, '3') == '0'
  with exit_on_bad_input(), contextlib.nullcontext() if shows else _discarded_stderr():
    logger = importlib.import_module('tensorflow').get_logger()
    logger.propagate = False  # TensorFlow's own handler prints its messages already
    logger.setLevel('ERROR')  # warnings would only say that TF1 is deprecated


@contextlib.contextmanager
def _discarded_stderr() -> Iterator[None]:
  """Discard what native code writes to stderr, where that is possible."""
  saved = None
  with contextlib.suppress(OSError), open(os.devnull, 'w') as null:
    saved = os.dup(2)
    os.dup2(null.fileno(), 2)
  try:
    yield
  finally:
    if saved is not None:
      os.dup2(saved, 2)
      os.close(saved)


def leave_out_keras() -> None:
  """Keep TensorFlow from importing Keras, if called before TensorFlow itself is imported.

  Keras costs 0.8 s of CPU and 48 MB at the start, and nothing here uses it. Only programs call
  this. A library must not, because its user may want tf.keras.

  When TensorFlow is asked for the legacy Keras, it looks for the package tf_keras and continues
  without Keras if that is not installed. TF_USE_LEGACY_KERAS is left as it is if it is set.
  """
  if importlib.util.find_spec('tf_keras') is None:
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')


@contextlib.contextmanager
def exit_on_bad_input() -> Iterator[None]:
  """Turn an InputError or OSError of the block into one line on stderr and exit status 2.

  Characters that stdout cannot show are written as escapes. If the reader of stdout has ended, as
  in `... | head`, the process ends silently. After Ctrl-C the status is 130.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')
  try:
    try:
      yield
    finally:
      _flush_stdout()
  except (InputError, OSError) as error:
    if isinstance(error, BrokenPipeError):
      sys.exit(1)
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    sys.exit(INTERRUPTED)


def _flush_stdout() -> None:
  """Write what is left for stdout; if that fails, discard it, as Python would try once more."""
  try:
    sys.stdout.flush()
  except OSError as error:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise type(error)(error.errno, error.strerror, 'stdout') from error


def run(program: Callable[[], None], subjects: Mapping[str, Sequence[str]] | None = None) -> None:
  """Parse the command line, which may hold flags only, and run the program.

  Bad input ends the process with one line on stderr and exit status 2.

  Args:
    program: the program.
    subjects: names of flags by subject, which --help shows after those that the program defines.
  """

  def without_arguments(arguments: Sequence[str]) -> None:
    if arguments:
      raise InputError(
        f'unexpected positional arguments: {" ".join(arguments)}. Flags look like --name=value.'
      )
    program()

  run_with_arguments(without_arguments, subjects)


def run_with_arguments(
  program: Callable[[Sequence[str]], None], subjects: Mapping[str, Sequence[str]] | None = None
) -> None:
  """Do the same for a program that takes positional arguments."""

  def parse(argv: Sequence[str]) -> list[str]:
    asked = {word.lstrip('-') for word in argv[1:] if word.startswith('-')}
    if asked & {'help', 'helpshort', 'helpfull', 'h', '?'}:
      print(_help(subjects or {}))
      sys.exit(0)
    return _parse(argv)

  def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.INFO)
    program(argv[1:])

  if signal.getsignal(signal.SIGINT) is end_at_once:
    signal.signal(signal.SIGINT, signal.default_int_handler)
  with exit_on_bad_input():
    app.run(main, argv=[sys.argv[0], *expand_flagfiles(sys.argv[1:])], flags_parser=parse)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parse the flags, and return the other arguments."""
  try:
    return list(flags.FLAGS(argv))
  except flags.UnrecognizedFlagError as error:
    names = [f'--{name}' for name in flags.FLAGS]
    advice = hint(f'--{error.flagname}', names, 'See --helpfull.')
    raise InputError(f'there is no flag --{error.flagname}. {advice}') from error
  except flags.Error as error:
    raise InputError(f'{error}. See --help.') from error


def _help(subjects: Mapping[str, Sequence[str]]) -> str:
  """Return what --help shows: the program's docstring, its own flags, and those by subject."""
  own = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])]
  lines = [(sys.modules['__main__'].__doc__ or '').rstrip()]
  for subject, names in {'flags': own, **subjects}.items():
    if names:
      lines += ['', f'{subject}:', *map(_flag_help, names)]
  return '\n'.join([*lines, *(['', '--helpfull shows all flags.'] if subjects else [])])


def _flag_help(name: str) -> str:
  """Return the lines of --help about a flag."""
  flag = flags.FLAGS[name]
  default = '' if flag.default in (None, '') else f' (default: {flag.default_as_str})'
  text = f'--{"[no]" if flag.boolean else ""}{name}: {flag.help}{default}'
  return str(flags.text_wrap(text, 100, indent='      ', firstline_indent='  '))


def run_settings(
  program: Callable[[Settings], None], first: Callable[[str], str], of_run: bool = False
) -> None:
  """Define and parse the flags of a run, and call the program with the settings they make.

  Args:
    program: the program.
    first: returns the flag that a first word without dashes stands for.
    of_run: whether flags that are not given are those of the run in --train_log_dir.
  """
  if sys.argv[1:] and sys.argv[1] and not sys.argv[1].startswith('-'):
    with exit_on_bad_input():
      sys.argv[1] = first(sys.argv[1])
  from hypertransformer.model import cnn
  from hypertransformer.settings import flags as run_flags

  run_flags.define(choices={'cnn_model_name': list(cnn.ARCHITECTURES)})
  run(lambda: program(_settings(of_run)), run_flags.by_subject('--helpfull' in sys.argv))


def _settings(of_run: bool) -> Settings:
  """Set up TensorFlow, and return the settings that the flags make; see `run_settings`."""
  import tensorflow.compat.v1 as tf

  from hypertransformer.runtime import sessions
  from hypertransformer.settings import flags as run_flags
  from hypertransformer.settings import flags_file

  tf.disable_eager_execution()
  values = run_flags.values()
  if of_run:
    values = flags_file.with_flags_of_run(values, run_flags.given())
  settings = run_flags.settings_from(values)
  sessions.use_kernel_threads(settings.run.kernel_threads)
  return settings
