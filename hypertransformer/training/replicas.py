"""Several workers make each update together: the mean of the gradients of one step of each.

This is tf.train.SyncReplicasOptimizer. Gradients meet in accumulators on the parameter servers; the
chief takes their mean when every worker has given one, and then hands out tokens, for one of which
every worker waits before its next step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig
from hypertransformer.training import optimizer
from hypertransformer.training.optimizer import Gradients


class _Clipped:
  """An update rule that limits the length of the mean gradient, and not that of each worker's.

  So the update is the same as that of one process with as many episodes per step.
  """

  def __init__(self, rule: tf.train.Optimizer, norm: float) -> None:
    self._rule = rule
    self._norm = norm

  def __getattr__(self, name: str) -> Any:
    return getattr(self._rule, name)

  def apply_gradients(
    self, pairs: Iterable[tuple[tf.Tensor | None, tf.Variable]], *args: Any
  ) -> tf.Operation:
    """Builds the update by the clipped gradients."""
    return self._rule.apply_gradients(optimizer.clip(list(pairs), self._norm), *args)


class _SyncReplicas(tf.train.SyncReplicasOptimizer):
  """The same, but for sparse gradients, and for the end, which is no error of its thread."""

  def apply_gradients(self, grads_and_vars: Gradients, *args: Any) -> tf.Operation:
    """Builds the update.

    Sparse gradients become dense. An accumulator of sparse ones would divide each row by the number
    of workers that have that row, and not by the number of all.
    """
    return super().apply_gradients(optimizer.dense(grads_and_vars), *args)

  def get_chief_queue_runner(self) -> tf.train.QueueRunner:
    """The thread of the chief that adds up gradients and hands out tokens."""
    runner = super().get_chief_queue_runner()
    return tf.train.QueueRunner(
      runner.queue,
      runner.enqueue_ops,
      queue_closed_exception_types=(tf.errors.OutOfRangeError, tf.errors.CancelledError),
    )


def synchronous(
  rule: tf.train.Optimizer, workers: int, config: OptimizerConfig
) -> tf.train.SyncReplicasOptimizer:
  """Makes an update rule by which all workers make each update together.

  Args:
    rule: the update rule that is given the mean gradient.
    workers: how many workers there are.
    config: the limit of the mean gradient's length.
  """
  return _SyncReplicas(
    _Clipped(rule, config.gradient_norm_clip), workers, total_num_replicas=workers
  )
