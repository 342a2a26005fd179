"""What is set before a program runs: how many threads an operation has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions

# A program that prints how many threads a session adds to its process.
COUNT_THREADS = """
import os, sys
import tensorflow.compat.v1 as tf
from hypertransformer.runtime import sessions
tf.disable_eager_execution()
sessions.use_kernel_threads(int(sys.argv[1]))
before = len(os.listdir('/proc/self/task'))
x = tf.ones([1000, 1000])
product = tf.matmul(x, x + 1.0)
with tf.Session(config=sessions.config(tf.get_default_graph())) as session:
  session.run(product)
print(len(os.listdir('/proc/self/task')) - before)
"""


def threads(count: int) -> int:
  """Returns how many threads a session adds if `count` are asked for."""
  command = [sys.executable, '-c', COUNT_THREADS, str(count)]
  printed = subprocess.run(command, check=True, capture_output=True, text=True)
  return int(printed.stdout)


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='counts the threads in /proc')
def test_a_session_has_as_many_kernel_threads_as_were_asked_for() -> None:
  assert threads(7) - threads(2) == 5


def test_a_negative_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(
    tf.config.threading, 'set_intra_op_parallelism_threads', lambda count: pytest.fail('too late')
  )
  with pytest.raises(
    InputError, match=r'kernel_threads is -1; it must be 0 \(one per core\) or larger'
  ):
    sessions.use_kernel_threads(-1)
