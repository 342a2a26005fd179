"""The training graph: episodes -> objective -> update, and what is measured beside it."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, pipeline, sequences
from hypertransformer.episodes.augmentation import AugmentationConfig
from hypertransformer.episodes.pipeline import Episode, EpisodeStream
from hypertransformer.episodes.sampling import ClassSet, EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.model import getter, sample_removal
from hypertransformer.model.getter import Row
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import (
  ContinualConfig,
  EpisodeConfig,
  LossConfig,
  ModelConfig,
  OptimizerConfig,
  require,
)
from hypertransformer.training import losses, optimizer, sequence_objective, task_objective
from hypertransformer.training.task_objective import Objective, RealClasses

TRAIN_STREAM, TEST_STREAM = 0, 1


@dataclasses.dataclass(frozen=True)
class Setup:
  """Everything a training graph is made from. test_set: the classes of the test episodes beside training.
  continual: if given, sequences of tasks like `episodes` are learned. episodes_per_step: the loss is their mean."""
  model: ModelConfig
  loss: LossConfig
  optimizer: OptimizerConfig
  episodes: EpisodeConfig
  train_set: ClassSet
  test_set: ClassSet
  train_augmentation: AugmentationConfig
  test_augmentation: AugmentationConfig
  image_size: int
  continual: ContinualConfig | None = None
  episodes_per_step: int = 1

  def __post_init__(self) -> None:
    require(self.episodes_per_step > 0, f'episodes_per_step is {self.episodes_per_step}; it must be positive.')
    require(self.episodes_per_step == 1 or self.continual is None,
            f'episodes_per_step={self.episodes_per_step} does not go with --continual_scenario: leave it at 1.')

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(S, S, C) as the model sees images. Raises InputError where train and test set differ in channels."""
    train, test = (data.arrays.image_shape[-1] for data in (self.train_set, self.test_set))
    if train != test:
      raise InputError(f'train_dataset {self.train_set.name!r} has {train} channels, test_dataset '
                       f'{self.test_set.name!r} has {test}: they must be the same.')
    return self.image_size, self.image_size, train


@dataclasses.dataclass(frozen=True)
class TrainGraph:
  """Ops of the training graph.

  step_done: runs one update and returns the number of updates then done. metrics: {TensorBoard tag: scalar}.
  test_metrics, weights: {tag: scalar}, {tag: generated tensor}, to be run with True fed to `testing`: then the episode
  is one of the test stream, without dropout and the like. streams: to be initialised with the number of their first
  episode.
  """
  step_done: tf.Tensor
  loss: tf.Tensor
  global_step: tf.Tensor
  metrics: dict[str, tf.Tensor]
  testing: tf.Tensor
  test_metrics: dict[str, tf.Tensor]
  weights: dict[str, tf.Tensor]
  rows: list[Row]
  train_stream: EpisodeStream
  test_stream: EpisodeStream | None


def check(setup: Setup, seed: int) -> tuple[EpisodeSampler, EpisodeSampler, HyperTransformer]:
  """Everything that can be refused before a graph is built. Raises InputError."""
  train, test = _sampler(setup, setup.train_set, seed, TRAIN_STREAM), _sampler(setup, setup.test_set, seed, TEST_STREAM)
  augmentation.check(setup.train_augmentation, setup.train_set.arrays.image_shape)
  augmentation.check(setup.test_augmentation, setup.test_set.arrays.image_shape)
  return train, test, HyperTransformer(setup.model, setup.image_shape)


def _sampler(setup: Setup, class_set: ClassSet, seed: int, stream: int) -> EpisodeSampler:
  episodes = setup.episodes
  if setup.continual is not None:
    sequences.require_classes(class_set, episodes, setup.continual, setup.continual.num_tasks)
    episodes = sequences.episode_config(episodes, setup.continual, setup.continual.num_tasks)
  return EpisodeSampler(class_set, episodes, seed, stream)


def build(setup: Setup, seed: int) -> TrainGraph:
  """Builds the training graph in the current default graph."""
  train_sampler, test_sampler, model = check(setup, seed)
  global_step = tf.train.get_or_create_global_step()
  testing = tf.placeholder_with_default(False, [], 'testing')
  train_stream = pipeline.stream(train_sampler, setup.train_augmentation, setup.image_size, 'train_episodes',
                                 setup.episodes_per_step)
  if setup.loss.pretrain_shared:
    test_stream, episode = None, train_stream.next()
  else:
    test_stream = pipeline.stream(test_sampler, setup.test_augmentation, setup.image_size, 'test_episodes',
                                  setup.episodes_per_step)
    episode = pipeline.either(testing, test_stream, train_stream)
  noise_on = 1.0 - tf.cast(testing, tf.float32)
  make = _of_one if setup.episodes_per_step == 1 else _of_several
  ours = make(setup, model, episode, global_step, noise_on)
  train_op, rate = optimizer.minimize(ours.loss, setup.optimizer, global_step)
  with tf.control_dependencies([train_op]):
    step_done = global_step.read_value()
  metrics = {**ours.metrics, 'learning_rate': rate}
  tests = {} if test_stream is None else {'accuracy/test_accuracy': metrics['accuracy/accuracy']}
  return TrainGraph(step_done, ours.loss, global_step, metrics, testing, tests, ours.weights, ours.rows,
                    train_stream, test_stream)


@dataclasses.dataclass(frozen=True)
class _Step:
  """What one step makes smaller, measures and shows: see TrainGraph."""
  loss: tf.Tensor
  metrics: dict[str, tf.Tensor]
  weights: dict[str, tf.Tensor]
  rows: list[Row]


def _of_one(setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise_on: tf.Tensor) -> _Step:
  noise = Noise(episode.seed, noise_on)
  if setup.continual is None:
    return _of_episode(setup, model, episode, step, noise)
  return _of_sequence(setup, setup.continual, model, episode, noise)


def _of_several(setup: Setup, model: HyperTransformer, episodes: Episode, step: tf.Tensor,
                noise_on: tf.Tensor) -> _Step:
  """All episodes of a step at once, in ops that have them as one more axis; means over them."""
  rows: list[Row] = []

  def one(tensors: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    ours = _of_one(setup, model, Episode(**tensors), step, noise_on)
    rows[:] = ours.rows
    return ours.loss, ours.metrics, ours.weights

  each = {field.name: getattr(episodes, field.name) for field in dataclasses.fields(Episode)}
  losses_, metrics, weights = tf.vectorized_map(one, each)
  means = {tag: tf.reduce_mean(values) for tag, values in metrics.items()}
  return _Step(tf.reduce_mean(losses_), means, weights, rows)


def _of_episode(setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise: Noise) -> _Step:
  ours = _objective(setup, model, episode, step, noise)
  return _Step(ours.loss, _metrics(setup, ours, episode), _generated(ours), ours.rows)


def _of_sequence(setup: Setup, config: ContinualConfig, model: HyperTransformer, episode: Episode,
                 noise: Noise) -> _Step:
  sequence = sequences.from_episode(episode, config, setup.model.num_labels, config.num_tasks)
  ours = sequence_objective.build(model, sequence, config, setup.loss, noise)
  return _Step(ours.loss, sequence_objective.metrics(ours), sequence_objective.weights_by_tag(model, ours), ours.outcome.rows)


def _real_classes(class_set: ClassSet) -> RealClasses:
  first, last = int(class_set.classes.min()), int(class_set.classes.max())
  return RealClasses(first, last - first + 1)


def _objective(setup: Setup, model: HyperTransformer, episode: Episode, step: tf.Tensor, noise: Noise) -> Objective:
  classes = _real_classes(setup.train_set)
  if setup.loss.pretrain_shared:
    return task_objective.build_pretraining(model, episode.support_images, episode.support_classes, classes, setup.loss,
                                       noise)
  mask = sample_removal.removal_mask(episode.support_labels, setup.model, noise)
  support = Support(episode.support_images, episode.support_labels, mask)
  # The real-class head exists wherever there are shared features, as in the original's checkpoints.
  head = (episode.support_classes, classes) if setup.model.features.has_shared else None
  return task_objective.build(model, support, episode.query_images, episode.query_labels, setup.loss, step, noise, head)


def _metrics(setup: Setup, ours: Objective, episode: Episode) -> dict[str, tf.Tensor]:
  """Scalars of a training step under the tags that people plot (golden/summary_tags.json)."""
  metrics = {}
  if ours.classified is not None:
    if ours.regularization is not None:
      metrics['loss/loss/regularization'] = ours.regularization
    metrics['loss/loss/ce'] = ours.ce
    metrics['accuracy/accuracy'] = losses.accuracy(ours.classified.logits, episode.query_labels)
    metrics['loss/loss'] = ours.loss
    metrics |= _head_metrics(ours, episode)
  if ours.shared_head is not None and losses.needs_shared_head(setup.loss):
    metrics['loss/shared_head_loss'] = ours.shared_head.loss
    metrics['accuracy/shared_head_accuracy'] = ours.shared_head.accuracy
    if not setup.loss.pretrain_shared:
      metrics['loss/weighted_shared_head_loss'] = setup.loss.shared_head_weight * ours.shared_head.loss
  return metrics


def _head_metrics(ours: Objective, episode: Episode) -> dict[str, tf.Tensor]:
  """Accuracies and weights of the warm-up heads."""
  if ours.classified is None or ours.warmup_weights is None:
    return {}
  names = [f'head-{number}' for number in range(1, len(ours.classified.head_logits) + 1)]
  metrics = {f'accuracy/{name}': losses.accuracy(logits, episode.query_labels)
             for name, logits in zip(names, ours.classified.head_logits, strict=True)}
  return metrics | {f'warmup_weights/{name}': weight
                    for name, weight in zip([*names, 'main'], ours.warmup_weights, strict=True)}


def _generated(ours: Objective) -> dict[str, tf.Tensor]:
  """The tensors generated for the episode, by tag."""
  return {f'generated_weights/{row.layer}/{row.variable}': row.generated
          for row in getter.distinct(ours.rows) if row.generated is not None}
