"""How TensorFlow runs the graphs of training and evaluation."""

from __future__ import annotations

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2


def config() -> tf.ConfigProto:
  """One pass of graph optimisation; TensorFlow's second one takes as long again and makes no step faster
  (benchmarks/RESULTS.md). Threads are left as TensorFlow sets them."""
  made = tf.ConfigProto()
  made.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
  return made
