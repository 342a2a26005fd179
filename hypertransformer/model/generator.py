"""The generator of a CNN layer, a transformer from support samples to weight blocks.

See docs/spec/model.md, section 2.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.model import transformer
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.layers import Noise
from hypertransformer.model.transformer import Heads, Widths
from hypertransformer.settings.model_config import ModelConfig


def token_widths(config: ModelConfig, feature_width: int, block_size: int) -> tuple[Widths, Widths]:
  """Return the widths for the tokens of samples, and those for the tokens of weight blocks.

  The joint generator has one width for all tokens, D = E + max(b, F). With the separate one, sample
  tokens are E + F wide and weight tokens E + b.

  Args:
    config: The model's settings.
    feature_width: F, features of a support image.
    block_size: b, the size of a weight block.

  Raises:
    InputError: A width of the attention is 0 or not divisible by the number of heads. (The joint
      generator rounds up widths that are given as fractions, so that they are divisible.)
  """
  sample, weight = config.embedding_dim + feature_width, config.embedding_dim + block_size
  joint = config.generator == 'joint'
  if joint:
    sample = weight = max(sample, weight)
  return (
    transformer.widths(config.transformer, sample, round_up=joint),
    transformer.widths(config.transformer, weight, round_up=joint),
  )


def generate_blocks(
  layout: BlockLayout,
  features: tf.Tensor,
  labels: tf.Tensor,
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None = None,
  previous: tf.Tensor | None = None,
) -> tuple[tf.Tensor, list[Heads]]:
  """Generate the weight blocks of one CNN layer.

  The generator's variables belong to the variable scope that is open.

  Args:
    layout: The layout of the blocks, with B and b.
    features: float32 [Ns, F].
    labels: Integers [Ns]. K, or config.support_classes where that is set, means "no label".
    mask: float32 [Ns], 1 for a sample to ignore and 0 for one to use; None to use all. Only the
      joint generator has a mask.
    config: The model's settings.
    noise: Random numbers for the transformer's dropout; None for no dropout.
    previous: Weight blocks [B, b] after the previous task, which the weight tokens carry
      (docs/spec/continual.md, section 1); None stands for zeros.

  Returns:
    The weight blocks [B, b], and the attention weights of each transformer block in which weight
    tokens attend to samples. The first B rows are those of the weight tokens, the last Ns columns
    those of the samples.
  """
  label_table = _embeddings('label', 1 + (config.support_classes or config.num_labels), config)
  weights: tf.Tensor = _embeddings('weight', layout.num_blocks, config)
  if previous is not None:
    weights = tf.concat([weights, previous], axis=-1)
  sizes = token_widths(config, features.shape[-1], layout.block_size)
  with tf.variable_scope('transformer'):
    samples = encode_samples(labels, features, label_table, sizes[0].token)
    if config.generator == 'joint':
      tokens, attention = _joint(weights, samples, sizes, mask, config, noise)
    else:
      tokens, attention = _separate(weights, samples, sizes, config, noise)
  # Unlike the shape of the tokens, that of a slice is known when the graph is built.
  blocks = tf.slice(tokens, [0, config.embedding_dim], [layout.num_blocks, layout.block_size])
  return blocks, attention


def prototype_blocks(
  inputs: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor | None, num_labels: int
) -> tf.Tensor:
  """Make the blocks of a logits layer that compares its inputs with the mean c of each class.

  The kernel is 2 t c and the bias -t |c|^2, so that the logits are -t |x - c|^2 up to a term that
  all classes share: those of Prototypical Networks (arXiv 1703.05175, section 2.3). t is trained
  and starts at 1 / d. A class without labeled samples has the mean 0.

  Args:
    inputs: float32 [Ns, d], what enters the layer.
    labels: Integers [Ns]; K means "no label".
    mask: As in `generate_blocks`.
    num_labels: K.

  Returns:
    [K, d + 1].
  """
  member = tf.one_hot(labels, num_labels)
  if mask is not None:
    member *= 1.0 - mask[:, None]
  sums = tf.matmul(member, inputs, transpose_a=True)
  means = sums / tf.maximum(tf.reduce_sum(member, axis=0), 1.0)[:, None]
  t = tf.get_variable('prototype_scale', initializer=1.0 / inputs.shape[1])
  lengths = tf.reduce_sum(tf.square(means), axis=1, keepdims=True)
  return t * tf.concat([2.0 * means, -lengths], axis=1)


def _embeddings(kind: str, rows: int, config: ModelConfig) -> tf.Variable:
  """Make a table of label or weight embeddings, [rows, E], from N(0, 1)."""
  shape = [rows, config.embedding_dim]
  return tf.get_variable(f'{kind}_embeddings', shape, initializer=tf.random_normal_initializer())


def pad_to(x: tf.Tensor, width: int) -> tf.Tensor:
  """Append columns of zeros to x [n, m], so that it becomes [n, width]."""
  return tf.pad(x, [[0, 0], [0, width - x.shape[-1]]])


def encode_samples(
  labels: tf.Tensor, features: tf.Tensor, embeddings: tf.Tensor, width: int
) -> tf.Tensor:
  """Make the tokens of support samples: [label embedding | features | zeros].

  Args:
    labels: Integers [Ns], from 0 to K.
    features: [Ns, F].
    embeddings: The table of label embeddings, [K + 1, E].
    width: Width of the tokens, at least E + F.

  Returns:
    [Ns, width].
  """
  own = tf.gather(tf.convert_to_tensor(embeddings), labels)
  return pad_to(tf.concat([own, features], axis=-1), width)


def _joint(
  weights: tf.Tensor,
  samples: tf.Tensor,
  sizes: tuple[Widths, Widths],
  mask: tf.Tensor | None,
  config: ModelConfig,
  noise: Noise | None,
) -> tuple[tf.Tensor, list[Heads]]:
  """Send one sequence of B weight tokens and Ns sample tokens through the transformer."""
  sequence = tf.concat([pad_to(weights, sizes[1].token), samples], axis=0)
  if mask is not None:
    mask = tf.concat([tf.zeros([weights.shape[0]]), mask], axis=0)
  settings = config.transformer
  skip_last = settings.skip_last_nonlinearity and not settings.use_decoder
  encoded, attention = transformer.encoder(sequence, sizes[0], settings, mask, noise, skip_last)
  if not settings.use_decoder:
    return encoded, attention
  decoded, cross = transformer.decoder(sequence, encoded, sizes[1], settings, mask, mask, noise)
  return decoded, attention + cross


def _separate(
  weights: tf.Tensor,
  samples: tf.Tensor,
  sizes: tuple[Widths, Widths],
  config: ModelConfig,
  noise: Noise | None,
) -> tuple[tf.Tensor, list[Heads]]:
  """Send sample tokens through the encoder and weight tokens through the decoder, with no mask."""
  encoded, _ = transformer.encoder(samples, sizes[0], config.transformer, noise=noise)
  weights = pad_to(weights, sizes[1].token)
  return transformer.decoder(weights, encoded, sizes[1], config.transformer, noise=noise)


def removal_mask(labels: tf.Tensor, config: ModelConfig, noise: Noise) -> tf.Tensor | None:
  """Sample which support samples the generators must ignore in a training step.

  Two probabilities are sampled for the step, one for labeled samples and one for unlabeled ones:
  each is uniform between 0 and the largest value that the settings allow. Then each sample is
  hidden with the probability of its kind (docs/spec/model.md, section 5, "Hiding support samples").

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
