"""From an episode to the number that training makes smaller.

See docs/spec/model.md, section 1.
"""

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
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import LossConfig
from hypertransformer.training import losses, regularization


@dataclasses.dataclass(frozen=True)
class RealClasses:
  """The range of real classes that the real-class head predicts.

  Attributes:
    first: the smallest number of a class in the dataset.
    count: how many numbers there are from there on.
  """

  first: int
  count: int


@dataclasses.dataclass(frozen=True)
class Objective:
  """The loss on an episode and its parts. What does not exist is None or empty.

  Attributes:
    loss: what training makes smaller, a scalar, as are the following ones.
    ce: the cross-entropy of the queries, or the mix of it with those of the warm-up heads.
    terms: the cross-entropies that are mixed, those of the heads first, that of the final logits
      last.
    warmup_weights: their weights in the mix; None without heads.
    variation_terms: the terms of the regularisation of generated beside trained tensors.
    l2_terms: the terms of the L2 regularisation.
    shared_head: what the real-class head gives.
    weights: the CNN that was generated.
    classified: its outputs for the query images.
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
    """The sum of all terms of regularisation, None if there are none."""
    terms = self.variation_terms + self.l2_terms
    return tf.add_n(terms) if terms else None

  @property
  def rows(self) -> list[Row]:
    """What the custom getter has given to the CNN, that of the support pass first."""
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
  """Builds the loss on one episode.

  Args:
    model: generates the CNN and runs it.
    support: the support set.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq].
    config: the parts of the loss and their weights.
    step: the number of updates done, an int, for the weights of the warm-up heads.
    noise: makes dropout; None turns it off.
    head: the real classes of the support images, int [Ns], and their range, if the real-class head
      is wanted. It is built only if there are shared features.
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
  """Builds the loss that pre-trains the shared features: that of the real-class head alone.

  No CNN is generated.

  Args:
    model: has the shared features.
    support_images: [Ns, H, W, C].
    real_classes: the numbers of their classes in the dataset, int [Ns].
    classes: the range of these numbers.
    config: the label smoothing.
    noise: makes dropout; None turns it off.
  """
  shared = model.shared_features(support_images, noise)
  assert shared is not None, 'checked with the flags'
  head = losses.shared_head(
    shared, real_classes, classes.first, classes.count, config.label_smoothing
  )
  return Objective(head.loss, shared_head=head)
