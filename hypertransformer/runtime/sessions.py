"""How TensorFlow runs the graphs of training and evaluation."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from hypertransformer import cores
from hypertransformer.errors import InputError

# Operations that the single-threaded executor runs slowly or not at all: loops ('Enter' as
# TensorFlow 1 made them), and the variables of TensorFlow 1, if a caller has brought them back.
_NEED_USUAL_EXECUTOR = {'While', 'StatelessWhile', 'Enter', 'VariableV2'}


def config(graph: tf.Graph, xla: bool = False, sees: Sequence[str] = ()) -> tf.ConfigProto:
  """Return the session settings with which a graph runs fastest (docs/performance.md).

  - The graph is optimised in one pass. TensorFlow's second pass takes as long again and makes no
    step faster.
  - Products are not fused with their biases, which costs small products more than it saves.
  - If there are several cores, each runs one kernel at a time.
  - On a single core, one thread runs the nodes of the graph in an order found beforehand. With
    thousands of small nodes this costs less than the usual executor. Graphs with loops keep the
    usual one, as loops would run several times slower, and so do graphs with variables of
    TensorFlow 1 or with clusters of XLA, which would not run at all.
  - A kernel has as many threads as `use_kernel_threads` has set.
  - Memory of a GPU is taken as it is needed, so that training and evaluator can share it.

  Args:
    graph: the graph that the session is to run, complete.
    xla: whether XLA compiles clusters of operations, on GPUs and on CPUs.
    sees: in a cluster, the devices that the session sees, so that it does not wait for others.
      Operations that wait for another task need the usual executor.
  """
  made = tf.ConfigProto(
    intra_op_parallelism_threads=tf.config.threading.get_intra_op_parallelism_threads()
  )
  made.gpu_options.allow_growth = True
  optimisation = made.graph_options.rewrite_options
  optimisation.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
  optimisation.remapping = rewriter_config_pb2.RewriterConfig.OFF
  if xla:
    made.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    made.graph_options.optimizer_options.cpu_global_jit = True
  made.device_filters.extend(sees)
  if (
    cores.available() == 1
    and not xla
    and not sees
    and _NEED_USUAL_EXECUTOR.isdisjoint(op.type for op in graph.get_operations())
    and not tf.config.list_physical_devices('GPU')
  ):
    made.experimental.executor_type = 'SINGLE_THREADED_EXECUTOR'
  return made


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
  """Raise the InputError of a Python function of a graph as it was, and not in TensorFlow's."""
  try:
    yield
  except tf.errors.InvalidArgumentError as error:
    if found := re.search('InputError: (.*)', error.message):
      raise InputError(found[1]) from None
    raise


def use_kernel_threads(count: int) -> None:
  """Set how many threads one operation may use on a CPU.

  It must be called before TensorFlow's first operation, and holds for all sessions. TensorFlow's
  default is one thread per core. Our steps are made of operations of a few microseconds, and with
  that default they take twice as long on two cores; see docs/performance.md.

  Args:
    count: the number of threads; 0 is one per core.
  """
  tf.config.threading.set_intra_op_parallelism_threads(count)
