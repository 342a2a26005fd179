"""The transformer: blocks that normalise after they add, without positional encoding.

See docs/spec/model.md, section 3. An episode is one sequence of n tokens of the width D, [n, D];
there is no batch axis.
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

# The attention weights [n, m] of each head: how much each of n tokens looks at each of m others.
Heads = list[tf.Tensor]

MASKED_LOGIT = 1e8  # is subtracted from the logits of keys that nobody may look at


@dataclasses.dataclass(frozen=True)
class Widths:
  """The widths of the layers in a transformer block, each over all heads together.

  Attributes:
    key_query: Numbers per token in the queries, and in the keys.
    value: Numbers per token in the values.
    inner: Numbers per token in the inner layer of the feed-forward part; 0 if there is no such
      part.
  """

  key_query: int
  value: int
  inner: int


def widths(config: TransformerConfig, token_width: int, round_up: bool) -> Widths:
  """Works out the widths of the layers for tokens of the width D.

  Args:
    config: The flags lw_key_query_dim, lw_value_dim and lw_inner_dim, each a fraction of D if it is
      at most 3 and otherwise the width itself.
    token_width: D.
    round_up: Whether widths that are fractions of D are rounded up to a multiple of the heads. The
      joint generator does so, the separate one does not.

  Raises:
    InputError: The heads do not divide a width of the attention, or it comes to 0.
  """
  sizes = Widths(
    *(
      _width(size, token_width, config.heads, round_up)
      for size in (config.key_query_dim, config.value_dim, max(config.inner_dim, 0.0))
    )
  )
  for flag, size in (('lw_key_query_dim', sizes.key_query), ('lw_value_dim', sizes.value)):
    if size == 0:
      raise errors.InputError(
        f'{flag} of tokens {token_width} wide is a width of 0: choose a larger {flag}.'
      )
    if size % config.heads:
      raise errors.InputError(
        f'heads={config.heads} does not divide the attention width {size} ({flag} of tokens '
        f'{token_width} wide): choose other heads, another {flag} or embedding_dim, or '
        'layerwise_generator=joint, which rounds fractions (3 and less) up.'
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
  looks: list[Heads] | None = None,
) -> tf.Tensor:
  """Computes a multi-head attention of n tokens over m others.

  Args:
    queries: The tokens that look, [n, D].
    keys: The tokens that they look at, [m, D']; the same object as `queries` in a self-attention.
    sizes: Widths of the queries, keys and values.
    config: The transformer's settings.
    name: Variable scope of the attention.
    mask: float32 [m], 1 for a token that nobody may look at; None for no mask.
    looks: A list to which the attention weights are added; None if nobody asks for them.

  Returns:
    [n, D].
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
    if looks is not None:
      looks.append(weights)
    return layers.dense(tf.concat(mixed, axis=1), queries.shape[-1], 'output')


def _joint_projections(
  x: tf.Tensor, widths: Sequence[int], heads: int, name: str
) -> list[tf.Tensor]:
  """Computes several projections of x [n, m] as one product, with one variable.

  Each projection starts with the values that it would have as a dense layer of its own.

  Args:
    x: [n, m].
    widths: The width of one head in each projection. A projection has `heads` entries of equal
      width.
    heads: How many heads there are.
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
  """Computes one head of an attention.

  Products of few, small matrices cost less one by one than in a batch, with its transpositions.

  Args:
    parts: The head's query [n, w], key [m, w] and value [m, w'].
    config: The transformer's settings.
    mask: As in `attention`.

  Returns:
    What the tokens get, [n, w'], and the attention weights, [n, m].
  """
  query, key, value = parts
  logits = tf.matmul(query, key, transpose_b=True) * int(query.shape[-1]) ** -0.5
  if mask is not None:
    logits -= mask * MASKED_LOGIT
  weights = tf.nn.softmax(logits) if config.activation == 'softmax' else tf.nn.sigmoid(logits)
  return tf.matmul(weights, value), weights


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
  """Computes the last part of a block, [n, D] to [n, D]; returns x if the inner width is 0."""
  if sizes.inner == 0:
    return x
  return _add_and_norm(
    x, _feed_forward(x, sizes.inner, activation), 'feed_forward_norm', config, noise
  )


def _vector_widths(names: Sequence[str], token_width: int, sizes: Widths) -> dict[str, int]:
  """How many numbers each vector of a block has: those of its layer's output, by default D."""
  if sizes.inner == 0:
    names = without_feed_forward(names)
  inner = {
    'self_attention/query_key_value/bias': 2 * sizes.key_query + sizes.value,
    'cross_attention/query/bias': sizes.key_query,
    'cross_attention/key_value/bias': sizes.key_query + sizes.value,
    'feed_forward/inner/bias': sizes.inner,
  }
  return {name: inner.get(name, token_width) for name in names}


def nonlinearity(name: str) -> layers.Activation:
  """Returns relu, gelu (the exact one, with erf), or leaky relu with slope 0.1."""
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
  looks: list[Heads] | None = None,
) -> tf.Tensor:
  """Sends tokens [n, D] through `num_layers` blocks of self-attention and feed-forward.

  Args:
    x: Tokens [n, D].
    sizes: Widths of the layers.
    config: The transformer's settings.
    mask: float32 [n], 1 for a token that nobody may look at; None for no mask.
    noise: Random numbers for dropout; None for no dropout.
    skip_last: Whether the feed-forward part of the last block has no nonlinearity.
    looks: A list to which the attention weights of each block are added, in their order.

  Returns:
    Tokens [n, D].
  """
  for number in range(1, config.num_layers + 1):
    skip = skip_last and number == config.num_layers
    with together(f'encoder_{number}', _vector_widths(ENCODER, int(x.shape[-1]), sizes)):
      attended = attention(x, x, sizes, config, 'self_attention', mask, looks)
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
  looks: list[Heads] | None = None,
) -> tf.Tensor:
  """Sends tokens through `num_layers` blocks that also look at the output of an encoder.

  The feed-forward parts always use relu.

  Args:
    x: Tokens [n, D].
    encoded: Output of the encoder, [m, D'].
    sizes: Widths of the layers.
    config: The transformer's settings.
    self_mask: float32 [n], 1 for a token of x that nobody may look at; None for no mask.
    cross_mask: float32 [m], the same for the tokens of the encoder.
    noise: Random numbers for dropout; None for no dropout.
    looks: A list to which the weights of the attention over the encoder's tokens are added, for
      each block in order.

  Returns:
    Tokens [n, D].
  """
  for number in range(1, config.num_layers + 1):
    with together(f'decoder_{number}', _vector_widths(DECODER, int(x.shape[-1]), sizes)):
      attended = attention(x, x, sizes, config, 'self_attention', self_mask)
      x = _add_and_norm(x, attended, 'self_attention_norm', config, noise)
      attended = attention(x, encoded, sizes, config, 'cross_attention', cross_mask, looks)
      x = _add_and_norm(x, attended, 'cross_attention_norm', config, noise)
      x = _feed_forward_part(x, sizes, tf.nn.relu, config, noise)
  return x


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
  """Leaves out of ENCODER or DECODER what a block without a feed-forward part does not have."""
  return tuple(name for name in names if not name.startswith('feed_forward'))


@contextlib.contextmanager
def together(name: str, widths: Mapping[str, int]) -> Iterator[None]:
  """Opens the variable scope of a transformer block, whose vectors are parts of one variable.

  Inside the scope, tf.get_variable gives a slice of the variable `vectors` for each name in
  `widths`, once. Every other variable is made as usual.

  Args:
    name: Name of the scope.
    widths: How many numbers each vector has, by its name within the scope, in the order in which
      the vectors are stored. A vector whose name ends in "/gamma" starts at 1, every other one at
      0.

  Raises:
    ValueError: A vector is asked for with another width, or one of them is never asked for.
  """
  start: list[np.ndarray] = [
    np.full(width, part.endswith('/gamma'), np.float32) for part, width in widths.items()
  ]
  with tf.variable_scope(name) as scope:
    variable = tf.get_variable('vectors', initializer=np.concatenate(start))
    parts = dict(zip(widths, tf.split(variable, list(widths.values())), strict=True))
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
      raise ValueError(f'{scope.name}: nothing asked for {", ".join(parts)}.')
