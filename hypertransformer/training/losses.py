"""Parts of the training loss: cross-entropy, warm-up heads and the real-class head.

See docs/spec/model.md, sections 1 and 5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow.compat.v1 as tf

from hypertransformer.model import layers
from hypertransformer.model.layers import accuracy
from hypertransformer.settings.config import LossConfig


@dataclasses.dataclass(frozen=True)
class SharedHead:
  """What the real-class head gives on the shared features of the support images.

  Attributes:
    loss: its cross-entropy, a scalar.
    accuracy: how many support images it classifies right, a scalar in 0..1.
  """

  loss: tf.Tensor
  accuracy: tf.Tensor


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0, unknown: float | None = None
) -> tf.Tensor:
  """The mean cross-entropy of a softmax of logits, against smoothed labels.

  Args:
    logits: float [..., number of classes].
    labels: the right classes, int [...].
    label_smoothing: this part of each target is spread over all classes.
    unknown: the value of logits of classes that are not learned yet, if there can be such classes.
      Nothing of the targets is spread over them.

  Returns:
    A scalar.
  """
  num_classes = logits.shape[-1]
  smoothed = label_smoothing / num_classes
  if unknown is not None and label_smoothing > 0:
    known = tf.cast(tf.not_equal(logits, unknown), tf.float32)
    smoothed = label_smoothing * known / tf.reduce_sum(known, -1, keepdims=True)
  targets = tf.one_hot(labels, num_classes) * (1.0 - label_smoothing) + smoothed
  return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(targets, logits))


def warmup_weights(step: tf.Tensor, warmup_steps: int, num_heads: int) -> list[tf.Tensor]:
  """The weights of the cross-entropies of the warm-up heads and of the final logits at a step.

  With n heads there are n stages of S = warmup_steps / n steps. Head i, counted from 0, has the
  weight max(0, 1 - |step - i * S| / S). The weight of the final logits grows from 0 to 1 during the
  last stage and then stays 1.

  Args:
    step: the number of updates done.
    warmup_steps: after so many steps only the final logits count.
    num_heads: n.

  Returns:
    Scalars for the heads, from the first layer on, and one for the final logits.
  """
  stage = warmup_steps / num_heads
  position = tf.cast(step, tf.float32) / stage
  ramps = [tf.maximum(0.0, 1.0 - tf.abs(position - i)) for i in range(num_heads)]
  return [*ramps, tf.clip_by_value(position - (num_heads - 1), 0.0, 1.0)]


def weighted_cross_entropy(
  terms: Sequence[tf.Tensor], weights: Sequence[tf.Tensor] | None
) -> tf.Tensor:
  """Mixes the cross-entropies of the warm-up heads and of the final logits.

  Args:
    terms: the cross-entropies, that of the final logits last.
    weights: their weights in this order. None: only that of the final logits counts.
  """
  if weights is None:
    return terms[-1]
  return tf.add_n([weight * term for weight, term in zip(weights, terms, strict=True)])


def shared_head(
  shared_features: tf.Tensor,
  real_classes: tf.Tensor,
  first_class: int,
  num_classes: int,
  label_smoothing: float = 0.0,
) -> SharedHead:
  """Builds the real-class head, which predicts real classes from the shared features.

  All calls share the variables `loss/shared_head`.

  Args:
    shared_features: float [Ns, number of shared features].
    real_classes: the numbers of the support images' classes in the dataset, int [Ns].
    first_class: the smallest number that there can be.
    num_classes: how many numbers there are from there on, all of which can be predicted.
    label_smoothing: as for `cross_entropy`.
  """
  with tf.variable_scope('loss', reuse=tf.AUTO_REUSE):
    logits = layers.dense(shared_features, num_classes, 'shared_head')
  labels = real_classes - first_class
  return SharedHead(cross_entropy(logits, labels, label_smoothing), accuracy(logits, labels))


def needs_shared_head(config: LossConfig) -> bool:
  """Whether the real-class head has a part in the loss."""
  return config.pretrain_shared or config.shared_head_weight > 0
