"""The loss on a sequence of tasks, and what is measured of it (spec/continual.md)."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes.sequences import Sequence
from hypertransformer.model import accuracy, continual, prototypes
from hypertransformer.model.continual import Outcome
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.noise import Noise
from hypertransformer.settings.config import ContinualConfig, LossConfig
from hypertransformer.training import losses


@dataclasses.dataclass(frozen=True)
class ContinualObjective:
  """loss []: J. accuracy []: the mean over the (t, tau) of J. accuracy_after: of these the mean
  over tau after task t = 1, 2, ...
  """

  loss: tf.Tensor
  accuracy: tf.Tensor
  accuracy_after: dict[int, tf.Tensor]
  outcome: Outcome


def build(
  model: HyperTransformer,
  sequence: Sequence,
  config: ContinualConfig,
  loss: LossConfig,
  noise: Noise | None = None,
) -> ContinualObjective:
  """J: the mean over (t, tau), or those of the last t only, of the cross-entropy of task tau's
  queries after task t.
  """
  outcome = continual.learn_sequence(
    model, sequence, config, noise, last_only=config.loss_terms == 'last'
  )
  ce = losses.cross_entropy(
    outcome.logits, outcome.labels, loss.label_smoothing, prototypes.UNKNOWN
  )
  hits = tf.reduce_mean(accuracy.hits(outcome.logits, outcome.labels), axis=1)
  first, last = outcome.pairs[0][0], outcome.pairs[-1][0]  # t from 0
  means = tf.math.unsorted_segment_mean(
    hits, np.array([t - first for t, _ in outcome.pairs]), last + 1 - first
  )
  accuracy_after = dict(enumerate(tf.unstack(means), start=first + 1))
  return ContinualObjective(ce, tf.reduce_mean(hits), accuracy_after, outcome)


def metrics(ours: ContinualObjective) -> dict[str, tf.Tensor]:
  """Scalars of a training step: the ordinary ones, and the accuracy after each task that J counts."""
  after = {f'accuracy/after_{number}': value for number, value in ours.accuracy_after.items()}
  return {
    'loss/loss/ce': ours.loss,
    'loss/loss': ours.loss,
    'accuracy/accuracy': ours.accuracy,
    **after,
  }


def weights_by_tag(model: HyperTransformer, ours: ContinualObjective) -> dict[str, tf.Tensor]:
  """The generated tensors (trained parts included) after the last task, by tag."""
  return {
    f'generated_weights/{plan.name}/{variable}': plan.layout.unpack(
      variable, ours.outcome.weights[plan.name][-1]
    )
    for plan in model.plans
    if plan.layout is not None and plan.name in ours.outcome.weights
    for variable in plan.layout.shapes
  }
