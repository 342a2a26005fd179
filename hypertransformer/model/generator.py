"""Generators: support features and labels -> the weight blocks of one CNN layer (spec/model.md
section 2).
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.model import tokens, transformer
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.noise import Noise
from hypertransformer.settings.model_config import ModelConfig


def generate_blocks(
  layout: BlockLayout,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None = None,
  previous: tf.Tensor | None = None,
) -> tf.Tensor:
  """features [Ns, F], labels int [Ns] (K = no label), mask float [Ns] (1 = ignore) or None ->
  blocks [B, b].

  previous: blocks [B, b] that the weight tokens bring along (spec/continual.md); None: zeros.
  """
  labels_table = tokens.label_embeddings(
    config.support_classes or config.num_labels, config.embedding_dim
  )
  weights = tokens.weight_embeddings(layout.num_blocks, config.embedding_dim)
  if previous is not None:
    weights = tf.concat([weights, previous], axis=-1)
  widths = token_widths(config, features.shape[-1], layout.block_size)
  generate = _joint if config.generator == 'joint' else _separate
  with tf.variable_scope('transformer'):
    output = generate(labels_table, weights, widths, features, labels, mask, config, noise)
  return tokens.decode_blocks(output, layout.num_blocks, config.embedding_dim, layout.block_size)


@dataclasses.dataclass(frozen=True)
class TokenWidths:
  """Widths of sample and weight tokens, and the transformer's sizes for each."""

  sample: int
  weight: int
  sample_sizes: transformer.Widths
  weight_sizes: transformer.Widths


def token_widths(config: ModelConfig, feature_width: int, block_size: int) -> TokenWidths:
  """joint: all tokens have D = E + max(b, F). separate: samples E + F, weights E + b. Raises
  InputError where the heads do not divide an attention width of the separate generator; the joint
  one rounds up.
  """
  sample, weight = config.embedding_dim + feature_width, config.embedding_dim + block_size
  joint = config.generator == 'joint'
  if joint:
    sample = weight = max(sample, weight)
  return TokenWidths(
    sample,
    weight,
    transformer.widths(config.transformer, sample, round_up=joint),
    transformer.widths(config.transformer, weight, round_up=joint),
  )


def _joint(
  labels_table: tf.Tensor,
  weights: tf.Tensor,
  widths: TokenWidths,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None,
) -> tf.Tensor:
  """One sequence of B weight tokens and Ns sample tokens."""
  sequence = tf.concat(
    [
      tokens.pad_to(weights, widths.weight),
      tokens.encode_samples(labels, features, labels_table, widths.sample),
    ],
    axis=0,
  )
  if mask is not None:
    mask = tf.concat([tf.zeros([weights.shape[0]]), mask], axis=0)
  if not config.transformer.use_decoder:
    return transformer.encoder(
      sequence,
      widths.sample_sizes,
      config.transformer,
      mask,
      noise,
      skip_last=config.transformer.skip_last_nonlinearity,
    )
  encoded = transformer.encoder(sequence, widths.sample_sizes, config.transformer, mask, noise)
  return transformer.decoder(
    sequence, encoded, widths.weight_sizes, config.transformer, mask, mask, noise
  )


def _separate(
  labels_table: tf.Tensor,
  weights: tf.Tensor,
  widths: TokenWidths,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None,
) -> tf.Tensor:
  """Samples go to the encoder, weight tokens to the decoder; the mask is not used."""
  del mask
  samples = tokens.encode_samples(labels, features, labels_table, widths.sample)
  encoded = transformer.encoder(samples, widths.sample_sizes, config.transformer, noise=noise)
  weights = tokens.pad_to(weights, widths.weight)
  return transformer.decoder(weights, encoded, widths.weight_sizes, config.transformer, noise=noise)
