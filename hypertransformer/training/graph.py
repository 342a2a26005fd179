"""The training graph: from episodes to the loss, to the update, and what is measured beside it."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import pipeline
from hypertransformer.episodes.pipeline import EpisodeStream
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.model.getter import Row
from hypertransformer.model.shown import Shown
from hypertransformer.training import optimizer, replicas, towers
from hypertransformer.training.optimizer import Gradients
from hypertransformer.training.setup import Setup, check
from hypertransformer.training.step import of_one_episode, of_several_episodes
from hypertransformer.training.towers import Tower


@dataclasses.dataclass(frozen=True)
class TrainGraph:
  """The tensors of the training graph that the training loop runs.

  Attributes:
    step_done: running it makes one update; its value is the number of updates then done.
    loss: what the update makes smaller, a scalar.
    global_step: the number of updates done.
    metrics: the scalars that are measured in a training step, by TensorBoard tag.
    testing: a placeholder, usually False. If True is fed, the episode comes from the test stream,
      and there is no dropout or other noise.
    test_metrics: scalars by TensorBoard tag, to be run with True fed to `testing`; empty if there
      is no test stream.
    weights: the generated tensors by TensorBoard tag, to be run in the same way.
    shown: what people are shown of the episode, to be run in the same way; empty in pre-training.
    gradients: those of the loss, before they are clipped.
    rows: which variables of the CNN are generated and which are trained.
    train_stream: the training episodes. It must be initialised with the number of the first one.
    test_stream: the test episodes, likewise; None in pre-training.
    sync: the update rule, if several workers make each update together.
  """

  step_done: tf.Tensor
  loss: tf.Tensor
  global_step: tf.Tensor
  metrics: dict[str, tf.Tensor]
  testing: tf.Tensor
  test_metrics: dict[str, tf.Tensor]
  weights: dict[str, tf.Tensor]
  shown: Shown
  gradients: Gradients
  rows: list[Row]
  train_stream: EpisodeStream
  test_stream: EpisodeStream | None
  sync: tf.train.SyncReplicasOptimizer | None = None


def build(setup: Setup, seed: int) -> TrainGraph:
  """Builds the training graph in the current default graph.

  Args:
    setup: what the graph is made from.
    seed: makes the episodes and all noise: the same seed gives the same ones.

  Raises:
    InputError: data, model and sizes do not go together.
  """
  train_sampler, test_sampler, model = check(setup, seed)
  global_step = tf.train.get_or_create_global_step()
  testing = tf.placeholder_with_default(False, [], 'testing')
  train_stream, test_stream = _streams(setup, train_sampler, test_sampler)
  episode = (
    train_stream.next()
    if test_stream is None
    else pipeline.either(testing, test_stream, train_stream)
  )
  noise_on = 1.0 - tf.cast(testing, tf.float32)
  parts: list[Tower] = []
  if setup.devices:
    parts = towers.build(setup, model, episode, global_step, noise_on)
    ours = towers.together(parts)
  else:
    make = of_one_episode if setup.episodes_per_step == 1 else of_several_episodes
    ours = make(setup, model, episode, global_step, noise_on)
  rule, rate = optimizer.make(setup.optimizer, global_step)
  found = towers.gradients(rule, parts) if parts else optimizer.gradients(rule, ours.loss)
  train_op, sync = _update(setup, rule, found, global_step)
  with tf.control_dependencies([train_op]):
    step_done = global_step.read_value()
  metrics = {**ours.metrics, 'learning_rate': rate}
  tests = {} if test_stream is None else {'accuracy/test_accuracy': metrics['accuracy/accuracy']}
  return TrainGraph(
    step_done,
    ours.loss,
    global_step,
    metrics,
    testing,
    tests,
    ours.weights,
    ours.shown,
    found,
    ours.rows,
    train_stream,
    test_stream,
    sync,
  )


def _streams(
  setup: Setup, train_sampler: EpisodeSampler, test_sampler: EpisodeSampler
) -> tuple[EpisodeStream, EpisodeStream | None]:
  """The training episodes and the test episodes, of which there are none in pre-training."""
  train_stream = pipeline.stream(
    train_sampler,
    setup.train_augmentation,
    setup.image_size,
    'train_episodes',
    setup.episodes_per_step,
    setup.share,
  )
  if setup.loss.pretrain_shared:
    return train_stream, None
  test_stream = pipeline.stream(
    test_sampler,
    setup.test_augmentation,
    setup.image_size,
    'test_episodes',
    setup.episodes_per_step,
  )
  return train_stream, test_stream


def _update(
  setup: Setup, rule: tf.train.Optimizer, gradients: Gradients, global_step: tf.Variable
) -> tuple[tf.Operation, tf.train.SyncReplicasOptimizer | None]:
  """The operation that makes an update, and its rule if several workers make it together."""
  if not setup.share.synchronous:
    return optimizer.apply(rule, gradients, setup.optimizer, global_step), None
  sync = replicas.synchronous(rule, setup.share.workers, setup.optimizer)
  return sync.apply_gradients(gradients, global_step), sync
