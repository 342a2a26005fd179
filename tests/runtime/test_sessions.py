"""The settings of sessions: the executor suits the graph and the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer import cores
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
SINGLE = 'SINGLE_THREADED_EXECUTOR'


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
  """The machine that TensorFlow reports, which a test may change: one core and no GPU."""
  found = {'cores': 1, 'GPU': 0}
  monkeypatch.setattr(cores, 'available', lambda: found['cores'])
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: ['a'] * found[kind])
  return found


def product() -> tf.Tensor:
  return 64.0 * tf.constant(3.0)


def loop() -> tf.Tensor:
  return tf.while_loop(lambda y: y < 100.0, lambda y: 2.0 * y, [tf.constant(3.0)])


def loop_of_tensorflow_1() -> tf.Tensor:
  before = tf.control_flow_v2_enabled()
  tf.disable_control_flow_v2()
  try:
    return loop()
  finally:
    if before:
      tf.enable_control_flow_v2()


def variable_of_tensorflow_1() -> tf.Tensor:
  variable = tf.get_variable('v', [], initializer=tf.ones_initializer(), use_resource=False)
  with tf.control_dependencies([variable.initializer]):
    return variable.assign_add(191.0)


@pytest.mark.parametrize(
  ('build', 'changes', 'executor'),
  [
    (product, {}, SINGLE),
    (product, {'cores': 2}, ''),
    (loop, {}, ''),
    (loop_of_tensorflow_1, {}, ''),
    (variable_of_tensorflow_1, {}, ''),
  ],
)
def test_one_thread_handles_the_nodes_of_a_graph_where_it_can(
  machine: dict[str, int], build: Callable[[], tf.Tensor], changes: dict[str, int], executor: str
) -> None:
  machine.update(changes)
  with tf.Graph().as_default() as graph:
    built = build()
    config = sessions.config(graph)
    assert config.experimental.executor_type == executor
    with tf.Session(config=config) as session:
      assert session.run(built) == 192.0


def test_a_gpu_keeps_the_usual_executor(machine: dict[str, int]) -> None:
  """The usual executor lets copies and kernels of the devices overlap."""
  machine['GPU'] = 1
  assert sessions.config(tf.Graph()).experimental.executor_type == ''


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='counts the threads in /proc')
def test_a_session_has_as_many_kernel_threads_as_were_asked_for() -> None:
  few, many = (
    int(subprocess.check_output([sys.executable, '-c', COUNT_THREADS, str(count)]))
    for count in (2, 7)
  )
  assert many - few == 5
