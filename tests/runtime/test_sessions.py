"""The settings of sessions: the executor suits the graph and the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer import cores
from hypertransformer.runtime import sessions

SINGLE = 'SINGLE_THREADED_EXECUTOR'


@pytest.fixture
def graph() -> tf.Graph:
  with tf.Graph().as_default() as made:
    yield made


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
  """Lets every test see a single core, unless it says otherwise."""
  monkeypatch.setattr(cores, 'available', lambda: 1)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The GPUs that TensorFlow reports: none, but a test may add some."""
  found: list[str] = []
  monkeypatch.setattr(
    tf.config, 'list_physical_devices', lambda kind: found if kind == 'GPU' else ['cpu']
  )
  return found


def doubled_until_large(x: tf.Tensor) -> tf.Tensor:
  return tf.while_loop(lambda y: y < 100.0, lambda y: 2.0 * y, [x])


def executor(graph: tf.Graph) -> str:
  return sessions.config(graph).experimental.executor_type


def test_one_thread_handles_the_nodes_of_a_graph_without_loops(
  graph: tf.Graph, gpus: list[str]
) -> None:
  del gpus
  product = 2.0 * tf.constant(3.0)
  assert executor(graph) == SINGLE
  with tf.Session(config=sessions.config(graph)) as session:
    assert session.run(product) == 6.0


def test_several_cores_keep_the_usual_executor(
  graph: tf.Graph, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
  del gpus
  monkeypatch.setattr(cores, 'available', lambda: 2)
  product = 2.0 * tf.constant(3.0)
  assert executor(graph) == ''
  with tf.Session(config=sessions.config(graph)) as session:
    assert session.run(product) == 6.0


@pytest.mark.parametrize('new_loops', [True, False])
def test_a_graph_with_a_loop_keeps_the_usual_executor(
  graph: tf.Graph, gpus: list[str], new_loops: bool
) -> None:
  del gpus
  before = tf.control_flow_v2_enabled()
  (tf.enable_control_flow_v2 if new_loops else tf.disable_control_flow_v2)()
  try:
    looped = doubled_until_large(tf.constant(3.0))
  finally:
    (tf.enable_control_flow_v2 if before else tf.disable_control_flow_v2)()
  assert executor(graph) == ''
  with tf.Session(config=sessions.config(graph)) as session:
    assert session.run(looped) == 192.0


def test_variables_of_tensorflow_1_keep_the_usual_executor(
  graph: tf.Graph, gpus: list[str]
) -> None:
  del gpus
  variable = tf.get_variable('v', [], initializer=tf.ones_initializer(), use_resource=False)
  assert executor(graph) == ''
  with tf.Session(config=sessions.config(graph)) as session:
    session.run(variable.initializer)
    assert session.run(variable.assign_add(2.0)) == 3.0


def test_a_gpu_keeps_the_usual_executor(graph: tf.Graph, gpus: list[str]) -> None:
  """The usual executor lets copies and kernels of the devices overlap."""
  tf.constant(3.0)
  gpus.append('a GPU')
  assert executor(graph) == ''


def test_the_graph_is_optimised_once_and_nothing_is_fused(graph: tf.Graph) -> None:
  options = sessions.config(graph).graph_options.rewrite_options
  assert options.meta_optimizer_iterations == type(options).ONE
  assert options.remapping == type(options).OFF


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
