"""The random numbers of a training step, and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as tf


class Noise:
  """The random numbers of one training step, all derived from the seed of the episode.

  Each call draws from a stream of its own. A step is thus a pure function of the variables and the
  episode. Layers take None in place of a Noise in evaluation: then nothing is dropped.
  """

  def __init__(self, seed: tf.Tensor, on: float | tf.Tensor = 1.0) -> None:
    """Makes the random numbers of a step.

    Args:
      seed: Integers [2].
      on: 1, or 0 to drop nothing; a number or a scalar tensor, so that it can be switched in the
        graph.
    """
    self._seed = tf.cast(seed, tf.int64)
    self._on = on
    self._streams = 0

  def if_on(self, value: Any) -> Any:
    """Returns a number or tensor as it is if the noise is on, and 0 if it is off."""
    return value * self._on

  def fold(self, number: int | tf.Tensor) -> Noise:
    """Returns the noise of a part of the step, such as one task of a sequence.

    Args:
      number: Number of the part, an integer or an integer tensor [].
    """
    # Folding in makes `number` the second half of the seed, to which `uniform` adds the number of
    # the stream. The second folding mixes it in: no draw of a part is then a draw of another.
    part = tf.random.experimental.stateless_fold_in(self._seed, number)
    return Noise(tf.random.experimental.stateless_fold_in(part, 0), self._on)

  def uniform(self, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draws float32 numbers of this shape, uniform in [0, 1), from the next stream."""
    self._streams += 1
    return tf.random.stateless_uniform(
      shape, self._seed + tf.constant([0, self._streams], tf.int64)
    )


def dropout(x: tf.Tensor, rate: float, noise: Noise | None) -> tf.Tensor:
  """Sets each entry of x to 0 with the probability `rate`, and divides the rest by 1 - rate.

  Nothing is dropped if `noise` is None or off.
  """
  if noise is None or rate == 0.0:
    return x
  rate = noise.if_on(rate)
  keep = noise.uniform(tf.shape(x)) >= rate
  return tf.where(keep, x / (1.0 - rate), tf.zeros_like(x))
