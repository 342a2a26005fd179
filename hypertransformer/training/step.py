"""What one training step computes from its episode: loss, metrics and generated tensors."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassSet
from hypertransformer.episodes import sequences
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.model import generator, getter, layers, shown
from hypertransformer.model.continual import TaskSequence
from hypertransformer.model.getter import Row
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.layers import Noise
from hypertransformer.model.shown import Shown
from hypertransformer.settings.config import ContinualConfig
from hypertransformer.training import losses, sequence_objective, task_objective
from hypertransformer.training.setup import Setup
from hypertransformer.training.task_objective import Objective, RealClasses


@dataclasses.dataclass(frozen=True)
class Step:
  """What is computed in one training step.

  Attributes:
    loss: what the step makes smaller, a scalar.
    metrics: the scalars that are measured, by TensorBoard tag.
    weights: the generated tensors, by TensorBoard tag.
    rows: which variables of the CNN are generated and which are trained.
    shown: what people are shown of the episode, of several episodes the first one; empty in
      pre-training.
  """

  loss: tf.Tensor
  metrics: dict[str, tf.Tensor]
  weights: dict[str, tf.Tensor]
  rows: list[Row]
  shown: Shown


def of_one_episode(
  setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise_on: tf.Tensor
) -> Step:
  """Builds a step on one episode.

  Args:
    setup: what the graph is made from.
    model: the model.
    episode: the episode; if sequences are learned, a whole sequence.
    step: the number of updates done.
    noise_on: a scalar, 1 where there is dropout and other noise, 0 where there is none.
  """
  noise = Noise(episode.seed, noise_on)
  if setup.continual is None:
    return _of_episode(setup, model, episode, step, noise)
  return _of_sequence(setup, setup.continual, model, episode, noise)


def of_several_episodes(
  setup: Setup, model: HyperTransformer, episodes: Episode, step: tf.Tensor, noise_on: tf.Tensor
) -> Step:
  """Builds a step on several episodes, whose tensors have one more axis in front.

  All are computed at once. Loss and metrics are means over the episodes; generated tensors keep the
  axis, and the first episode is shown. For the arguments see `of_one_episode`.
  """
  rows: list[Row] = []

  def one(
    tensors: dict[str, tf.Tensor],
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor], Shown]:
    ours = of_one_episode(setup, model, Episode(**tensors), step, noise_on)
    rows[:] = ours.rows
    return ours.loss, ours.metrics, ours.weights, ours.shown

  each = {field.name: getattr(episodes, field.name) for field in dataclasses.fields(Episode)}
  losses_, metrics, weights, each_shown = tf.vectorized_map(one, each)
  means = {tag: tf.reduce_mean(values) for tag, values in metrics.items()}
  first = tf.nest.map_structure(lambda x: x[0], each_shown)
  return Step(tf.reduce_mean(losses_), means, weights, rows, first)


def _of_episode(
  setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise: Noise
) -> Step:
  ours = _objective(setup, model, episode, step, noise)
  return Step(
    ours.loss,
    _metrics(setup, ours, episode),
    _generated(ours),
    ours.rows,
    _shown(model, ours, episode),
  )


def _of_sequence(
  setup: Setup, config: ContinualConfig, model: HyperTransformer, episode: Episode, noise: Noise
) -> Step:
  sequence = TaskSequence(
    *sequences.from_episode(episode, config, setup.model.num_labels, config.train_length)
  )
  ours = sequence_objective.build(model, sequence, config, setup.loss, noise)
  return Step(
    ours.loss,
    sequence_objective.metrics(ours),
    sequence_objective.weights_by_tag(model, ours),
    ours.outcome.rows,
    shown.of_sequence(model, sequence, ours.outcome, config),
  )


def _real_classes(class_set: ClassSet) -> RealClasses:
  """The range of the numbers of these classes in their dataset."""
  first, last = int(class_set.classes.min()), int(class_set.classes.max())
  return RealClasses(first, last - first + 1)


def _objective(
  setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise: Noise
) -> Objective:
  classes = _real_classes(setup.train_set)
  if setup.loss.pretrain_shared:
    return task_objective.build_pretraining(
      model, episode.support_images, episode.support_classes, classes, setup.loss, noise
    )
  mask = generator.removal_mask(episode.support_labels, setup.model, noise)
  support = Support(episode.support_images, episode.support_labels, mask)
  # The real-class head exists wherever there are shared features, as in the original's checkpoints.
  head = (episode.support_classes, classes) if setup.model.features.has_shared else None
  return task_objective.build(
    model, support, episode.query_images, episode.query_labels, setup.loss, step, noise, head
  )


def _metrics(setup: Setup, ours: Objective, episode: Episode) -> dict[str, tf.Tensor]:
  """The scalars of a training step, by the TensorBoard tags of the original.

  See docs/spec/model.md, section 7.
  """
  metrics = {}
  if ours.classified is not None:
    if ours.regularization is not None:
      metrics['loss/loss/regularization'] = ours.regularization
    metrics['loss/loss/ce'] = ours.ce
    metrics['accuracy/accuracy'] = layers.accuracy(ours.classified.logits, episode.query_labels)
    metrics['loss/loss'] = ours.loss
    metrics |= _head_metrics(ours, episode)
  if ours.shared_head is not None and losses.needs_shared_head(setup.loss):
    metrics['loss/shared_head_loss'] = ours.shared_head.loss
    metrics['accuracy/shared_head_accuracy'] = ours.shared_head.accuracy
    if not setup.loss.pretrain_shared:
      metrics['loss/weighted_shared_head_loss'] = (
        setup.loss.shared_head_weight * ours.shared_head.loss
      )
  return metrics


def _head_metrics(ours: Objective, episode: Episode) -> dict[str, tf.Tensor]:
  """The accuracies of the warm-up heads and their weights in the loss, by TensorBoard tag."""
  if ours.classified is None or ours.warmup_weights is None:
    return {}
  names = [f'head-{number}' for number in range(1, len(ours.classified.head_logits) + 1)]
  metrics = {
    f'accuracy/{name}': layers.accuracy(logits, episode.query_labels)
    for name, logits in zip(names, ours.classified.head_logits, strict=True)
  }
  return metrics | {
    f'warmup_weights/{name}': weight
    for name, weight in zip([*names, 'main'], ours.warmup_weights, strict=True)
  }


def _generated(ours: Objective) -> dict[str, tf.Tensor]:
  """The tensors that were generated for the episode, by TensorBoard tag."""
  return {
    f'generated_weights/{row.layer}/{row.variable}': row.generated
    for row in getter.distinct(ours.rows)
    if row.generated is not None
  }


def _shown(model: HyperTransformer, ours: Objective, episode: Episode) -> Shown:
  """What is shown of a single task; nothing in pre-training."""
  if ours.weights is None or ours.classified is None:
    return {}
  return shown.of_task(
    model,
    Support(episode.support_images, episode.support_labels),
    episode.query_images,
    episode.query_labels,
    ours.weights,
    ours.classified.logits,
  )
