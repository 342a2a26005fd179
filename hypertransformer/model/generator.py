"""The generator of a CNN layer, a transformer from support samples to weight blocks.

See docs/spec/model.md, section 2.
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.model import transformer
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.layers import Noise
from hypertransformer.model.transformer import Heads
from hypertransformer.settings.model_config import ModelConfig


def generate_blocks(
  layout: BlockLayout,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None = None,
  previous: tf.Tensor | None = None,
  looks: list[Heads] | None = None,
) -> tf.Tensor:
  """Generates the weight blocks [B, b] of one CNN layer.

  The generator's variables belong to the variable scope that is open.

  Args:
    layout: The layout of the blocks, with B and b.
    features: float32 [Ns, F].
    labels: Integers [Ns]. K, or config.support_classes where that is set, means "no label".
    mask: float32 [Ns], 1 for a sample to ignore and 0 for one to use; None to use all.
    config: The model's settings.
    noise: Random numbers for the transformer's dropout; None for no dropout.
    previous: Weight blocks [B, b] after the task before, which the weight tokens carry
      (docs/spec/continual.md, section 1); None stands for zeros.
    looks: A list to which the attention weights of each transformer block are added in which the
      weight tokens look at samples. The first B rows are those of the weight tokens, the last Ns
      columns those of the samples.
  """
  label_table = label_embeddings(config.support_classes or config.num_labels, config.embedding_dim)
  weight_tokens = weight_embeddings(layout.num_blocks, config.embedding_dim)
  if previous is not None:
    weight_tokens = tf.concat([weight_tokens, previous], axis=-1)
  widths = token_widths(config, features.shape[-1], layout.block_size)
  generate = _joint if config.generator == 'joint' else _separate
  with tf.variable_scope('transformer'):
    output = generate(
      label_table, weight_tokens, widths, features, labels, mask, config, noise, looks
    )
  return decode_blocks(output, layout.num_blocks, config.embedding_dim, layout.block_size)


@dataclasses.dataclass(frozen=True)
class TokenWidths:
  """How wide tokens are, and the sizes of the transformer's layers that follow from this.

  Attributes:
    sample: How many numbers the token of a support sample has.
    weight: How many numbers the token of a weight block has.
    sample_sizes: Layers of the blocks that sample tokens go through.
    weight_sizes: Layers of the decoder blocks that weight tokens go through.
  """

  sample: int
  weight: int
  sample_sizes: transformer.Widths
  weight_sizes: transformer.Widths


def token_widths(config: ModelConfig, feature_width: int, block_size: int) -> TokenWidths:
  """Works out the widths of a generator's tokens.

  The joint generator has one width for all tokens, D = E + max(b, F). With the separate one, sample
  tokens are E + F wide and weight tokens E + b.

  Args:
    config: The model's settings.
    feature_width: F, features of a support image.
    block_size: b, numbers in one weight block.

  Raises:
    InputError: The heads do not divide the width of an attention, or it comes to 0. (The joint
      generator rounds up widths that are given as fractions, so that the heads divide them.)
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
  label_table: tf.Tensor,
  weight_tokens: tf.Tensor,
  widths: TokenWidths,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None,
  looks: list[Heads] | None,
) -> tf.Tensor:
  """Sends one sequence of B weight tokens and Ns sample tokens through the transformer."""
  sequence = tf.concat(
    [
      pad_to(weight_tokens, widths.weight),
      encode_samples(labels, features, label_table, widths.sample),
    ],
    axis=0,
  )
  if mask is not None:
    mask = tf.concat([tf.zeros([weight_tokens.shape[0]]), mask], axis=0)
  with_decoder = config.transformer.use_decoder
  encoded = transformer.encoder(
    sequence,
    widths.sample_sizes,
    config.transformer,
    mask,
    noise,
    skip_last=config.transformer.skip_last_nonlinearity and not with_decoder,
    looks=looks,
  )
  if not with_decoder:
    return encoded
  return transformer.decoder(
    sequence, encoded, widths.weight_sizes, config.transformer, mask, mask, noise, looks
  )


def _separate(
  label_table: tf.Tensor,
  weight_tokens: tf.Tensor,
  widths: TokenWidths,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None,
  looks: list[Heads] | None,
) -> tf.Tensor:
  """Sends sample tokens through the encoder and weight tokens through the decoder, with no mask."""
  del mask
  samples = encode_samples(labels, features, label_table, widths.sample)
  encoded = transformer.encoder(samples, widths.sample_sizes, config.transformer, noise=noise)
  weight_tokens = pad_to(weight_tokens, widths.weight)
  return transformer.decoder(
    weight_tokens, encoded, widths.weight_sizes, config.transformer, noise=noise, looks=looks
  )


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


def removal_mask(labels: tf.Tensor, config: ModelConfig, noise: Noise) -> tf.Tensor | None:
  """Draws which support samples the generators must ignore in a training step.

  Two probabilities are drawn for the step, one for samples with a label and one for samples
  without: each is uniform between 0 and the largest value that the settings allow. Then each sample
  is hidden with the probability of its kind.

  Args:
    labels: Integers [Ns]; K means "no label".
    config: The model's settings.
    noise: Random numbers of the step.

  Returns:
    float32 [Ns], 1 for a hidden sample; None if the settings never hide any.
  """
  if config.max_prob_remove_labeled == 0 and config.max_prob_remove_unlabeled == 0:
    return None
  limits = tf.constant([config.max_prob_remove_labeled, config.max_prob_remove_unlabeled])
  q = noise.if_on(limits * noise.uniform([2]))
  unlabeled = tf.cast(tf.equal(labels, config.num_labels), tf.int32)
  return tf.cast(noise.uniform(tf.shape(labels)) < tf.gather(q, unlabeled), tf.float32)
