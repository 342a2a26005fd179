"""The update of the variables: plain SGD as in the original, SGD with momentum, or Adam.

The learning rate decays exponentially, and can end in a cooldown.
"""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig

MOMENTUM = 0.9

# Pairs (gradient, variable). A gradient is None if the loss does not depend on the variable.
Gradients = list[tuple[tf.Tensor | None, tf.Variable]]


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
  optimizer, rate = make(config, global_step)
  return apply(optimizer, gradients(optimizer, loss, variables), config, global_step), rate


def make(config: OptimizerConfig, step: tf.Tensor) -> tuple[tf.train.Optimizer, tf.Tensor]:
  """Makes the update rule, and the learning rate at a step, a scalar."""
  rate = learning_rate(config, step)
  return _make(config.name, rate), rate


def gradients(
  optimizer: tf.train.Optimizer, loss: tf.Tensor, variables: list[tf.Variable] | None = None
) -> Gradients:
  """Builds the gradients of a loss by the variables; None for all trained variables."""
  # Gradients need not wait for each other (no gates). A variable that is still being read copies
  # its value before it changes.
  gate = tf.train.Optimizer.GATE_NONE
  return optimizer.compute_gradients(loss, variables, gate_gradients=gate)


def apply(
  optimizer: tf.train.Optimizer, found: Gradients, config: OptimizerConfig, global_step: tf.Tensor
) -> tf.Operation:
  """Builds the update by these gradients, which adds 1 to the number of updates done."""
  return optimizer.apply_gradients(clip(found, config.gradient_norm_clip), global_step)


def by_layer(gradients: Gradients) -> dict[str, tf.Tensor]:
  """Joins the gradients of each part of the model, before they are clipped.

  Returns:
    The numbers [n] of each part, by its TensorBoard tag. Parts are generators ('generator_1'), the
    trained variables of a CNN layer ('cnn/layer_1'), and the shared features.
  """
  parts: dict[str, list[tf.Tensor]] = {}
  for gradient, variable in gradients:
    if gradient is not None:
      first, second, *_ = variable.op.name.split('/')[1:]
      part = f'{first}/{second}' if first.startswith('cnn') else first
      parts.setdefault(part, []).append(tf.reshape(gradient, [-1]))
  return {f'gradients/{part}': tf.concat(found, axis=0) for part, found in parts.items()}


def clip(found: Gradients, norm: float) -> Gradients:
  """Scales all gradients down by one factor if they are longer than `norm` together; 0 is no limit.

  With a limit, sparse gradients become dense, so that their length can be measured.

  Args:
    found: pairs (gradient, variable). A gradient is None if the loss does not depend on it.
    norm: the largest Euclidean length of all gradients together.
  """
  if norm == 0:
    return found
  found = dense(found)
  clipped, _ = tf.clip_by_global_norm([gradient for gradient, _ in found], norm)
  return [(gradient, variable) for gradient, (_, variable) in zip(clipped, found, strict=True)]


def dense(found: Gradients) -> Gradients:
  """Adds up the rows of sparse gradients, such as those of an embedding, that are for one row.

  TensorFlow's sparse gradients (tf.IndexedSlices) can have several of them; their length is not
  that of the gradient.
  """
  return [
    (None if gradient is None else tf.convert_to_tensor(gradient), variable)
    for gradient, variable in found
  ]


def _make(name: str, rate: tf.Tensor) -> tf.train.Optimizer:
  if name == 'sgd':
    return tf.train.GradientDescentOptimizer(rate)
  if name == 'momentum':
    return tf.train.MomentumOptimizer(rate, MOMENTUM)
  return tf.train.AdamOptimizer(rate)


def learning_rate(config: OptimizerConfig, step: tf.Tensor) -> tf.Tensor:
  """The learning rate at a step: base * decay_rate ** (step / decay_steps).

  It falls at every step, and not only once in decay_steps. In the cooldown it is also
  multiplied by the part of those steps that is left, so that the last update is a very small one:
  the noise of single episodes no longer keeps the variables away from the minimum.
  """
  rate = tf.train.exponential_decay(
    config.learning_rate, step, config.decay_steps, config.decay_rate
  )
  if config.cooldown == 0:
    return rate
  left = tf.cast(config.train_steps - tf.cast(step, tf.int64), tf.float32)
  steps = np.float32(config.cooldown * config.train_steps)
  return rate * tf.clip_by_value(left / steps, 0.0, 1.0)
