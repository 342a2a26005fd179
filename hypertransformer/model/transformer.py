"""The transformer (spec/model.md section 3): post-norm blocks, no positional encoding.

Tokens are [T, D]: one episode is one sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import block_vectors, layers
from hypertransformer.model.noise import Noise, dropout
from hypertransformer.settings.model_config import TransformerConfig

MASKED_LOGIT = 1e8
LARGEST_FRACTION = 3.0  # a larger size is the width itself


@dataclasses.dataclass(frozen=True)
class Widths:
  """Numbers per token: of queries and keys together over all heads, of values, of the inner layer."""

  key_query: int
  value: int
  inner: int


def widths(config: TransformerConfig, token_width: int, round_up: bool) -> Widths:
  """Sizes for tokens of `token_width`.

  round_up: round fractions of the token width up to a multiple of the heads (the joint generator
  does, the separate one does not). An inner width of 0 means blocks without a feed-forward part.
  Raises InputError where the heads do not divide a width of the attention, or it is 0.
  """
  sizes = Widths(
    *(
      _width(size, token_width, config.heads, round_up)
      for size in (config.key_query_dim, config.value_dim, config.inner_dim)
    )
  )
  for flag, size in (('lw_key_query_dim', sizes.key_query), ('lw_value_dim', sizes.value)):
    if size == 0:
      raise errors.InputError(
        f'{flag} of tokens {token_width} wide is a width of 0: choose a larger {flag}.'
      )
    if size % config.heads:
      raise errors.InputError(
        f'heads={config.heads} does not divide the attention width {size} ({flag} of tokens {token_width} '
        f'wide): choose other heads, another {flag} or embedding_dim, or layerwise_generator=joint, which rounds '
        'fractions (3 and less) up.'
      )
  return sizes


def _width(size: float, token_width: int, heads: int, round_up: bool) -> int:
  if size > LARGEST_FRACTION:
    return int(size)
  width = int(size * token_width)
  return -(-width // heads) * heads if round_up else width


def attention(
  queries: tf.Tensor,
  keys: tf.Tensor,
  sizes: Widths,
  config: TransformerConfig,
  name: str,
  mask: tf.Tensor | None = None,
) -> tf.Tensor:
  """Multi-head attention of queries [T, D] over keys [S, D'] -> [T, D].

  mask: float [S], 1 = a key that nobody may look at; mask * 1e8 is subtracted from the logits.
  """
  heads = config.heads
  query = key = [sizes.key_query // heads] * heads
  value = [sizes.value // heads] * heads
  with tf.variable_scope(name):
    if queries is keys:
      parts = _joint_projections(queries, query + key + value, heads, 'query_key_value')
    else:
      parts = [
        *tf.split(layers.dense(queries, sizes.key_query, 'query'), heads, axis=1),
        *_joint_projections(keys, key + value, heads, 'key_value'),
      ]
    mixed = [_head(parts[head::heads], config, mask) for head in range(heads)]
    return layers.dense(tf.concat(mixed, axis=1), queries.shape[-1], 'output')


def _joint_projections(
  x: tf.Tensor, widths: Sequence[int], heads: int, name: str
) -> list[tf.Tensor]:
  """x [n, m] -> each head's [n, width] of one projection after the other, as one product with one
  variable.

  Each projection starts as a dense layer by itself would.
  """
  starts = [layers.glorot_limit(x.shape[-1], width * heads) for width in widths]
  return tf.split(
    layers.dense(x, sum(widths), name, limit=np.repeat(starts, widths)), widths, axis=1
  )


def _head(
  parts: Sequence[tf.Tensor], config: TransformerConfig, mask: tf.Tensor | None
) -> tf.Tensor:
  """One head: (query [T, w], key [S, w], value [S, w']) -> [T, w']. Plain products of few, small
  matrices cost less than batched ones with their transpositions.
  """
  query, key, value = parts
  logits = tf.matmul(query, key, transpose_b=True) * int(query.shape[-1]) ** -0.5
  if mask is not None:
    logits -= mask * MASKED_LOGIT
  weights = tf.nn.softmax(logits) if config.activation == 'softmax' else tf.nn.sigmoid(logits)
  return tf.matmul(weights, value)


def _feed_forward(x: tf.Tensor, inner: int, activation: layers.Activation | None) -> tf.Tensor:
  with tf.variable_scope('feed_forward'):
    return layers.dense(layers.dense(x, inner, 'inner', activation), x.shape[-1], 'outer')


def _add_and_norm(
  x: tf.Tensor, change: tf.Tensor, name: str, config: TransformerConfig, noise: Noise | None
) -> tf.Tensor:
  return layers.layer_norm(x + dropout(change, config.dropout_rate, noise), name)


def _feed_forward_part(
  x: tf.Tensor,
  sizes: Widths,
  activation: layers.Activation | None,
  config: TransformerConfig,
  noise: Noise | None,
) -> tf.Tensor:
  """tokens [T, D] -> [T, D]: the second half of a block; nothing where the inner width is 0."""
  if sizes.inner == 0:
    return x
  return _add_and_norm(
    x, _feed_forward(x, sizes.inner, activation), 'feed_forward_norm', config, noise
  )


def _vector_widths(names: Sequence[str], token_width: int, sizes: Widths) -> dict[str, int]:
  """Width of each vector of a block: its bias's or norm's layer is as wide as a token, but for
  these.
  """
  if sizes.inner == 0:
    names = block_vectors.without_feed_forward(names)
  inner = {
    'self_attention/query_key_value/bias': 2 * sizes.key_query + sizes.value,
    'cross_attention/query/bias': sizes.key_query,
    'cross_attention/key_value/bias': sizes.key_query + sizes.value,
    'feed_forward/inner/bias': sizes.inner,
  }
  return {name: inner.get(name, token_width) for name in names}


def nonlinearity(name: str) -> layers.Activation:
  """relu, exact gelu, or leaky relu with slope 0.1."""
  return {
    'relu': tf.nn.relu,
    'gelu': lambda x: 0.5 * x * (1.0 + tf.math.erf(x * 2.0**-0.5)),
    'lrelu': lambda x: tf.nn.leaky_relu(x, alpha=0.1),
  }[name]


def encoder(
  x: tf.Tensor,
  sizes: Widths,
  config: TransformerConfig,
  mask: tf.Tensor | None = None,
  noise: Noise | None = None,
  skip_last: bool = False,
) -> tf.Tensor:
  """tokens [T, D] -> [T, D] through `num_layers` blocks of self-attention and feed-forward.

  skip_last: the last block's feed-forward part has no nonlinearity.
  """
  for number in range(1, config.num_layers + 1):
    skip = skip_last and number == config.num_layers
    with block_vectors.together(
      f'encoder_{number}', _vector_widths(block_vectors.ENCODER, int(x.shape[-1]), sizes)
    ):
      attended = attention(x, x, sizes, config, 'self_attention', mask)
      x = _add_and_norm(x, attended, 'self_attention_norm', config, noise)
      x = _feed_forward_part(
        x, sizes, None if skip else nonlinearity(config.nonlinearity), config, noise
      )
  return x


def decoder(
  x: tf.Tensor,
  encoded: tf.Tensor,
  sizes: Widths,
  config: TransformerConfig,
  self_mask: tf.Tensor | None = None,
  cross_mask: tf.Tensor | None = None,
  noise: Noise | None = None,
) -> tf.Tensor:
  """tokens [T, D] and the encoder's output [S, D'] -> [T, D]; the feed-forward layers always use
  relu.
  """
  for number in range(1, config.num_layers + 1):
    with block_vectors.together(
      f'decoder_{number}', _vector_widths(block_vectors.DECODER, int(x.shape[-1]), sizes)
    ):
      attended = attention(x, x, sizes, config, 'self_attention', self_mask)
      x = _add_and_norm(x, attended, 'self_attention_norm', config, noise)
      attended = attention(x, encoded, sizes, config, 'cross_attention', cross_mask)
      x = _add_and_norm(x, attended, 'cross_attention_norm', config, noise)
      x = _feed_forward_part(x, sizes, tf.nn.relu, config, noise)
  return x
