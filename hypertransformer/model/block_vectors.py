"""The vectors of a transformer block (biases, scales and offsets of norms) as parts of one
variable.

Every variable has its price: ops that build, initialise, save and restore it, and in each step ops
that read and update it. A block has eight vectors or more, of a few hundred numbers each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

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
  """Those of ENCODER or DECODER that a block without a feed-forward part has."""
  return tuple(name for name in names if not name.startswith('feed_forward'))


@contextlib.contextmanager
def together(name: str, widths: Mapping[str, int]) -> Iterator[None]:
  """The variable scope `name`, in which the vectors of `widths` are parts, in this order, of its
  variable `vectors`.

  widths: by name in the scope; a name that ends in gamma starts at one, others at zero.
  tf.get_variable gives each vector once. Raises ValueError for a vector of another width, or if one
  is left over at the end.
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
