"""The training loss on a single task, and its terms.

They are cross-entropies, mixed by warm-up weights, regularization, and the loss of the real-class
head. See docs/spec/model.md, sections 1 and 5. A new term is added to `task_loss`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import tensorflow.compat.v1 as tf

from hypertransformer.model import getter, layers
from hypertransformer.model.getter import VariableUse
from hypertransformer.settings.config import LossConfig

EPSILON = 1e-8


@dataclasses.dataclass(frozen=True)
class TaskLoss:
  """The terms of the training loss on a single task.

  Attributes:
    cross_entropies: Those of the warm-up heads, then that of the final logits.
    warmup: The weights of the cross-entropies; None without warm-up heads.
    regularization: The weighted terms of the regularization.
    real_classes: The weighted loss of the real-class head; None if it is not part of the loss.
  """

  cross_entropies: list[tf.Tensor]
  warmup: list[tf.Tensor] | None
  regularization: list[tf.Tensor]
  real_classes: tf.Tensor | None

  def metrics(self) -> dict[str, tf.Tensor]:
    """Return the sums of the terms by TensorBoard tag; 'loss/loss' is the training loss."""
    ce = self.cross_entropies[-1]
    if self.warmup is not None:
      ce = tf.add_n([w * each for w, each in zip(self.warmup, self.cross_entropies, strict=True)])
    found = {'loss/loss/ce': ce, 'loss/loss': tf.add_n([ce, *self.regularization])}
    if self.regularization:
      found['loss/loss/regularization'] = tf.add_n(self.regularization)
    if self.real_classes is not None:
      found['loss/weighted_shared_head_loss'] = self.real_classes
      found['loss/loss'] += self.real_classes
    return found


def task_loss(
  config: LossConfig,
  logits: tf.Tensor,
  head_logits: list[tf.Tensor],
  labels: tf.Tensor,
  rows: Sequence[VariableUse],
  step: tf.Tensor,
  real_class_loss: tf.Tensor | None = None,
) -> TaskLoss:
  """Build the terms of the training loss on a single task.

  Args:
    config: The weights of the terms.
    logits: The final logits of the query images, [Nq, K].
    head_logits: Those of each warm-up head.
    labels: The labels of the query images, int [Nq].
    rows: What the custom getter gave to the CNN, those of the support pass first.
    step: The number of updates done, for the warm-up weights.
    real_class_loss: The loss of the real-class head, if there is one.
  """
  real_classes = None
  if real_class_loss is not None and config.shared_head_weight > 0:
    real_classes = config.shared_head_weight * real_class_loss
  return TaskLoss(
    [cross_entropy(each, labels, config.label_smoothing) for each in (*head_logits, logits)],
    warmup_weights(step, config.warmup_steps, len(head_logits)) if head_logits else None,
    [*variation_terms(rows, config.variation_weight), *l2_terms(rows, config.l2_weight)],
    real_classes,
  )


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0, unknown: float | None = None
) -> tf.Tensor:
  """Return the mean softmax cross-entropy against smoothed labels, a scalar.

  Args:
    logits: Float [..., number of classes].
    labels: The correct classes, int [...].
    label_smoothing: The fraction of each target that is spread over all classes.
    unknown: The logit of classes that are not learned yet, if there can be such classes. They get
      no part of the smoothed targets.
  """
  num_classes = logits.shape[-1]
  smoothed = label_smoothing / num_classes
  if unknown is not None and label_smoothing > 0:
    known = tf.cast(tf.not_equal(logits, unknown), tf.float32)
    smoothed = label_smoothing * known / tf.reduce_sum(known, -1, keepdims=True)
  targets = tf.one_hot(labels, num_classes) * (1.0 - label_smoothing) + smoothed
  return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(targets, logits))


def warmup_weights(step: tf.Tensor, warmup_steps: int, num_heads: int) -> list[tf.Tensor]:
  """Return the weights of the cross-entropies of the warm-up heads and of the final logits.

  With n heads there are n stages of S = warmup_steps / n steps. Head i, counted from 0, has the
  weight max(0, 1 - |step - i * S| / S). The weight of the final logits rises from 0 to 1 during the
  last stage and then stays 1.

  Args:
    step: The number of updates done.
    warmup_steps: The number of steps after which only the final logits count.
    num_heads: n.

  Returns:
    Scalars for the heads, from the first layer on, and one for the final logits.
  """
  stage = warmup_steps / num_heads
  position = tf.cast(step, tf.float32) / stage
  ramps = [tf.maximum(0.0, 1.0 - tf.abs(position - i)) for i in range(num_heads)]
  return [*ramps, tf.clip_by_value(position - (num_heads - 1), 0.0, 1.0)]


def real_class_head(
  shared_features: tf.Tensor, classes: tf.Tensor, real_classes: range, label_smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
  """Build the real-class head, which predicts classes of the dataset from the shared features.

  All calls share the variables `loss/shared_head`.

  Args:
    shared_features: Float [Ns, number of shared features].
    classes: The number of each support image's class in the dataset, int [Ns].
    real_classes: The numbers that can be predicted.
    label_smoothing: As for `cross_entropy`.

  Returns:
    Its cross-entropy and its accuracy, scalars.
  """
  with tf.variable_scope('loss', reuse=tf.AUTO_REUSE):
    logits = layers.dense(shared_features, len(real_classes), 'shared_head')
  labels = classes - real_classes.start
  return cross_entropy(logits, labels, label_smoothing), layers.accuracy(logits, labels)


def variation_terms(rows: Iterable[VariableUse], weight: float) -> list[tf.Tensor]:
  """Return terms that keep generated tensors small beside the trained ones that they are added to.

  There is one term weight * sum(generated^2) / (1e-8 + sum(trained^2)) for each generated tensor of
  the convolutions that is added to a trained variable. Logits layers are excluded. Each tensor
  counts once, however often it is used.

  Args:
    rows: What the custom getter gave to the CNN in both passes.
    weight: --weight_variation_regularization; there are no terms if it is 0.
  """
  if weight == 0:
    return []
  return [
    weight * _sum_of_squares(row.generated) / (EPSILON + _sum_of_squares(row.trained))
    for row in getter.distinct(rows)
    if row.source == getter.BOTH and not row.variable.startswith('logits/')
  ]


def l2_terms(rows: Iterable[VariableUse], weight: float) -> list[tf.Tensor]:
  """Return weight * sum(kernel^2) for each kernel of the CNN: generated, trained, or their sum.

  Each kernel counts once. A generated kernel counts as the support pass uses it (the first one in
  `rows`), even if the query pass adds its own trained variable to it.

  Args:
    rows: What the custom getter gave to the CNN, those of the support pass first.
    weight: --l2_reg_weight; there are no terms if it is 0.
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
