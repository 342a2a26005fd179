"""Regularisation of the CNN: terms that are added to the loss of a training episode.

Each tensor counts once, however often it is used. See docs/spec/model.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.model.getter import Row

EPSILON = 1e-8


def variation_terms(rows: Iterable[Row], weight: float) -> list[tf.Tensor]:
  """Terms that keep generated tensors small beside the trained ones that they are added to.

  There is a term weight * sum(generated^2) / (1e-8 + sum(trained^2)) for every generated tensor of
  the convolutions that is added to a trained variable. Logits layers are left out.

  Args:
    rows: what the custom getter has given to the CNN, in both passes.
    weight: --weight_variation_regularization. With 0 there are no terms.
  """
  if weight == 0:
    return []
  return [
    weight * _sum_of_squares(row.generated) / (EPSILON + _sum_of_squares(row.trained))
    for row in getter.distinct(rows)
    if row.source == getter.BOTH and not row.variable.startswith('logits/')
  ]


def l2_terms(rows: Iterable[Row], weight: float) -> list[tf.Tensor]:
  """Terms weight * sum(kernel^2) for every kernel of the CNN: generated, trained, or their sum.

  A generated kernel counts as the support pass uses it (the first one in `rows`), even if the query
  pass adds a trained variable of its own to it.

  Args:
    rows: what the custom getter has given to the CNN, those of the support pass first.
    weight: --l2_reg_weight. With 0 there are no terms.
  """
  if weight == 0:
    return []
  kernels = [row for row in getter.distinct(rows) if row.variable.endswith('/kernel')]
  generated = {
    (row.layer, row.variable): row for row in reversed(kernels) if row.generated is not None
  }
  return [
    weight * _sum_of_squares(row.value)
    for row in kernels
    if row.generated is None or row is generated[row.layer, row.variable]
  ]


def _sum_of_squares(x: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(tf.square(x))
