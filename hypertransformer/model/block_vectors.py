"""Keeps all biases, scales and offsets of a transformer block in one TensorFlow variable.

Every variable costs time: ops that build, initialise, save and restore it, and ops that read and
update it in each step. A block has eight such vectors or more, of only a few hundred numbers each,
so they are parts of one variable (docs/spec/model.md, section 7, "Vectors of a block").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

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
