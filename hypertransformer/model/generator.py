"""Generators: support features and labels -> the weight blocks of one CNN layer (spec/model.md section 2)."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.config import ModelConfig
from hypertransformer.model import layers, tokens, transformer
from hypertransformer.model.getter import BlockLayout


def generate_blocks(layout: BlockLayout, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor | None,
                    config: ModelConfig, noise: layers.Noise | None = None) -> tf.Tensor:
  """features [Ns, F], labels int [Ns] (K = no label), mask float [Ns] (1 = ignore) or None -> blocks [B, b]."""
  labels_table = tokens.label_embeddings(config.num_labels, config.embedding_dim)
  weights_table = tokens.weight_embeddings(layout.num_blocks, config.embedding_dim)
  generate = _joint if config.generator == 'joint' else _separate
  with tf.variable_scope('transformer'):
    output = generate(labels_table, weights_table, layout.block_size, features, labels, mask, config, noise)
  return tokens.decode_blocks(output, layout.num_blocks, config.embedding_dim, layout.block_size)


def _joint(labels_table: tf.Tensor, weights_table: tf.Tensor, block_size: int, features: tf.Tensor,
           labels: tf.Tensor, mask: tf.Tensor | None, config: ModelConfig,
           noise: layers.Noise | None) -> tf.Tensor:
  """One sequence of B weight tokens and Ns sample tokens, of width D = max(E + b, E + F)."""
  width = config.embedding_dim + max(block_size, features.shape[-1])
  sequence = tf.concat([tokens.pad_to(weights_table, width),
                        tokens.encode_samples(labels, features, labels_table, width)], axis=0)
  if mask is not None:
    mask = tf.concat([tf.zeros([weights_table.shape[0]]), mask], axis=0)
  sizes = transformer.widths(config.transformer, width, round_up=True)
  encoded = transformer.encoder(sequence, sizes, config.transformer, mask, noise)
  if not config.transformer.use_decoder:
    return encoded
  return transformer.decoder(sequence, encoded, sizes, config.transformer, mask, mask, noise)


def _separate(labels_table: tf.Tensor, weights_table: tf.Tensor, block_size: int, features: tf.Tensor,
              labels: tf.Tensor, mask: tf.Tensor | None, config: ModelConfig,
              noise: layers.Noise | None) -> tf.Tensor:
  """Samples of width E + F go to the encoder, weight tokens of width E + b to the decoder; the mask is not used."""
  del mask
  sample_width = config.embedding_dim + features.shape[-1]
  weight_width = config.embedding_dim + block_size
  sample_sizes = transformer.widths(config.transformer, sample_width, round_up=False)
  weight_sizes = transformer.widths(config.transformer, weight_width, round_up=False)
  samples = tokens.encode_samples(labels, features, labels_table, sample_width)
  encoded = transformer.encoder(samples, sample_sizes, config.transformer, noise=noise)
  weights = tokens.pad_to(weights_table, weight_width)
  return transformer.decoder(weights, encoded, weight_sizes, config.transformer, noise=noise)
