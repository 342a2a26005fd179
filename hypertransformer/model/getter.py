"""The custom getter that gives the CNN generated tensors in place of variables.

This is the heart of the design (docs/spec/model.md, section 5, "The mechanism"). The CNN (cnn.py)
is written with tf.get_variable, like any other network. It runs in a variable scope whose custom
getter is a `LayerGetter`. When it asks for a variable that has a place in the layer's weight
blocks, it gets the generated tensor, or the sum of that and a trained variable. Every other
variable is an ordinary trained one.

Each use of a variable is recorded as a `VariableUse`. `table` prints them when training starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.model.blocks import BlockLayout, Shape
from hypertransformer.model.transformer import Heads

# Where the tensor came from that the CNN used for a variable, see VariableUse.source.
GENERATED, TRAINED, BOTH = 'generated', 'trained', 'both'


@dataclasses.dataclass(frozen=True)
class VariableUse:
  """Records that a pass of the CNN used one of its variables.

  Attributes:
    layer: Name of the layer, such as "layer_1".
    variable: Name of the variable within the layer, such as "conv/kernel".
    value: The tensor that the CNN used.
    generated: The generated tensor, or None.
    trained: The trained variable, or None. Its own name is the full one.
  """

  layer: str
  variable: str
  value: tf.Tensor
  generated: tf.Tensor | None
  trained: tf.Variable | None

  @property
  def shape(self) -> Shape:
    """The shape of the variable."""
    return tuple(self.value.shape.as_list())

  @property
  def source(self) -> str:
    """GENERATED, TRAINED, or BOTH for the sum of the two."""
    if self.generated is None:
      return TRAINED
    return GENERATED if self.trained is None else BOTH


class LayerWeights:
  """The generated tensors of one CNN layer, for one support set.

  Every use of a variable gives the same tensors.

  Attributes:
    layout: The layout of the weight blocks.
    blocks: The weight blocks, [B, b].
    attention: The attention weights of the generator, see generator.generate_blocks.
  """

  def __init__(
    self, layout: BlockLayout, blocks: tf.Tensor, add_trained: bool, attention: Sequence[Heads] = ()
  ) -> None:
    """Make the tensors of a layer from its weight blocks.

    Args:
      layout: The layout of the blocks.
      blocks: [B, b].
      add_trained: Whether a trained variable of the same shape is added to each generated tensor.
      attention: The attention weights of the generator that made the blocks.
    """
    self.layout = layout
    self.blocks = blocks
    self.attention = attention
    self._add_trained = add_trained
    self._generated: dict[str, tf.Tensor] = {}
    self._sums: dict[str, tuple[tf.Tensor, tf.Variable]] = {}

  def get(
    self, variable: str, trained_name: str, make_trained: Callable[[], tf.Variable]
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Variable | None]:
    """Return the tensor to use for a generated variable, and its two parts.

    Args:
      variable: Name of the variable within the layer.
      trained_name: Full name of the trained variable that is added, if one is. The support pass and
        the query pass may have one each.
      make_trained: Makes that variable.

    Returns:
      Value, generated part and trained part, as in `VariableUse`.
    """
    if variable not in self._generated:
      self._generated[variable] = self.layout.unpack(variable, self.blocks)
    generated = self._generated[variable]
    if not self._add_trained:
      return generated, generated, None
    if trained_name not in self._sums:
      trained = make_trained()
      self._sums[trained_name] = generated + trained, trained
    value, trained = self._sums[trained_name]
    return value, generated, trained


class LayerGetter:
  """The custom getter of one CNN layer in one pass, to be passed to tf.variable_scope.

  Attributes:
    uses: One `VariableUse` for every variable that was requested, in order.
  """

  def __init__(
    self, layer: str, scope: str, weights: LayerWeights | None, trained_scope: str
  ) -> None:
    """Make the getter of a layer.

    Args:
      layer: Name of the layer, such as "layer_1".
      scope: Full name of the variable scope that holds the CNN's layers.
      weights: The layer's generated tensors; None for a trained layer.
      trained_scope: Full name of the scope for trained variables, also for those that are added to
        generated tensors. It differs from `scope` in the query pass with
        --separate_evaluation_bn_vars.
    """
    self.uses: list[VariableUse] = []
    self._layer = layer
    self._prefix = f'{scope}/{layer}/'
    self._trained_prefix = f'{trained_scope}/{layer}/'
    self._weights = weights

  def __call__(
    self, getter: Callable[..., tf.Variable], name: str, *args: Any, **kwargs: Any
  ) -> tf.Tensor:
    """Return the tensor for the variable of this full name, and record its use.

    Raises:
      ValueError: The variable does not belong to this layer.
    """
    if not name.startswith(self._prefix):
      raise ValueError(f'{name} is not a variable of {self._prefix}')
    variable = name.removeprefix(self._prefix)
    trained_name = self._trained_prefix + variable
    if self._weights is not None and variable in self._weights.layout.shapes:
      value, generated, trained = self._weights.get(
        variable, trained_name, lambda: getter(trained_name, *args, **kwargs)
      )
    else:
      value = trained = getter(trained_name, *args, **kwargs)
      generated = None
    self.uses.append(VariableUse(self._layer, variable, value, generated, trained))
    return value


def distinct(uses: Iterable[VariableUse]) -> list[VariableUse]:
  """Return the first use of each tensor that a CNN used, in order."""
  seen: dict[Any, VariableUse] = {}
  for use in uses:
    seen.setdefault((use.layer, use.variable) if use.trained is None else use.trained.name, use)
  return list(seen.values())


def table(uses: Iterable[VariableUse]) -> str:
  """Format uses as a text table with one line for each tensor that a CNN used.

  Its columns are layer, variable, shape, source and the name of the trained variable.
  """
  lines = [('layer', 'variable', 'shape', 'source', 'trained variable')]
  for use in distinct(uses):
    trained = '-' if use.trained is None else use.trained.op.name
    lines.append((use.layer, use.variable, ' x '.join(map(str, use.shape)), use.source, trained))
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    for line in lines
  )
