"""The update: plain SGD as in the original, or momentum or Adam, with an exponentially decaying
learning rate.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig
from hypertransformer.training import losses

MOMENTUM = 0.9


def minimize(
  loss: tf.Tensor,
  config: OptimizerConfig,
  global_step: tf.Tensor,
  variables: list[tf.Variable] | None = None,
) -> tuple[tf.Operation, tf.Tensor]:
  """(train op, learning rate []). One run of the op is one update and one step of global_step."""
  rate = losses.learning_rate(
    config.learning_rate, config.decay_steps, config.decay_rate, global_step
  )
  optimizer = _make(config.name, rate)
  # No gates: resource variables copy a value that is still being read before they change it.
  gate = tf.train.Optimizer.GATE_NONE
  gradients = optimizer.compute_gradients(loss, variables, gate_gradients=gate)
  return optimizer.apply_gradients(_clip(gradients, config.gradient_norm_clip), global_step), rate


def _clip(
  gradients: list[tuple[tf.Tensor | None, tf.Variable]], norm: float
) -> list[tuple[tf.Tensor | None, tf.Variable]]:
  """Scales all (gradient, variable) down together to this length; 0: leaves them as they are."""
  if norm == 0:
    return gradients
  clipped, _ = tf.clip_by_global_norm([gradient for gradient, _ in gradients], norm)
  return [(gradient, variable) for gradient, (_, variable) in zip(clipped, gradients, strict=True)]


def _make(name: str, rate: tf.Tensor) -> tf.train.Optimizer:
  if name == 'sgd':
    return tf.train.GradientDescentOptimizer(rate)
  if name == 'momentum':
    return tf.train.MomentumOptimizer(rate, MOMENTUM)
  return tf.train.AdamOptimizer(rate)
