"""Starts a program that takes the flags of a run: training, evaluation or the report.

It reads the flags, and sets up logging and TensorFlow before the program begins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import tensorflow.compat.v1 as tf
from absl import flags as absl_flags
from absl import logging

from hypertransformer import command
from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions
from hypertransformer.settings import flag_table, flags, from_flags
from hypertransformer.settings.config import Settings


def run(program: Callable[[Settings], None]) -> None:
  """Defines and parses the flags of a run, and calls `program` with the settings that they make.

  After bad input the process prints one message on stderr and ends with exit status 2.
  """
  _define()
  command.run(lambda: _main(program))


def run_or(program: Callable[[Settings], None], other: Callable[[Sequence[str]], None]) -> None:
  """Does the same, unless the command line has arguments that are no flags.

  Args:
    program: is called with the settings that the flags of a run make, as by `run`.
    other: is called with the arguments in place of `program` if there are any. Flags of a run
      cannot be given with them.
  """
  _define()

  def start(arguments: Sequence[str]) -> None:
    if not arguments:
      return _main(program)
    given = [
      f'--{flag.name}' for flag in flag_table.ALL_FLAGS if absl_flags.FLAGS[flag.name].present
    ]
    if given:
      raise InputError(
        f'{" ".join(arguments)} and {", ".join(given)} are given: give either folders of runs, '
        'whose flags are read from there, or the flags of one run (as --name=value).'
      )
    return other(arguments)

  command.run_with_arguments(start)


def _define() -> None:
  """Defines the flags of a run, as those of this program."""
  flags.define()
  for flag in flag_table.ALL_FLAGS:  # --help lists only flags that are key flags of the program
    absl_flags.FLAGS.register_key_flag_for_module(sys.argv[0], absl_flags.FLAGS[flag.name])


def _main(program: Callable[[Settings], None]) -> None:
  logging.set_verbosity(logging.INFO)
  tf.get_logger().propagate = False  # TensorFlow's own handler prints its messages already
  tf.logging.set_verbosity(tf.logging.ERROR)  # warnings would only say that TF1 is deprecated
  tf.disable_eager_execution()
  settings = from_flags.settings_from(flags.values())
  sessions.use_kernel_threads(settings.run.kernel_threads)
  program(settings)
