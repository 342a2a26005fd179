"""Weight blocks: what a generator writes for one CNN layer, and where the variables of the layer
lie in it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import tensorflow.compat.v1 as tf

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class BlockLayout:
  """Where the variables of a CNN layer lie in its weight blocks [B, b] (spec/model.md section 5).

  allocation 'output': block c belongs to output c; the variables lie one after the other in a
  block, and the last axis of each variable is the block's number. 'spatial': block (y, x) holds
  kernel[y, x], [Cin, Cout].
  """

  allocation: str
  num_blocks: int
  shapes: Mapping[str, Shape]

  @property
  def block_size(self) -> int:
    """b: numbers in one block."""
    return sum(self._width(name) for name in self.shapes)

  def columns(self, name: str) -> tuple[int, int]:
    """First column of a variable in the blocks, and the one after its last."""
    names = list(self.shapes)
    start = sum(self._width(before) for before in names[: names.index(name)])
    return start, start + self._width(name)

  def unpack(self, name: str, blocks: tf.Tensor) -> tf.Tensor:
    """blocks [B, b] -> the variable `name` in its own shape."""
    shape = self.shapes[name]
    start, stop = self.columns(name)
    part = blocks[:, start:stop]
    if self.allocation == 'spatial':
      return tf.reshape(part, shape)
    return tf.reshape(tf.transpose(part), shape)

  def pack(self, variables: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """All variables of the layer, each in its own shape -> blocks [B, b]: the inverse of `unpack`."""
    parts = [variables[name] for name in self.shapes]
    if self.allocation == 'spatial':
      return tf.concat([tf.reshape(part, [self.num_blocks, -1]) for part in parts], axis=1)
    return tf.transpose(
      tf.concat([tf.reshape(part, [-1, self.num_blocks]) for part in parts], axis=0)
    )

  def _width(self, name: str) -> int:
    return math.prod(self.shapes[name]) // self.num_blocks


Blocks = dict[str, tf.Tensor]
