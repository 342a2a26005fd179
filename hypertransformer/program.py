"""A program on the flags of a run, such as training: logging, TensorFlow's mode, and errors as one
line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import tensorflow.compat.v1 as tf
from absl import flags as absl_flags
from absl import logging

from hypertransformer import command
from hypertransformer.runtime import sessions
from hypertransformer.settings import flag_table, flags, from_flags
from hypertransformer.settings.config import Settings


def run(program: Callable[[Settings], None]) -> None:
  """Defines the flags, parses them and runs `program` on the settings that they make.

  The exit status is 0 when it is done, and 2 for bad input, which is told in one line on stderr.
  """
  flags.define()
  for flag in flag_table.ALL_FLAGS:  # so that --help lists them
    absl_flags.FLAGS.register_key_flag_for_module(sys.argv[0], absl_flags.FLAGS[flag.name])
  command.run(lambda: _main(program))


def _main(program: Callable[[Settings], None]) -> None:
  logging.set_verbosity(logging.INFO)
  tf.get_logger().propagate = False  # its own handler prints already
  tf.logging.set_verbosity(tf.logging.ERROR)  # its warnings are about TF1 being TF1
  tf.disable_eager_execution()
  settings = from_flags.settings_from(flags.values())
  sessions.use_kernel_threads(settings.run.kernel_threads)
  program(settings)
