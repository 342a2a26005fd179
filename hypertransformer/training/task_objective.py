"""From an episode to the number that training makes smaller: the graph of spec/model.md section 1."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.model.getter import Row
from hypertransformer.model.hypertransformer import (
  Classified,
  CnnWeights,
  HyperTransformer,
  Support,
)
from hypertransformer.model.noise import Noise
from hypertransformer.settings.config import LossConfig
from hypertransformer.training import losses, regularization


@dataclasses.dataclass(frozen=True)
class RealClasses:
  """The range of real classes that the shared head predicts: first .. first + count - 1."""

  first: int
  count: int


@dataclasses.dataclass(frozen=True)
class Objective:
  """The loss and its parts. All scalars unless noted; None where a part does not exist.

  terms: cross-entropies [head 1, ..., final]; warmup_weights: their weights.
  """

  loss: tf.Tensor
  ce: tf.Tensor | None = None
  terms: list[tf.Tensor] = dataclasses.field(default_factory=list)
  warmup_weights: list[tf.Tensor] | None = None
  variation_terms: list[tf.Tensor] = dataclasses.field(default_factory=list)
  l2_terms: list[tf.Tensor] = dataclasses.field(default_factory=list)
  shared_head: losses.SharedHead | None = None
  weights: CnnWeights | None = None
  classified: Classified | None = None

  @property
  def regularization(self) -> tf.Tensor | None:
    terms = self.variation_terms + self.l2_terms
    return tf.add_n(terms) if terms else None

  @property
  def rows(self) -> list[Row]:
    """What the custom getter gave, support pass first."""
    if self.weights is None or self.classified is None:
      return []
    return self.weights.rows + self.classified.rows


def build(
  model: HyperTransformer,
  support: Support,
  query_images: tf.Tensor,
  query_labels: tf.Tensor,
  config: LossConfig,
  step: tf.Tensor,
  noise: Noise | None = None,
  head: tuple[tf.Tensor, RealClasses] | None = None,
) -> Objective:
  """The objective on one episode.

  query_images [Nq, H, W, C], query_labels int [Nq]; step: int, for the warm-up heads; noise: None
  turns all dropout off; head: (real classes int [Ns] of the support samples, their range), if the
  real-class head is wanted.
  """
  weights = model.generate(support, noise)
  classified = model.classify(query_images, weights, noise)
  shared = None
  if head is not None and weights.shared_features is not None:
    shared = losses.shared_head(
      weights.shared_features, head[0], head[1].first, head[1].count, config.label_smoothing
    )
  terms = [
    losses.cross_entropy(logits, query_labels, config.label_smoothing)
    for logits in (*classified.head_logits, classified.logits)
  ]
  mix = None
  if classified.head_logits:
    mix = losses.warmup_weights(step, config.warmup_steps, len(classified.head_logits))
  rows = weights.rows + classified.rows
  variation = regularization.variation_terms(rows, config.variation_weight)
  l2 = regularization.l2_terms(rows, config.l2_weight)
  ce = losses.weighted_cross_entropy(terms, mix)
  total = tf.add_n([ce, *variation, *l2])
  if shared is not None and config.shared_head_weight > 0:
    total += config.shared_head_weight * shared.loss
  return Objective(total, ce, terms, mix, variation, l2, shared, weights, classified)


def build_pretraining(
  model: HyperTransformer,
  support_images: tf.Tensor,
  real_classes: tf.Tensor,
  classes: RealClasses,
  config: LossConfig,
  noise: Noise | None = None,
) -> Objective:
  """Pre-training of the shared feature extractor: the real-class head alone, no CNN is generated."""
  shared = model.shared_features(support_images, noise)
  assert shared is not None, 'checked with the flags'
  head = losses.shared_head(
    shared, real_classes, classes.first, classes.count, config.label_smoothing
  )
  return Objective(head.loss, shared_head=head)
