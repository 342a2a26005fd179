"""Tokens: how support samples and weight blocks enter and leave the transformer (spec/model.md
section 2).
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf


def label_embeddings(num_labels: int, size: int) -> tf.Variable:
  """[K + 1, E], N(0, 1); row K stands for "no label"."""
  return tf.get_variable(
    'label_embeddings', [num_labels + 1, size], initializer=tf.random_normal_initializer()
  )


def weight_embeddings(num_blocks: int, size: int) -> tf.Variable:
  """[B, E], N(0, 1); row i asks for weight block i."""
  return tf.get_variable(
    'weight_embeddings', [num_blocks, size], initializer=tf.random_normal_initializer()
  )


def pad_to(x: tf.Tensor, width: int) -> tf.Tensor:
  """[n, m] -> [n, width], zeros behind."""
  return tf.pad(x, [[0, 0], [0, width - x.shape[-1]]])


def encode_samples(
  labels: tf.Tensor, features: tf.Tensor, embeddings: tf.Tensor, width: int
) -> tf.Tensor:
  """labels int [Ns], features [Ns, F], embeddings [K + 1, E] -> tokens [Ns, width]: label |
  features | zeros.
  """
  own = tf.gather(tf.convert_to_tensor(embeddings), labels)
  return pad_to(tf.concat([own, features], axis=-1), width)


def decode_blocks(
  tokens: tf.Tensor, num_blocks: int, embedding_dim: int, block_size: int
) -> tf.Tensor:
  """The first B tokens [>= B, D] -> weight blocks [B, b]: columns E : E + b."""
  return tf.slice(
    tokens, [0, embedding_dim], [num_blocks, block_size]
  )  # its shape is known, unlike the tokens'
