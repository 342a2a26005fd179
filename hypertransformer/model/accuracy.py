"""How many queries are classified right."""

from __future__ import annotations

import tensorflow.compat.v1 as tf


def hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """logits [..., K], labels int [...] -> float [...]: 1 where the largest logit is the label's."""
  return tf.cast(
    tf.equal(tf.argmax(logits, -1, output_type=tf.int32), tf.cast(labels, tf.int32)), tf.float32
  )


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """logits [n, K], labels int [n] -> the fraction [] of right answers, 0..1."""
  return tf.reduce_mean(hits(logits, labels))
