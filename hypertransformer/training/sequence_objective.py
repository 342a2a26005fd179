"""The loss on a sequence of tasks, and what is measured beside it.

See docs/spec/continual.md, section 1. t is the number of tasks learned so far, and tau <= t the
task whose queries are asked.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import continual, layers
from hypertransformer.model.continual import Outcome, TaskSequence
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import ContinualConfig, LossConfig
from hypertransformer.training import losses


@dataclasses.dataclass(frozen=True)
class ContinualObjective:
  """The loss J of a sequence of tasks, and the accuracies on its queries.

  Attributes:
    loss: J, a scalar: the mean of the cross-entropies of all pairs (t, tau) that count.
    accuracy: the mean of the accuracies of the same pairs, a scalar.
    accuracy_after: the mean of the accuracies after task t, scalars by t, counted from 1. If only
      the last task counts in J, that is the only t.
    outcome: what the sequence has led to.
  """

  loss: tf.Tensor
  accuracy: tf.Tensor
  accuracy_after: dict[int, tf.Tensor]
  outcome: Outcome


def build(
  model: HyperTransformer,
  sequence: TaskSequence,
  config: ContinualConfig,
  loss: LossConfig,
  noise: Noise | None = None,
) -> ContinualObjective:
  """Builds the learning of a sequence and its loss J.

  J is the mean over the pairs (t, tau) of the cross-entropy of the queries of task tau after task
  t. Either all pairs count, or only those after the last task.

  Args:
    model: the model.
    sequence: the tasks.
    config: the scenario and the method; its loss_terms say which pairs count.
    loss: the label smoothing.
    noise: makes dropout in training; None turns it off.
  """
  outcome = continual.learn_sequence(
    model, sequence, config, noise, last_only=config.loss_terms == 'last'
  )
  ce = losses.cross_entropy(outcome.logits, outcome.labels, loss.label_smoothing, continual.UNKNOWN)
  hits = tf.reduce_mean(layers.hits(outcome.logits, outcome.labels), axis=1)
  first, last = outcome.pairs[0][0], outcome.pairs[-1][0]  # the first and the last t, from 0
  means = tf.math.unsorted_segment_mean(
    hits, np.array([t - first for t, _ in outcome.pairs]), last + 1 - first
  )
  accuracy_after = dict(enumerate(tf.unstack(means), start=first + 1))
  return ContinualObjective(ce, tf.reduce_mean(hits), accuracy_after, outcome)


def metrics(ours: ContinualObjective) -> dict[str, tf.Tensor]:
  """The scalars of a training step, by TensorBoard tag.

  They are those of single tasks, and the accuracy after each task that counts in the loss.
  """
  after = {f'accuracy/after_{number}': value for number, value in ours.accuracy_after.items()}
  return {
    'loss/loss/ce': ours.loss,
    'loss/loss': ours.loss,
    'accuracy/accuracy': ours.accuracy,
    **after,
  }


def weights_by_tag(model: HyperTransformer, ours: ContinualObjective) -> dict[str, tf.Tensor]:
  """The generated tensors after the last task, with their trained parts, by TensorBoard tag."""
  return {
    f'generated_weights/{plan.name}/{variable}': plan.layout.unpack(
      variable, ours.outcome.weights[plan.name][-1]
    )
    for plan in model.plans
    if plan.layout is not None and plan.name in ours.outcome.weights
    for variable in plan.layout.shapes
  }
