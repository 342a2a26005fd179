"""Weight blocks: the numbers that a generator writes for one CNN layer, and their layout.

See docs/spec/model.md, section 5, "From weight blocks to weights".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import tensorflow.compat.v1 as tf

# The size of a variable, an image or a layer's output, axis by axis.
Shape = tuple[int, ...]

# Weight blocks [B, b] by the name of their layer, such as 'layer_1'.
Blocks = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class BlockLayout:
  """Says where the variables of a CNN layer are stored in its weight blocks [B, b].

  Attributes:
    allocation: "output" or "spatial", as in the flag lw_weight_allocation. With "output", block c
      belongs to output c of the layer: it holds that output's part of each variable (the last axis
      of a variable counts the outputs), one variable after the other. With "spatial", there is one
      block per kernel position, and it holds the [Cin, Cout] numbers of the kernel there.
    num_blocks: The number of blocks, B.
    shapes: The shape of each generated variable by its name in the layer, such as "conv/kernel", in
      the order in which they are stored.
  """

  allocation: str
  num_blocks: int
  shapes: Mapping[str, Shape]

  @property
  def block_size(self) -> int:
    """The size of a block, b."""
    return sum(self._width(name) for name in self.shapes)

  def columns(self, name: str) -> tuple[int, int]:
    """Find a variable in the blocks: its first column, and the column behind its last one."""
    names = list(self.shapes)
    start = sum(self._width(before) for before in names[: names.index(name)])
    return start, start + self._width(name)

  def unpack(self, name: str, blocks: tf.Tensor) -> tf.Tensor:
    """Take the variable `name` out of blocks [B, b] and give it its own shape."""
    shape = self.shapes[name]
    start, stop = self.columns(name)
    part = blocks[:, start:stop]
    if self.allocation == 'spatial':
      return tf.reshape(part, shape)
    return tf.reshape(tf.transpose(part), shape)

  def pack(self, variables: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Put all variables of the layer into blocks [B, b]: the inverse of `unpack`."""
    parts = [variables[name] for name in self.shapes]
    if self.allocation == 'spatial':
      return tf.concat([tf.reshape(part, [self.num_blocks, -1]) for part in parts], axis=1)
    return tf.transpose(
      tf.concat([tf.reshape(part, [-1, self.num_blocks]) for part in parts], axis=0)
    )

  def _width(self, name: str) -> int:
    """Return how many columns of a block belong to the variable `name`."""
    return math.prod(self.shapes[name]) // self.num_blocks
