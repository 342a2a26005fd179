"""Counts the images that are classified correctly."""

from __future__ import annotations

import tensorflow.compat.v1 as tf


def hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Says for every image whether its largest logit is that of its label.

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
  """Computes the fraction of correct answers, 0 to 1, for logits [n, K] and labels [n]."""
  return tf.reduce_mean(hits(logits, labels))
