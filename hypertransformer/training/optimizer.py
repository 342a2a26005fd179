"""The update of the variables: plain SGD as in the original, SGD with momentum, or Adam.

The learning rate decays exponentially.
"""

from __future__ import annotations

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
  return update(gradients_of(loss, variables), config, global_step)


def gradients_of(loss: tf.Tensor, variables: list[tf.Variable] | None = None) -> Gradients:
  """Builds the gradients of a loss.

  Args:
    loss: a scalar.
    variables: by which it is differentiated; None for all trained variables.
  """
  if variables is None:
    variables = tf.trainable_variables()
  # Gradients need not wait for each other (no gates). A variable that is still being read copies
  # its value before it changes.
  return list(zip(tf.gradients(loss, variables), variables, strict=True))


def update(
  gradients: Gradients, config: OptimizerConfig, global_step: tf.Tensor
) -> tuple[tf.Operation, tf.Tensor]:
  """Builds the update along these gradients; for arguments and results see `minimize`."""
  rate = learning_rate(config.learning_rate, config.decay_steps, config.decay_rate, global_step)
  clipped = _clip(gradients, config.gradient_norm_clip)
  return _make(config.name, rate).apply_gradients(clipped, global_step), rate


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


def _clip(gradients: Gradients, norm: float) -> Gradients:
  """Scales all gradients down by one factor if they are longer than `norm` together; 0 is no limit.

  Args:
    gradients: those of all variables.
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
