"""The training objective: what one step minimizes and measures on its episode or sequence.

An episode is a single task, or a sequence of tasks if the settings have a continual scenario. Both
become an `Objective`. See docs/spec/model.md, section 1, and docs/spec/continual.md, section 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import sequences
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.model import continual, generator, getter, layers, shown
from hypertransformer.model.continual import TaskSequence
from hypertransformer.model.getter import VariableUse
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.layers import Noise
from hypertransformer.model.shown import Shown
from hypertransformer.settings.config import ContinualConfig, LossConfig, Settings
from hypertransformer.training import losses


@dataclasses.dataclass(frozen=True)
class Objective:
  """What a training step minimizes and measures.

  Attributes:
    loss: The training loss, a scalar.
    metrics: The measured scalars by TensorBoard tag.
    weights: The generated tensors by TensorBoard tag.
    rows: Which variables of the CNN are generated and which are trained.
    shown: The tensors that figures are made of; empty in pre-training.
  """

  loss: tf.Tensor
  metrics: dict[str, tf.Tensor]
  weights: dict[str, tf.Tensor]
  rows: Sequence[VariableUse]
  shown: Shown


def of_episode(
  settings: Settings,
  model: HyperTransformer,
  episode: Episode,
  real_classes: range,
  step: tf.Tensor,
  noise_on: tf.Tensor,
) -> Objective:
  """Build the objective on one episode.

  Args:
    settings: The settings of the run.
    model: The model.
    episode: A task, or a sequence of tasks with a continual scenario.
    real_classes: The classes of the dataset that the real-class head distinguishes.
    step: The number of updates done, a scalar.
    noise_on: A scalar, 1 to apply dropout and other noise, 0 to turn them off.
  """
  noise = Noise(episode.seed, noise_on)
  if settings.continual is not None:
    return of_sequence(settings.loss, settings.continual, model, episode, noise)
  if settings.loss.pretrain_shared:
    return of_pretraining(settings.loss, model, episode, real_classes, noise)
  return of_task(settings.loss, model, episode, real_classes, step, noise)


def of_episodes(
  settings: Settings,
  model: HyperTransformer,
  episodes: Episode,
  real_classes: range,
  step: tf.Tensor,
  noise_on: tf.Tensor,
) -> Objective:
  """Build the objective on several episodes, whose tensors have one more axis in front.

  All are computed at once. Loss and metrics are means over the episodes, generated tensors keep the
  axis, and the first episode is shown. For the arguments see `of_episode`.
  """
  traced: list[Objective] = []  # the trace of one episode; only names and shapes may be used

  def one(tensors: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict, dict, Shown]:
    ours = of_episode(settings, model, Episode(**tensors), real_classes, step, noise_on)
    traced.append(ours)
    return ours.loss, ours.metrics, ours.weights, ours.shown

  loss, metrics, weights, each_shown = tf.vectorized_map(one, episodes._asdict())
  return Objective(
    loss=tf.reduce_mean(loss),
    metrics={tag: tf.reduce_mean(values) for tag, values in metrics.items()},
    weights=weights,
    rows=traced[-1].rows,
    shown=tf.nest.map_structure(lambda x: x[0], each_shown),
  )


def of_task(
  config: LossConfig,
  model: HyperTransformer,
  episode: Episode,
  real_classes: range,
  step: tf.Tensor,
  noise: Noise,
) -> Objective:
  """Build the objective on a single task; for the arguments see `of_episode`."""
  mask = generator.removal_mask(episode.support_labels, model.config, noise)
  weights = model.generate(Support(episode.support_images, episode.support_labels, mask), noise)
  classified = model.classify(episode.query_images, weights, noise)
  rows = (*weights.uses, *classified.uses)
  head_loss = None
  if weights.shared_features is not None:
    # The head exists wherever there are shared features, as in the original's checkpoints.
    head_loss, head_accuracy = losses.real_class_head(
      weights.shared_features, episode.support_classes, real_classes, config.label_smoothing
    )
  heads, labels = classified.head_logits, episode.query_labels
  terms = losses.task_loss(config, classified.logits, heads, labels, rows, step, head_loss)
  metrics = {**terms.metrics(), 'accuracy/accuracy': layers.accuracy(classified.logits, labels)}
  if terms.real_classes is not None:
    metrics['loss/shared_head_loss'] = head_loss
    metrics['accuracy/shared_head_accuracy'] = head_accuracy
  names = [f'head-{number}' for number in range(1, len(heads) + 1)]
  for name, logits in zip(names, heads, strict=True):
    metrics[f'accuracy/{name}'] = layers.accuracy(logits, labels)
  if terms.warmup is not None:
    for name, weight in zip([*names, 'main'], terms.warmup, strict=True):
      metrics[f'warmup_weights/{name}'] = weight
  return Objective(
    loss=metrics['loss/loss'],
    metrics=metrics,
    weights={
      f'generated_weights/{row.layer}/{row.variable}': row.generated
      for row in getter.distinct(rows)
      if row.generated is not None
    },
    rows=rows,
    shown=shown.of_task(
      model,
      Support(episode.support_images, episode.support_labels),
      episode.query_images,
      episode.query_labels,
      weights,
      classified.logits,
    ),
  )


def of_pretraining(
  config: LossConfig, model: HyperTransformer, episode: Episode, real_classes: range, noise: Noise
) -> Objective:
  """Build the objective that pre-trains the shared features; no CNN is generated."""
  features = model.shared_features(episode.support_images, noise)
  assert features is not None, 'checked with the flags'
  loss, hits = losses.real_class_head(
    features, episode.support_classes, real_classes, config.label_smoothing
  )
  metrics = {'loss/shared_head_loss': loss, 'accuracy/shared_head_accuracy': hits}
  return Objective(loss, metrics, weights={}, rows=[], shown={})


def of_sequence(
  loss: LossConfig, config: ContinualConfig, model: HyperTransformer, episode: Episode, noise: Noise
) -> Objective:
  """Build the objective J on a sequence of tasks.

  J is the mean over the pairs (t, tau) of the cross-entropy of the queries of task tau after task
  t. Either all pairs count, or only those after the last task.
  """
  sequence = TaskSequence(
    *sequences.from_episode(episode, config, model.config.num_labels, config.train_length)
  )
  outcome = continual.learn_sequence(
    model, sequence, config, noise, last_only=config.loss_terms == 'last'
  )
  ce = losses.cross_entropy(outcome.logits, outcome.labels, loss.label_smoothing, continual.UNKNOWN)
  hits = tf.reduce_mean(layers.hits(outcome.logits, outcome.labels), axis=1)
  first, last = outcome.pairs[0][0], outcome.pairs[-1][0]  # the first and the last t, from 0
  after = tf.math.unsorted_segment_mean(
    hits, np.array([t - first for t, _ in outcome.pairs]), last + 1 - first
  )
  return Objective(
    loss=ce,
    metrics={
      'loss/loss/ce': ce,
      'loss/loss': ce,
      'accuracy/accuracy': tf.reduce_mean(hits),
      **{
        f'accuracy/after_{t}': value for t, value in enumerate(tf.unstack(after), start=first + 1)
      },
    },
    weights={  # those after the last task, with their trained parts
      f'generated_weights/{plan.name}/{variable}': plan.layout.unpack(
        variable, outcome.weights[plan.name][-1]
      )
      for plan in model.plans
      if plan.layout is not None and plan.name in outcome.weights
      for variable in plan.layout.shapes
    },
    rows=outcome.uses,
    shown=shown.of_sequence(model, sequence, outcome, config),
  )
