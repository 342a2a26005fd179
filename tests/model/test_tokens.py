"""How samples and weight blocks enter and leave the transformer."""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import generator


def test_embeddings_start_standard_normal(lab):
  tables = generator.label_embeddings(300, 40), generator.weight_embeddings(200, 50)
  lab.run(tf.global_variables_initializer())
  labels, weights = lab.run(tables)
  assert labels.shape == (301, 40)  # one more: no label
  assert weights.shape == (200, 50)
  for table in (labels, weights):
    assert abs(table.mean()) < 0.05
    assert abs(table.std() - 1) < 0.05
    assert np.abs(table).max() > 3  # not truncated
  assert {v.op.name for v in tf.trainable_variables()} == {'label_embeddings', 'weight_embeddings'}


def test_a_sample_token_is_label_features_zeros(lab):
  embeddings = np.array([[1, 2], [3, 4], [5, 6]], np.float32)  # K = 2; row 2: no label
  features = np.array([[10, 11, 12], [20, 21, 22], [30, 31, 32]], np.float32)
  encoded = generator.encode_samples(
    tf.constant([1, 2, 0]), tf.constant(features), tf.constant(embeddings), 7
  )
  assert lab.run(encoded).tolist() == [
    [3, 4, 10, 11, 12, 0, 0],
    [5, 6, 20, 21, 22, 0, 0],
    [1, 2, 30, 31, 32, 0, 0],
  ]


def test_nothing_is_padded_where_the_features_fill_the_token(lab):
  encoded = generator.encode_samples(
    tf.constant([0]), tf.constant([[7.0]]), tf.constant([[1.0], [2.0]]), 2
  )
  assert lab.run(encoded).tolist() == [[1, 7]]


def test_a_weight_token_is_its_embedding_and_zeros(lab):
  assert lab.run(generator.pad_to(tf.constant([[1.0, 2.0], [3.0, 4.0]]), 4)).tolist() == [
    [1, 2, 0, 0],
    [3, 4, 0, 0],
  ]


def test_blocks_are_behind_the_embedding_of_the_first_tokens(lab):
  # B = 3 of 5 tokens; E = 2 and b = 4, so two columns are not used.
  output = tf.reshape(tf.range(40), [5, 8])
  blocks = generator.decode_blocks(output, num_blocks=3, embedding_dim=2, block_size=4)
  assert lab.run(blocks).tolist() == [[2, 3, 4, 5], [10, 11, 12, 13], [18, 19, 20, 21]]
