"""What the entry points share: logging, TensorFlow's mode, and errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

import tensorflow.compat.v1 as tf
from absl import flags as absl_flags
from absl import logging

from hypertransformer import command
from hypertransformer.settings import config, flag_table, from_flags


def run(program: Callable[[from_flags.Values], None]) -> None:
  """Defines the flags, parses them and runs `program` on their values.

  Exit status: 0 done, 2 bad input (one line on stderr).
  """
  from_flags.define()
  for flag in flag_table.ALL_FLAGS:  # so that --help lists them
    absl_flags.FLAGS.register_key_flag_for_module(sys.argv[0], absl_flags.FLAGS[flag.name])
  command.run(lambda: _main(program))


def _main(program: Callable[[from_flags.Values], None]) -> None:
  logging.set_verbosity(logging.INFO)
  tf.get_logger().propagate = False  # its own handler prints already
  tf.logging.set_verbosity(tf.logging.ERROR)  # its warnings are about TF1 being TF1
  tf.disable_eager_execution()
  values = from_flags.values()
  use_kernel_threads(values['kernel_threads'])
  program(values)


def use_kernel_threads(count: int) -> None:
  """Before TensorFlow's first op: the threads of one operation on a CPU, all sessions together; 0: one per core.

  Raises InputError for a negative number. (TensorFlow's default is one per core. On two cores our steps, of operations
  of microseconds, take twice as long so: benchmarks/RESULTS.md.)
  """
  config.require(count >= 0, f'kernel_threads is {count}; it must be 0 (one per core) or larger.')
  tf.config.threading.set_intra_op_parallelism_threads(count)
