"""The update of the variables: SGD as in the original, SGD with momentum, or Adam.

The learning rate decays exponentially and can end in a cooldown. The workers of a cluster can make
each update together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig

MOMENTUM = 0.9

# Pairs (gradient, variable). A gradient is None if the loss does not depend on the variable.
Gradients = list[tuple[tf.Tensor | None, tf.Variable]]


def make(config: OptimizerConfig, step: tf.Tensor) -> tuple[tf.train.Optimizer, tf.Tensor]:
  """Return the optimizer, and the learning rate at a step, a scalar."""
  rate = learning_rate(config, step)
  if config.name == 'sgd':
    return tf.train.GradientDescentOptimizer(rate), rate
  if config.name == 'momentum':
    return tf.train.MomentumOptimizer(rate, MOMENTUM), rate
  return tf.train.AdamOptimizer(rate), rate


def learning_rate(config: OptimizerConfig, step: tf.Tensor) -> tf.Tensor:
  """Return the learning rate at a step: base * decay_rate ** (step / decay_steps).

  It decays at every step, and not only once in decay_steps. In the cooldown it is also multiplied
  by the fraction of the cooldown that is left, so that the noise of single episodes no longer keeps
  the variables away from the minimum.
  """
  rate = tf.train.exponential_decay(
    config.learning_rate, step, config.decay_steps, config.decay_rate
  )
  if config.cooldown == 0:
    return rate
  left = tf.cast(config.train_steps - tf.cast(step, tf.int64), tf.float32)
  steps = np.float32(config.cooldown * config.train_steps)
  return rate * tf.clip_by_value(left / steps, 0.0, 1.0)


def gradients(optimizer: tf.train.Optimizer, loss: tf.Tensor) -> Gradients:
  """Build the gradients of a loss by all trained variables."""
  # Gradients need not wait for each other (no gates). A variable that is still being read copies
  # its value before it changes.
  return optimizer.compute_gradients(loss, gate_gradients=tf.train.Optimizer.GATE_NONE)


def clip(found: Gradients, norm: float) -> Gradients:
  """Scale all gradients down by one factor if their global norm exceeds `norm`; 0 is no limit.

  With a limit, sparse gradients become dense, so that their norm can be measured.
  """
  if norm == 0:
    return found
  found = dense(found)
  clipped, _ = tf.clip_by_global_norm([gradient for gradient, _ in found], norm)
  return [(gradient, variable) for gradient, (_, variable) in zip(clipped, found, strict=True)]


def dense(found: Gradients) -> Gradients:
  """Make sparse gradients (tf.IndexedSlices) dense, adding up the rows with the same index."""
  return [
    (None if gradient is None else tf.convert_to_tensor(gradient), variable)
    for gradient, variable in found
  ]


def by_layer(gradients: Gradients) -> dict[str, tf.Tensor]:
  """Concatenate the gradients of each part of the model.

  Returns:
    The entries [n] of each part, by its TensorBoard tag. Parts are generators ('generator_1'), the
    trained variables of a CNN layer ('cnn/layer_1'), and the shared features.
  """
  parts: dict[str, list[tf.Tensor]] = {}
  for gradient, variable in gradients:
    if gradient is not None:
      first, second, *_ = variable.op.name.split('/')[1:]
      part = f'{first}/{second}' if first.startswith('cnn') else first
      parts.setdefault(part, []).append(tf.reshape(gradient, [-1]))
  return {f'gradients/{part}': tf.concat(found, axis=0) for part, found in parts.items()}


def synchronous(
  optimizer: tf.train.Optimizer, workers: int, gradient_norm_clip: float
) -> tf.train.SyncReplicasOptimizer:
  """Return an optimizer with which all workers of a cluster make each update together.

  Gradients meet in accumulators on the parameter servers. The chief takes their mean when every
  worker has sent one, and then hands out tokens, for one of which every worker waits.

  Args:
    optimizer: The optimizer that is given the mean gradient.
    workers: The number of workers.
    gradient_norm_clip: The limit of the norm of the mean gradient; 0 is no limit.
  """
  return _SyncReplicas(
    _Clipping(optimizer, gradient_norm_clip), workers, total_num_replicas=workers
  )


class _Clipping:
  """An optimizer that clips the mean gradient, and not the gradient of each worker.

  The update is then that of one process with as many episodes per step.
  """

  def __init__(self, optimizer: tf.train.Optimizer, norm: float) -> None:
    self._optimizer = optimizer
    self._norm = norm

  def __getattr__(self, name: str) -> Any:
    return getattr(self._optimizer, name)

  def apply_gradients(
    self, pairs: Iterable[tuple[tf.Tensor | None, tf.Variable]], *args: Any
  ) -> tf.Operation:
    return self._optimizer.apply_gradients(clip(list(pairs), self._norm), *args)


class _SyncReplicas(tf.train.SyncReplicasOptimizer):
  """TensorFlow's optimizer, corrected for sparse gradients and for the end of its queue thread."""

  def apply_gradients(self, grads_and_vars: Gradients, *args: Any) -> tf.Operation:
    # An accumulator of sparse gradients would divide each row by the number of workers that have
    # that row, and not by the number of all workers.
    return super().apply_gradients(dense(grads_and_vars), *args)

  def get_chief_queue_runner(self) -> tf.train.QueueRunner:
    runner = super().get_chief_queue_runner()
    return tf.train.QueueRunner(
      runner.queue,
      runner.enqueue_ops,
      queue_closed_exception_types=(tf.errors.OutOfRangeError, tf.errors.CancelledError),
    )
