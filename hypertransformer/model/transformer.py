"""The transformer: post-norm blocks without positional encoding.

See docs/spec/model.md, section 3. An episode is one sequence of n tokens of the width D, [n, D];
there is no batch axis.

All biases, scales and offsets of a block are parts of one TensorFlow variable (docs/spec/model.md,
section 7, "Vectors of a block"). Every variable costs time: ops that build, initialize, save and
restore it, and ops that read and update it in each step.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import layers
from hypertransformer.model.layers import Noise, dropout
from hypertransformer.settings.model_config import LARGEST_FRACTION, TransformerConfig

# The attention weights [n, m] of each head: how much each of n tokens attends to each of m others.
Heads = list[tf.Tensor]

MASKED_LOGIT = 1e8  # is subtracted from the attention logits of masked tokens

# The vectors of a block, by their names within its scope, in the order in which they are stored.
ENCODER = (
  'self_attention/query_key_value/bias',
  'self_attention/output/bias',
  'self_attention_norm/gamma',
  'self_attention_norm/beta',
  'feed_forward/inner/bias',
  'feed_forward/outer/bias',
  'feed_forward_norm/gamma',
  'feed_forward_norm/beta',
)
DECODER = (
  *ENCODER[:4],
  'cross_attention/query/bias',
  'cross_attention/key_value/bias',
  'cross_attention/output/bias',
  'cross_attention_norm/gamma',
  'cross_attention_norm/beta',
  *ENCODER[4:],
)


def without_feed_forward(names: Sequence[str]) -> tuple[str, ...]:
  """Return the names in ENCODER or DECODER that a block without a feed-forward part has."""
  return tuple(name for name in names if not name.startswith('feed_forward'))


@dataclasses.dataclass(frozen=True)
class Widths:
  """The widths of the layers in a transformer block, each over all heads together.

  Attributes:
    token: Width of the tokens, D.
    key_query: Width of the queries, and of the keys.
    value: Width of the values.
    inner: Width of the inner layer of the feed-forward part; 0 if there is no such part.
  """

  token: int
  key_query: int
  value: int
  inner: int

  def vectors(self, names: Sequence[str]) -> dict[str, int]:
    """Return the width of each vector of a block, for names in ENCODER or DECODER."""
    if self.inner == 0:
      names = without_feed_forward(names)
    known = {
      'self_attention/query_key_value/bias': 2 * self.key_query + self.value,
      'cross_attention/query/bias': self.key_query,
      'cross_attention/key_value/bias': self.key_query + self.value,
      'feed_forward/inner/bias': self.inner,
    }
    return {name: known.get(name, self.token) for name in names}


def widths(config: TransformerConfig, token_width: int, round_up: bool) -> Widths:
  """Return the widths of the layers for tokens of the width D.

  Args:
    config: The flags lw_key_query_dim, lw_value_dim and lw_inner_dim, each a fraction of D if it is
      at most 3 and otherwise the width itself. An inner width of 0 or less removes the feed-forward
      parts.
    token_width: D.
    round_up: Whether widths that are fractions of D are rounded up to a multiple of the heads. The
      joint generator does so, the separate one does not.

  Raises:
    InputError: A width of the attention is 0 or not divisible by the number of heads.
  """

  def width(size: float) -> int:
    if size > LARGEST_FRACTION:
      return int(size)
    fraction = int(size * token_width)
    return -(-fraction // config.heads) * config.heads if round_up else fraction

  sizes = Widths(
    token_width,
    width(config.key_query_dim),
    width(config.value_dim),
    width(max(config.inner_dim, 0.0)),
  )
  for flag, size in (('lw_key_query_dim', sizes.key_query), ('lw_value_dim', sizes.value)):
    if size == 0:
      raise errors.InputError(
        f'{flag} gives an attention width of 0 for tokens of width {token_width}. Use a larger '
        f'{flag}.'
      )
    if size % config.heads:
      raise errors.InputError(
        f'The attention width {size} ({flag}, for tokens of width {token_width}) is not divisible '
        f'by heads={config.heads}. Change heads, {flag} or embedding_dim, or use '
        'layerwise_generator=joint, which rounds fractions (3 and less) up.'
      )
  return sizes


@contextlib.contextmanager
def block_scope(name: str, vectors: Mapping[str, int]) -> Iterator[None]:
  """Open the variable scope of a transformer block, whose vectors are parts of one variable.

  Inside the scope, tf.get_variable returns a slice of the variable `vectors` for each name in
  `vectors`, once. Every other variable is created as usual.

  Args:
    name: Name of the scope.
    vectors: The width of each vector by its name within the scope, in the order in which they are
      stored. A vector whose name ends in "/gamma" starts at 1, every other one at 0.

  Raises:
    ValueError: A vector is requested with another width, or one of them is never requested.
  """
  start: list[np.ndarray] = [
    np.full(width, part.endswith('/gamma'), np.float32) for part, width in vectors.items()
  ]
  with tf.variable_scope(name) as scope:
    variable = tf.get_variable('vectors', initializer=np.concatenate(start))
    parts = dict(zip(vectors, tf.split(variable, list(vectors.values())), strict=True))
    own = f'{scope.name}/'

    def part(getter: Any, name: str, *args: Any, **kwargs: Any) -> tf.Tensor:
      found = parts.pop(name.removeprefix(own), None)
      if found is None:
        return getter(name, *args, **kwargs)
      found.shape.assert_is_compatible_with(kwargs['shape'])
      return found

    with tf.variable_scope(scope, custom_getter=part, auxiliary_name_scope=False):
      yield
    if parts:
      raise ValueError(f'{scope.name}: {", ".join(parts)} never requested.')


def attention(
  queries: tf.Tensor,
  keys: tf.Tensor,
  sizes: Widths,
  config: TransformerConfig,
  name: str,
  mask: tf.Tensor | None = None,
) -> tuple[tf.Tensor, Heads]:
  """Compute a multi-head attention of n tokens over m others.

  Args:
    queries: The tokens that attend, [n, D].
    keys: The tokens that they attend to, [m, D']; the same object as `queries` in a self-attention.
    sizes: Widths of the queries, keys and values.
    config: The transformer's settings.
    name: Variable scope of the attention.
    mask: float32 [m], 1 for a token that no token may attend to; None for no mask.

  Returns:
    [n, D], and the attention weights.
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
    found = [_head(parts[head::heads], config, mask) for head in range(heads)]
    mixed, weights = map(list, zip(*found, strict=True))
    return layers.dense(tf.concat(mixed, axis=1), queries.shape[-1], 'output'), weights


def _joint_projections(
  x: tf.Tensor, widths: Sequence[int], heads: int, name: str
) -> list[tf.Tensor]:
  """Compute several projections of x [n, m] as one product, with one variable.

  Each projection starts with the values that it would have as a dense layer of its own.

  Args:
    x: [n, m].
    widths: The width of one head in each projection. A projection has `heads` entries of equal
      width.
    heads: The number of heads.
    name: Variable scope of the layer.

  Returns:
    A tensor [n, width] for each entry of `widths`.
  """
  starts = [layers.glorot_limit(x.shape[-1], width * heads) for width in widths]
  return tf.split(
    layers.dense(x, sum(widths), name, limit=np.repeat(starts, widths)), widths, axis=1
  )


def _head(
  parts: Sequence[tf.Tensor], config: TransformerConfig, mask: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
  """Compute one head of an attention.

  Products of few, small matrices cost less one by one than in a batch, with its transpositions.

  Args:
    parts: The head's query [n, w], key [m, w] and value [m, w'].
    config: The transformer's settings.
    mask: As in `attention`.

  Returns:
    The head's output, [n, w'], and the attention weights, [n, m].
  """
  query, key, value = parts
  logits = tf.matmul(query, key, transpose_b=True) * int(query.shape[-1]) ** -0.5
  if mask is not None:
    logits -= mask * MASKED_LOGIT
  weights = tf.nn.softmax(logits) if config.activation == 'softmax' else tf.nn.sigmoid(logits)
  return tf.matmul(weights, value), weights


def _add_and_norm(
  x: tf.Tensor, change: tf.Tensor, name: str, config: TransformerConfig, noise: Noise | None
) -> tf.Tensor:
  return layers.layer_norm(x + dropout(change, config.dropout_rate, noise), name)


def _feed_forward(
  x: tf.Tensor,
  sizes: Widths,
  activation: layers.Activation | None,
  config: TransformerConfig,
  noise: Noise | None,
) -> tf.Tensor:
  """Compute the last part of a block, [n, D] to [n, D]; returns x if the inner width is 0."""
  if sizes.inner == 0:
    return x
  with tf.variable_scope('feed_forward'):
    change = layers.dense(layers.dense(x, sizes.inner, 'inner', activation), x.shape[-1], 'outer')
  return _add_and_norm(x, change, 'feed_forward_norm', config, noise)


def nonlinearity(name: str) -> layers.Activation:
  """Return relu, gelu (the exact one, with erf), or leaky relu with slope 0.1."""
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
) -> tuple[tf.Tensor, list[Heads]]:
  """Apply `num_layers` blocks of self-attention and feed-forward to tokens [n, D].

  Args:
    x: Tokens [n, D].
    sizes: Widths of the layers.
    config: The transformer's settings.
    mask: float32 [n], 1 for a token that no token may attend to; None for no mask.
    noise: Random numbers for dropout; None for no dropout.
    skip_last: Whether the feed-forward part of the last block has no nonlinearity.

  Returns:
    Tokens [n, D], and the attention weights of each block.
  """
  weights = []
  for number in range(1, config.num_layers + 1):
    linear = skip_last and number == config.num_layers
    with block_scope(f'encoder_{number}', sizes.vectors(ENCODER)):
      attended, heads = attention(x, x, sizes, config, 'self_attention', mask)
      weights.append(heads)
      x = _add_and_norm(x, attended, 'self_attention_norm', config, noise)
      activation = None if linear else nonlinearity(config.nonlinearity)
      x = _feed_forward(x, sizes, activation, config, noise)
  return x, weights


def decoder(
  x: tf.Tensor,
  encoded: tf.Tensor,
  sizes: Widths,
  config: TransformerConfig,
  self_mask: tf.Tensor | None = None,
  cross_mask: tf.Tensor | None = None,
  noise: Noise | None = None,
) -> tuple[tf.Tensor, list[Heads]]:
  """Apply `num_layers` blocks that also attend to the output of an encoder.

  The feed-forward parts always use relu.

  Args:
    x: Tokens [n, D].
    encoded: Output of the encoder, [m, D'].
    sizes: Widths of the layers.
    config: The transformer's settings.
    self_mask: float32 [n], 1 for a token of x that no token may attend to; None for no mask.
    cross_mask: float32 [m], the same for the tokens of the encoder.
    noise: Random numbers for dropout; None for no dropout.

  Returns:
    Tokens [n, D], and the weights of each block's attention over the encoder's tokens.
  """
  weights = []
  for number in range(1, config.num_layers + 1):
    with block_scope(f'decoder_{number}', sizes.vectors(DECODER)):
      attended, _ = attention(x, x, sizes, config, 'self_attention', self_mask)
      x = _add_and_norm(x, attended, 'self_attention_norm', config, noise)
      attended, heads = attention(x, encoded, sizes, config, 'cross_attention', cross_mask)
      weights.append(heads)
      x = _add_and_norm(x, attended, 'cross_attention_norm', config, noise)
      x = _feed_forward(x, sizes, tf.nn.relu, config, noise)
  return x, weights
