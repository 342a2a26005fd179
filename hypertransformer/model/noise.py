"""The random numbers of a training step, and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as tf


class Noise:
  """The random numbers of one training step, all derived from the episode's seed.

  Every call draws from a stream of its own, so that a step is a pure function of variables and
  episode. Where a layer takes `noise=None`, nothing is dropped: that is evaluation.
  """

  def __init__(self, seed: tf.Tensor, on: float | tf.Tensor = 1.0) -> None:
    """seed: int [2]; on: float scalar, 1 = on, 0 = off: then nothing is dropped either."""
    self._seed = tf.cast(seed, tf.int64)
    self._on = on
    self._streams = 0

  def rate(self, rate: Any) -> Any:
    """A probability of dropping: itself where the noise is on, else 0."""
    return rate * self._on

  def fold(self, number: int | tf.Tensor) -> Noise:
    """Noise of its own for part `number` (int []) of the step, such as one task of a sequence."""
    # Folding in puts `number` where `uniform` adds the stream's: folded in once more, no part's
    # streams are another's.
    part = tf.random.experimental.stateless_fold_in(self._seed, number)
    return Noise(tf.random.experimental.stateless_fold_in(part, 0), self._on)

  def uniform(self, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """float32 `shape`, uniform in [0, 1)."""
    self._streams += 1
    return tf.random.stateless_uniform(
      shape, self._seed + tf.constant([0, self._streams], tf.int64)
    )


def dropout(x: tf.Tensor, rate: float, noise: Noise | None) -> tf.Tensor:
  """Zeroes each entry with probability `rate` and scales the rest by 1 / (1 - rate)."""
  if noise is None or rate == 0.0:
    return x
  rate = noise.rate(rate)
  keep = noise.uniform(tf.shape(x)) >= rate
  return tf.where(keep, x / (1.0 - rate), tf.zeros_like(x))
