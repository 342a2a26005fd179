"""Regularisation of the generated CNN (spec/model.md section 5): each tensor once, of the training
episode only.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.model.getter import Row

EPSILON = 1e-8


def variation_terms(rows: Iterable[Row], weight: float) -> list[tf.Tensor]:
  """weight * sum(generated^2) / (1e-8 + sum(trained^2)) for every generated tensor that is added to
  a trained one; logits layers are left out.
  """
  if weight == 0:
    return []
  return [
    weight * _energy(row.generated) / (EPSILON + _energy(row.trained))
    for row in getter.distinct(rows)
    if row.source == getter.BOTH and not row.variable.startswith('logits/')
  ]


def l2_terms(rows: Iterable[Row], weight: float) -> list[tf.Tensor]:
  """weight * sum(kernel^2) for every kernel of the CNN, generated, trained, or their sum.

  Of a kernel that is generated, the first in `rows` counts, which is the support pass's, also where
  the query pass adds a trained variable of its own.
  """
  if weight == 0:
    return []
  kernels = [row for row in getter.distinct(rows) if row.variable.endswith('/kernel')]
  generated = {
    (row.layer, row.variable): row for row in reversed(kernels) if row.generated is not None
  }
  return [
    weight * _energy(row.value)
    for row in kernels
    if row.generated is None or row is generated[row.layer, row.variable]
  ]


def _energy(x: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(tf.square(x))
