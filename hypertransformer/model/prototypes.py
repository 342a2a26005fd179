"""Prototypes: classification by the distance to the mean embedding of each class.

See docs/spec/continual.md, section 1. P counts pairs (t, tau), C counts classes.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

# Score of a class that is not known yet. Finite, so that 0 times it is 0 in a cross-entropy.
UNKNOWN = -1e9


def class_means(embeddings: tf.Tensor, labels: tf.Tensor, num_labels: int) -> tf.Tensor:
  """Computes the mean embedding of each class; 0 for a class without samples.

  Args:
    embeddings: [n, U].
    labels: Integers [n], from 0 to num_labels - 1.
    num_labels: How many classes there are.

  Returns:
    [num_labels, U].
  """
  return tf.math.unsorted_segment_mean(embeddings, labels, num_labels)


def scores(embeddings: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
  """Computes minus the squared distance of each embedding to each prototype.

  Args:
    embeddings: [P, n, U].
    prototypes: [P, C, U].

  Returns:
    [P, n, C].
  """
  products = tf.matmul(embeddings, prototypes, transpose_b=True)
  lengths = (
    tf.reduce_sum(tf.square(embeddings), -1)[:, :, None]
    + tf.reduce_sum(tf.square(prototypes), -1)[:, None]
  )
  return 2.0 * products - lengths


def known_scores(embeddings: tf.Tensor, prototypes: tf.Tensor, num_known: tf.Tensor) -> tf.Tensor:
  """Does the same as `scores`, but classes that are not known yet get the score UNKNOWN.

  Args:
    embeddings: [P, n, U].
    prototypes: [P, C, U].
    num_known: Integers [P]: for pair p, the classes num_known[p] and above are not known.

  Returns:
    [P, n, C].
  """
  mask = tf.sequence_mask(num_known, prototypes.shape[1])
  return tf.where_v2(mask[:, None], scores(embeddings, prototypes), UNKNOWN)


def running_means(prototypes: tf.Tensor) -> tf.Tensor:
  """Averages the prototypes of a class over the pieces of a support set that have been seen.

  Args:
    prototypes: [T, T, K, U]. Entry [t, tau] is of piece tau, as it is after piece t.

  Returns:
    [T, K, U]. Entry t is the mean over the pieces tau <= t.
  """
  length = prototypes.shape[0]
  weights = (
    tf.linalg.band_part(tf.ones([length, length]), -1, 0) / tf.range(1.0, length + 1.0)[:, None]
  )
  return tf.einsum('ts,tsku->tku', weights, prototypes)
