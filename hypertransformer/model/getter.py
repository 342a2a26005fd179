"""The custom getter that gives the CNN generated tensors in place of variables.

This is the heart of the design (docs/spec/model.md, section 5, "The mechanism"). The CNN (cnn.py)
is written with tf.get_variable, like any other network. It runs in a variable scope whose custom
getter is a `LayerGetter`. When it asks for a variable that has a place in the layer's weight
blocks, it gets the generated tensor, or the sum of that and a trained variable. Every other
variable is an ordinary trained one.

What came from where is recorded, one `Row` for each use. `table` prints it when training starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.model.blocks import BlockLayout, Shape

# Where the tensor came from that the CNN used for a variable, see Row.source.
GENERATED, TRAINED, BOTH = 'generated', 'trained', 'both'


@dataclasses.dataclass(frozen=True)
class Row:
  """Records that a pass of the CNN used one of its variables.

  Attributes:
    layer: Name of the layer, such as "layer_1".
    variable: Name of the variable within the layer, such as "conv/kernel".
    shape: Its shape.
    source: GENERATED, TRAINED, or BOTH for the sum of the two.
    value: The tensor that the CNN used.
    generated: The generated tensor, or None.
    trained: The trained variable, or None. Its own name is the full one.
  """

  layer: str
  variable: str
  shape: Shape
  source: str
  value: tf.Tensor
  generated: tf.Tensor | None
  trained: tf.Variable | None


class LayerWeights:
  """The generated tensors of one CNN layer, for one support set.

  Every use of a variable gives the same tensors.
  """

  def __init__(self, layout: BlockLayout, blocks: tf.Tensor, add_trained: bool) -> None:
    """Makes the tensors of a layer from its weight blocks.

    Args:
      layout: The layout of the blocks.
      blocks: [B, b].
      add_trained: Whether a trained variable of the same shape is added to each generated tensor.
    """
    self.layout = layout
    self.blocks = blocks
    self._add_trained = add_trained
    self._generated: dict[str, tf.Tensor] = {}
    self._sums: dict[str, tuple[tf.Tensor, tf.Variable]] = {}

  def has(self, variable: str) -> bool:
    """Says whether a variable of the layer, such as "conv/kernel", is generated."""
    return variable in self.layout.shapes

  def get(
    self, variable: str, trained_name: str, make_trained: Callable[[], tf.Variable]
  ) -> tuple[str, tf.Tensor, tf.Tensor, tf.Variable | None]:
    """Gives the tensor that stands for a variable, and what it is made of.

    Args:
      variable: Name of the variable within the layer.
      trained_name: Full name of the trained variable that is added, if one is. The support pass and
        the query pass may have one each.
      make_trained: Makes that variable.

    Returns:
      Source, value, generated part and trained part, as in `Row`.
    """
    if variable not in self._generated:
      self._generated[variable] = self.layout.unpack(variable, self.blocks)
    generated = self._generated[variable]
    if not self._add_trained:
      return GENERATED, generated, generated, None
    if trained_name not in self._sums:
      trained = make_trained()
      self._sums[trained_name] = generated + trained, trained
    value, trained = self._sums[trained_name]
    return BOTH, value, generated, trained


class LayerGetter:
  """The custom getter of one CNN layer in one pass, to be given to tf.variable_scope."""

  def __init__(
    self,
    layer: str,
    scope: str,
    weights: LayerWeights | None,
    trained_scope: str | None,
    rows: list[Row],
  ) -> None:
    """Makes the getter of a layer.

    Args:
      layer: Name of the layer, such as "layer_1".
      scope: Full name of the variable scope that holds the CNN's layers.
      weights: The layer's generated tensors; None for a trained layer.
      trained_scope: The scope in which trained variables are made, also those that are added to
        generated tensors; `scope` if None. The query pass has one with
        --separate_evaluation_bn_vars.
      rows: A list to which one `Row` is added for every variable that is asked for.
    """
    self._layer = layer
    self._prefix = f'{scope}/{layer}/'
    self._weights = weights
    self._trained_prefix = f'{trained_scope}/{layer}/' if trained_scope else self._prefix
    self._rows = rows

  def __call__(
    self, getter: Callable[..., tf.Variable], name: str, *args: Any, **kwargs: Any
  ) -> tf.Tensor:
    """Gives the CNN the tensor for the variable of this full name, and records it.

    Raises:
      ValueError: The variable is not one of this layer.
    """
    variable = name[len(self._prefix) :]
    if not name.startswith(self._prefix):
      raise ValueError(f'{name} is not a variable of {self._prefix}')
    trained_name = self._trained_prefix + variable
    if self._weights is not None and self._weights.has(variable):
      source, value, generated, trained = self._weights.get(
        variable, trained_name, lambda: getter(trained_name, *args, **kwargs)
      )
    else:
      value = trained = getter(trained_name, *args, **kwargs)
      source, generated = TRAINED, None
    self._rows.append(
      Row(self._layer, variable, tuple(value.shape.as_list()), source, value, generated, trained)
    )
    return value


def distinct(rows: Iterable[Row]) -> list[Row]:
  """Removes repetitions: leaves a row for each tensor that a CNN used, in order of first use."""
  seen: dict[Any, Row] = {}
  for row in rows:
    seen.setdefault((row.layer, row.variable) if row.trained is None else row.trained.name, row)
  return list(seen.values())


def table(rows: Iterable[Row]) -> str:
  """Lays rows out as a text table, one line for each tensor that a CNN used.

  Its columns are layer, variable, shape, source and the name of the trained variable.
  """
  lines = [('layer', 'variable', 'shape', 'source', 'trained variable')]
  for row in distinct(rows):
    shape = ' x '.join(map(str, row.shape))
    lines.append(
      (
        row.layer,
        row.variable,
        shape,
        row.source,
        row.trained.op.name if row.trained is not None else '-',
      )
    )
  columns = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(line, columns, strict=True)).rstrip()
    for line in lines
  )
