"""Tokens: how support samples and weight blocks enter and leave the transformer.

See docs/spec/model.md, section 2.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf


def label_embeddings(num_labels: int, size: int) -> tf.Variable:
  """Makes the table of label embeddings [K + 1, E] from N(0, 1); row K means "no label"."""
  return tf.get_variable(
    'label_embeddings', [num_labels + 1, size], initializer=tf.random_normal_initializer()
  )


def weight_embeddings(num_blocks: int, size: int) -> tf.Variable:
  """Makes the table of weight embeddings [B, E] from N(0, 1); row i asks for weight block i."""
  return tf.get_variable(
    'weight_embeddings', [num_blocks, size], initializer=tf.random_normal_initializer()
  )


def pad_to(x: tf.Tensor, width: int) -> tf.Tensor:
  """Puts zeros behind the columns of x [n, m], so that it becomes [n, width]."""
  return tf.pad(x, [[0, 0], [0, width - x.shape[-1]]])


def encode_samples(
  labels: tf.Tensor, features: tf.Tensor, embeddings: tf.Tensor, width: int
) -> tf.Tensor:
  """Makes the tokens of support samples: [label embedding | features | zeros].

  Args:
    labels: Integers [Ns], from 0 to K.
    features: [Ns, F].
    embeddings: The table of label embeddings, [K + 1, E].
    width: How wide the tokens are, at least E + F.

  Returns:
    [Ns, width].
  """
  own = tf.gather(tf.convert_to_tensor(embeddings), labels)
  return pad_to(tf.concat([own, features], axis=-1), width)


def decode_blocks(
  tokens: tf.Tensor, num_blocks: int, embedding_dim: int, block_size: int
) -> tf.Tensor:
  """Reads the weight blocks off the transformer's output: the columns behind the embedding.

  Args:
    tokens: The output, [at least B, D]; the first B tokens are those of the weight blocks.
    num_blocks: B.
    embedding_dim: E.
    block_size: b.

  Returns:
    [B, b].
  """
  # Unlike the tokens' shape, that of a slice is known when the graph is built.
  return tf.slice(tokens, [0, embedding_dim], [num_blocks, block_size])
