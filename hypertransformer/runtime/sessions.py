"""How TensorFlow runs the graphs of training and evaluation."""

from __future__ import annotations

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from hypertransformer import cores, errors

_LOOPS = {'While', 'StatelessWhile', 'Enter'}  # the last one is of loops as TensorFlow 1 made them
_REFERENCES = {'VariableV2'}  # variables of who disables resource variables


def config(graph: tf.Graph) -> tf.ConfigProto:
  """One pass of graph optimisation (TensorFlow's second one takes as long again and makes no step
  faster), without the fusing of products with their biases, which costs small products more than it
  saves.

  Of several cores each runs a kernel at a time. On a single one the nodes of a graph without loops
  are handled by one thread, in an order found beforehand: thousands of small nodes cost less so.
  (Loops would run several times slower, and TensorFlow 1's variables not at all.) Each kernel has
  the threads that the program chose (entry.use_kernel_threads). All measured:
  benchmarks/RESULTS.md.
  """
  made = tf.ConfigProto(
    intra_op_parallelism_threads=tf.config.threading.get_intra_op_parallelism_threads()
  )
  optimisation = made.graph_options.rewrite_options
  optimisation.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
  optimisation.remapping = rewriter_config_pb2.RewriterConfig.OFF
  if (
    cores.available() == 1
    and not _needs_usual_executor(graph)
    and not tf.config.list_physical_devices('GPU')
  ):
    made.experimental.executor_type = 'SINGLE_THREADED_EXECUTOR'
  return made


def _needs_usual_executor(graph: tf.Graph) -> bool:
  return not (_LOOPS | _REFERENCES).isdisjoint(op.type for op in graph.get_operations())


def use_kernel_threads(count: int) -> None:
  """Before TensorFlow's first op: the threads of one operation on a CPU, all sessions together; 0:
  one per core.

  Raises InputError for a negative number. (TensorFlow's default is one per core. On two cores our
  steps, of operations of microseconds, take twice as long so: benchmarks/RESULTS.md.)
  """
  errors.require(count >= 0, f'kernel_threads is {count}; it must be 0 (one per core) or larger.')
  tf.config.threading.set_intra_op_parallelism_threads(count)
