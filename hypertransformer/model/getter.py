"""The heart of the design: a custom variable getter that swaps CNN variables for generated tensors.

The CNN (cnn.py) is written with tf.get_variable like any other. Under a scope whose custom getter
is a `LayerGetter`, a variable that has a place in the layer's weight blocks comes back as the
generated tensor (or generated + trained); every other variable is an ordinary trained one. What
came from where is recorded, a row for each use, and is printed at the start of training (`table`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.model.blocks import BlockLayout, Shape

GENERATED, TRAINED, BOTH = 'generated', 'trained', 'both'


@dataclasses.dataclass(frozen=True)
class Row:
  """One variable of the CNN as one pass used it.

  layer: 'layer_1'; variable: 'conv/kernel'; source: generated, trained, or both (their sum); value:
    the tensor used;
  generated: the generated part or None; trained: the variable or None, under its full name.
  """

  layer: str
  variable: str
  shape: Shape
  source: str
  value: tf.Tensor
  generated: tf.Tensor | None
  trained: tf.Variable | None


class LayerWeights:
  """The generated tensors of one CNN layer for one support set.

  blocks: [B, b]. add_trained: every generated tensor is a correction to a trained variable of its
    shape.
  """

  def __init__(self, layout: BlockLayout, blocks: tf.Tensor, add_trained: bool) -> None:
    self.layout = layout
    self.blocks = blocks
    self._add_trained = add_trained
    self._generated: dict[str, tf.Tensor] = {}
    self._sums: dict[str, tuple[tf.Tensor, tf.Variable]] = {}

  def has(self, variable: str) -> bool:
    return variable in self.layout.shapes

  def get(
    self, variable: str, trained_name: str, make_trained: Callable[[], tf.Variable]
  ) -> tuple[str, tf.Tensor, tf.Tensor, tf.Variable | None]:
    """(source, value, generated part, trained part); the same tensors at every use.

    trained_name: of the variable that is added, where one is: the support and the query pass can
      have their own.
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
  """A custom getter for the variables of one CNN layer in one pass: `tf.variable_scope(...,
  custom_getter=this)`.

  layer: its name, 'layer_1'. scope: the full name of the variable scope that holds the CNN's
    layers.
  weights: the layer's generated tensors, None for a trained layer. own_scope: if given, trained
  variables, also those that are added to generated tensors, live there instead of in `scope` (the
  query pass's own, --separate_evaluation_bn_vars).
  rows: a list that receives one Row per variable.
  """

  def __init__(
    self,
    layer: str,
    scope: str,
    weights: LayerWeights | None,
    own_scope: str | None,
    rows: list[Row],
  ) -> None:
    self._layer = layer
    self._prefix = f'{scope}/{layer}/'
    self._weights = weights
    self._own_prefix = f'{own_scope}/{layer}/' if own_scope else self._prefix
    self._rows = rows

  def __call__(
    self, getter: Callable[..., tf.Variable], name: str, *args: Any, **kwargs: Any
  ) -> tf.Tensor:
    variable = name[len(self._prefix) :]
    if not name.startswith(self._prefix):
      raise ValueError(f'{name} is not a variable of {self._prefix}')
    own_name = self._own_prefix + variable
    if self._weights is not None and self._weights.has(variable):
      source, value, generated, trained = self._weights.get(
        variable, own_name, lambda: getter(own_name, *args, **kwargs)
      )
    else:
      value = trained = getter(own_name, *args, **kwargs)
      source, generated = TRAINED, None
    self._rows.append(
      Row(self._layer, variable, tuple(value.shape.as_list()), source, value, generated, trained)
    )
    return value


def distinct(rows: Iterable[Row]) -> list[Row]:
  """The rows without repetition: each tensor that a CNN used once, in order of first use."""
  seen: dict[Any, Row] = {}
  for row in rows:
    seen.setdefault((row.layer, row.variable) if row.trained is None else row.trained.name, row)
  return list(seen.values())


def table(rows: Iterable[Row]) -> str:
  """The getter's work as text: layer, variable, shape, source, and the trained variable's name."""
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
