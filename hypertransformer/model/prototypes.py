"""Prototypes: classification by the distance to the mean embedding of each class
(spec/continual.md).
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

# Score of a class that is not known yet. Finite, so that 0 times it is 0 in a cross-entropy.
UNKNOWN = -1e9


def class_means(embeddings: tf.Tensor, labels: tf.Tensor, num_labels: int) -> tf.Tensor:
  """embeddings [n, U], labels int [n] -> [num_labels, U]: the mean of each class; 0 for a class
  without samples.
  """
  return tf.math.unsorted_segment_mean(embeddings, labels, num_labels)


def scores(embeddings: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
  """embeddings [P, n, U], prototypes [P, C, U] -> [P, n, C]: minus the squared distances."""
  products = tf.matmul(embeddings, prototypes, transpose_b=True)
  lengths = (
    tf.reduce_sum(tf.square(embeddings), -1)[:, :, None]
    + tf.reduce_sum(tf.square(prototypes), -1)[:, None]
  )
  return 2.0 * products - lengths


def known_scores(embeddings: tf.Tensor, prototypes: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
  """The same, with UNKNOWN for classes c >= known[p]. known: int [P]."""
  mask = tf.sequence_mask(known, prototypes.shape[1])
  return tf.where_v2(mask[:, None], scores(embeddings, prototypes), UNKNOWN)


def running_means(prototypes: tf.Tensor) -> tf.Tensor:
  """prototypes [T, T, K, U], of piece tau as known after piece t -> [T, K, U]: mean over the pieces
  tau <= t.
  """
  num = prototypes.shape[0]
  weights = tf.linalg.band_part(tf.ones([num, num]), -1, 0) / tf.range(1.0, num + 1.0)[:, None]
  return tf.einsum('ts,tsku->tku', weights, prototypes)
