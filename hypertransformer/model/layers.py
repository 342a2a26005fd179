"""Layers that are made of tf.get_variable and tf.nn. Keras layers would bypass custom getters.

Kernels start Glorot-uniform and biases at 0 (docs/spec/model.md, section 3, "Initial values").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

Activation = Callable[[tf.Tensor], tf.Tensor]

LAYER_NORM_EPSILON = 1e-6
BATCH_NORM_EPSILON = 1e-3
_GRADIENT_OF_STANDARDISE = 'HyperTransformerStandardise'


def glorot_limit(inputs: int, outputs: int) -> float:
  """Return sqrt(6 / (inputs + outputs)): Glorot-uniform weights lie within +- this limit."""
  return math.sqrt(6.0 / (inputs + outputs))


def dense(
  x: tf.Tensor,
  units: int,
  name: str,
  activation: Activation | None = None,
  limit: np.ndarray | None = None,
) -> tf.Tensor:
  """Compute a dense layer with the variables `name`/kernel [m, units] and `name`/bias [units].

  Args:
    x: [n, m].
    units: How many outputs there are.
    name: Variable scope of the layer.
    activation: A function of the result; None for none.
    limit: float [units]. Column j of the kernel starts uniform within +- limit[j]. None stands for
      the Glorot limit.

  Returns:
    [n, units].
  """
  limits = np.float32(glorot_limit(x.shape[-1], units) if limit is None else limit)
  with tf.variable_scope(name):
    kernel = tf.get_variable(
      'kernel',
      [x.shape[-1], units],
      initializer=lambda shape, **_: 2.0 * limits * (tf.random.uniform(shape) - 0.5),
    )
    bias = tf.get_variable('bias', [units], initializer=tf.zeros_initializer())
    y = tf.nn.bias_add(tf.matmul(x, kernel), bias)
  return y if activation is None else activation(y)


def conv2d(
  x: tf.Tensor,
  channels: int,
  kernel_size: int,
  name: str,
  stride: int = 1,
  padding: str = 'VALID',
  use_bias: bool = True,
) -> tf.Tensor:
  """Compute a convolution with the variables `name`/kernel [k, k, c, channels] and `name`/bias.

  Args:
    x: [n, h, w, c].
    channels: How many channels leave the convolution.
    kernel_size: k, the side of the kernel in pixels.
    name: Variable scope of the layer.
    stride: In pixels.
    padding: "VALID" or "SAME".
    use_bias: Whether there is a bias.

  Returns:
    [n, h', w', channels].
  """
  with tf.variable_scope(name):
    kernel = tf.get_variable(
      'kernel',
      [kernel_size, kernel_size, x.shape[-1], channels],
      initializer=tf.glorot_uniform_initializer(),
    )
    if kernel_size == 1 and stride > 1:
      # Takes only the pixels that the kernel sees, and then the stride 1. With another stride,
      # oneDNN's gradient of one-pixel kernels writes past its buffers (TensorFlow 2.21, oneDNN
      # 3.7.3, fewer than 16 channels), which gives wrong numbers or a crash.
      x, stride = x[:, ::stride, ::stride], 1
    y = tf.nn.conv2d(x, kernel, strides=stride, padding=padding)
    if not use_bias:
      return y
    bias = tf.get_variable('bias', [channels], initializer=tf.zeros_initializer())
    return tf.nn.bias_add(y, bias)


def conv2d_mean(x: tf.Tensor, channels: int, kernel_size: int, name: str) -> tf.Tensor:
  """Compute the spatial mean of a `conv2d` with stride 1 and valid padding.

  The mean of a convolution is linear: it is one product of the kernel with the mean of what each of
  its elements sees, and so is much cheaper than the convolution.

  Returns:
    [n, channels], for x [n, h, w, c].
  """
  height, width = (side - kernel_size + 1 for side in x.shape.as_list()[1:3])
  with tf.variable_scope(name):
    kernel = tf.get_variable(
      'kernel',
      [kernel_size, kernel_size, x.shape[-1], channels],
      initializer=tf.glorot_uniform_initializer(),
    )
    bias = tf.get_variable('bias', [channels], initializer=tf.zeros_initializer())
    seen = tf.nn.avg_pool2d(x, [height, width], 1, 'VALID')
    inputs = kernel_size * kernel_size * x.shape[-1]
    return tf.nn.bias_add(
      tf.matmul(tf.reshape(seen, [-1, inputs]), tf.reshape(kernel, [inputs, channels])), bias
    )


def layer_norm(x: tf.Tensor, name: str) -> tf.Tensor:
  """Normalise x [..., m] over its last axis; variables `name`/gamma and `name`/beta, both [m]."""
  with tf.variable_scope(name):
    gamma, beta = _scale_and_offset(x.shape[-1])
    return tf.nn.bias_add(_standardise(x) * gamma, beta)


def _standardise(x: tf.Tensor) -> tf.Tensor:
  """Compute (x - mean) / sqrt(variance + epsilon) over the last axis of x [..., m].

  It has a gradient of its own, which takes fewer ops than TensorFlow's. (tf.custom_gradient would
  do the same, but it keeps every graph in memory for good.)
  """
  centred = x - tf.reduce_mean(x, -1, keepdims=True)
  scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + LAYER_NORM_EPSILON)
  with tf.get_default_graph().gradient_override_map({'IdentityN': _GRADIENT_OF_STANDARDISE}):
    return tf.identity_n([centred * scale, x, scale])[0]


@tf.RegisterGradient(_GRADIENT_OF_STANDARDISE)
def _gradient_of_standardise(
  op: tf.Operation, dy: tf.Tensor, *unused: tf.Tensor
) -> tuple[None, tf.Tensor, None]:
  """Return the gradient of `_standardise` for x, the second input of its last op."""
  y, _, scale = op.inputs
  along = tf.reduce_mean(dy * y, -1, keepdims=True)
  return None, scale * (dy - tf.reduce_mean(dy, -1, keepdims=True) - y * along), None


def batch_norm(
  x: tf.Tensor, name: str, frozen: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Normalise x [n, h, w, c] per channel; variables `name`/gamma and `name`/beta, both [c].

  There are no moving averages (the original has some, but never reads them).

  Args:
    x: The activations.
    name: Variable scope of the layer.
    frozen: The mean and the variance to use, [2, c]; None for those of this batch.

  Returns:
    The normalised activations; and the mean and the unbiased variance [c] of each channel of x
    (the variance that is used is the biased one), or those in `frozen`.
  """
  with tf.variable_scope(name):
    gamma, beta = _scale_and_offset(x.shape[-1])
    mean, variance = (None, None) if frozen is None else tf.unstack(frozen)
    return tf.nn.fused_batch_norm(
      x, gamma, beta, mean, variance, BATCH_NORM_EPSILON, is_training=frozen is None
    )


def _scale_and_offset(width: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Make the trained scale gamma, which starts at 1, and the offset beta, which starts at 0."""
  gamma = tf.get_variable('gamma', [width], initializer=tf.ones_initializer())
  beta = tf.get_variable('beta', [width], initializer=tf.zeros_initializer())
  return gamma, beta


class Noise:
  """The random numbers of one training step, all derived from the seed of the episode.

  Each call samples from its own stream. A step is thus a pure function of the variables and the
  episode. Layers take None in place of a Noise in evaluation: then nothing is dropped.
  """

  def __init__(self, seed: tf.Tensor, on: float | tf.Tensor = 1.0) -> None:
    """Make the random numbers of a step.

    Args:
      seed: Integers [2].
      on: 1, or 0 to drop nothing; a number or a scalar tensor, so that it can be switched in the
        graph.
    """
    self._seed = tf.cast(seed, tf.int64)
    self._on = on
    self._streams = 0

  def if_on(self, value: Any) -> Any:
    """Return a number or tensor as it is if the noise is on, and 0 if it is off."""
    return value * self._on

  def fold(self, number: int | tf.Tensor) -> Noise:
    """Return the noise of a part of the step, such as one task of a sequence.

    Args:
      number: Number of the part, an integer or an integer tensor [].
    """
    # Folding in makes `number` the second half of the seed, to which `uniform` adds the number of
    # the stream. The second folding mixes it in: no draw of a part is then a draw of another.
    part = tf.random.experimental.stateless_fold_in(self._seed, number)
    return Noise(tf.random.experimental.stateless_fold_in(part, 0), self._on)

  def uniform(self, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Sample float32 numbers of this shape, uniform in [0, 1), from the next stream."""
    self._streams += 1
    return tf.random.stateless_uniform(
      shape, self._seed + tf.constant([0, self._streams], tf.int64)
    )


def dropout(x: tf.Tensor, rate: float, noise: Noise | None) -> tf.Tensor:
  """Set each entry of x to 0 with the probability `rate`, and divide the rest by 1 - rate.

  Nothing is dropped if `noise` is None or off.
  """
  if noise is None or rate == 0.0:
    return x
  rate = noise.if_on(rate)
  keep = noise.uniform(tf.shape(x)) >= rate
  return tf.where(keep, x / (1.0 - rate), tf.zeros_like(x))


def hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Return for every image whether its largest logit is that of its label.

  Args:
    logits: float32 [..., K].
    labels: Integers [...], from 0 to K - 1.

  Returns:
    float32 [...], 1 for a correct answer and 0 for a wrong one.
  """
  return tf.cast(
    tf.equal(tf.argmax(logits, -1, output_type=tf.int32), tf.cast(labels, tf.int32)), tf.float32
  )


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Compute the fraction of correct answers, 0 to 1, for logits [n, K] and labels [n]."""
  return tf.reduce_mean(hits(logits, labels))
