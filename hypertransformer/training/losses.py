"""The training loss: cross-entropy, warm-up heads, the real-class head (spec/model.md sections 1
and 5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow.compat.v1 as tf

from hypertransformer.model import layers
from hypertransformer.model.accuracy import accuracy
from hypertransformer.settings.config import LossConfig


@dataclasses.dataclass(frozen=True)
class SharedHead:
  """The real-class head on the shared features: loss [] and accuracy [] over the support samples."""

  loss: tf.Tensor
  accuracy: tf.Tensor


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0, unknown: float | None = None
) -> tf.Tensor:
  """logits [..., K], labels int [...] -> mean softmax cross-entropy [] against smoothed one-hot
  labels.

  unknown: the logit of classes that are not known (yet); they have no part in the smoothing.
  """
  classes = logits.shape[-1]
  smoothed = label_smoothing / classes
  if unknown is not None and label_smoothing > 0:
    known = tf.cast(tf.not_equal(logits, unknown), tf.float32)
    smoothed = label_smoothing * known / tf.reduce_sum(known, -1, keepdims=True)
  targets = tf.one_hot(labels, classes) * (1.0 - label_smoothing) + smoothed
  return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(targets, logits))


def learning_rate(base: float, decay_steps: float, decay_rate: float, step: tf.Tensor) -> tf.Tensor:
  """base * decay_rate ** (step / decay_steps), not in stairs."""
  return tf.train.exponential_decay(base, step, decay_steps, decay_rate)


def warmup_weights(step: tf.Tensor, warmup_steps: int, num_heads: int) -> list[tf.Tensor]:
  """Weights [head 1, ..., head n, final logits] of the cross-entropies at this step.

  Head i has max(0, 1 - |step - i S| / S), i from 0, S = warmup_steps / n; the true loss grows over
  the last stage and then stays 1.
  """
  stage = warmup_steps / num_heads
  position = tf.cast(step, tf.float32) / stage
  ramps = [tf.maximum(0.0, 1.0 - tf.abs(position - i)) for i in range(num_heads)]
  return [*ramps, tf.clip_by_value(position - (num_heads - 1), 0.0, 1.0)]


def weighted_cross_entropy(
  terms: Sequence[tf.Tensor], weights: Sequence[tf.Tensor] | None
) -> tf.Tensor:
  """The mix of the cross-entropies [head 1, ..., final]; without heads the final one itself."""
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
  """shared_features [Ns, dim], real_classes int [Ns] in first_class .. first_class + num_classes -
  1.
  """
  with tf.variable_scope('loss', reuse=tf.AUTO_REUSE):
    logits = layers.dense(shared_features, num_classes, 'shared_head')
  labels = real_classes - first_class
  return SharedHead(cross_entropy(logits, labels, label_smoothing), accuracy(logits, labels))


def needs_shared_head(config: LossConfig) -> bool:
  return config.pretrain_shared or config.shared_head_weight > 0
