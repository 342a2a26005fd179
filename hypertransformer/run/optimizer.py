"""The update: plain SGD as in the reference, or momentum or Adam, with an exponentially decaying learning rate."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.config import OptimizerConfig
from hypertransformer.run import losses

MOMENTUM = 0.9


def minimize(loss: tf.Tensor, config: OptimizerConfig, global_step: tf.Tensor,
             variables: list[tf.Variable] | None = None) -> tuple[tf.Operation, tf.Tensor]:
  """(train op, learning rate []). One run of the op is one update and one step of global_step."""
  rate = losses.learning_rate(config.learning_rate, config.decay_steps, config.decay_rate, global_step)
  optimizer = _make(config.name, rate)
  # No gates: resource variables copy a value that is still being read before they change it.
  gate = tf.train.Optimizer.GATE_NONE
  return optimizer.minimize(loss, global_step=global_step, var_list=variables, gate_gradients=gate), rate


def _make(name: str, rate: tf.Tensor) -> tf.train.Optimizer:
  if name == 'sgd':
    return tf.train.GradientDescentOptimizer(rate)
  if name == 'momentum':
    return tf.train.MomentumOptimizer(rate, MOMENTUM)
  return tf.train.AdamOptimizer(rate)
