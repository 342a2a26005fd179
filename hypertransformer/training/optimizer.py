"""The update of the variables: plain SGD as in the original, SGD with momentum, or Adam.

The learning rate decays exponentially.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig

MOMENTUM = 0.9


def minimize(
  loss: tf.Tensor,
  config: OptimizerConfig,
  global_step: tf.Tensor,
  variables: list[tf.Variable] | None = None,
) -> tuple[tf.Operation, tf.Tensor]:
  """Builds the update that makes a loss smaller.

  Args:
    loss: a scalar.
    config: the optimizer, its learning rate, and the limit of the gradients' length.
    global_step: the number of updates done; each update adds 1 to it.
    variables: those that are changed; None for all trained variables.

  Returns:
    The op that makes one update, and the learning rate, a scalar.
  """
  rate = learning_rate(config.learning_rate, config.decay_steps, config.decay_rate, global_step)
  optimizer = _make(config.name, rate)
  # Gradients need not wait for each other (no gates). A variable that is still being read copies
  # its value before it changes.
  gate = tf.train.Optimizer.GATE_NONE
  gradients = optimizer.compute_gradients(loss, variables, gate_gradients=gate)
  return optimizer.apply_gradients(_clip(gradients, config.gradient_norm_clip), global_step), rate


def _clip(
  gradients: list[tuple[tf.Tensor | None, tf.Variable]], norm: float
) -> list[tuple[tf.Tensor | None, tf.Variable]]:
  """Scales all gradients down by one factor if they are longer than `norm` together; 0 is no limit.

  Args:
    gradients: pairs (gradient, variable). A gradient is None if the loss does not depend on it.
    norm: the largest Euclidean length of all gradients together.
  """
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


def learning_rate(base: float, decay_steps: float, decay_rate: float, step: tf.Tensor) -> tf.Tensor:
  """The learning rate at a step: base * decay_rate ** (step / decay_steps).

  It falls at every step, and not only once in decay_steps.
  """
  return tf.train.exponential_decay(base, step, decay_steps, decay_rate)
