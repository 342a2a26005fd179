"""What every evaluator of checkpoints is: a graph and session of its own, a stream of episodes for
each preset.

Batch norm uses the statistics of each query batch, so accuracy is transductive in the batch, as in
the paper's protocol; that is why a batch's size matters.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, pipeline
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.evaluation.presets import Preset, channels
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.runtime import sessions
from hypertransformer.settings.config import EvalConfig
from hypertransformer.settings.data_config import AugmentationConfig, EpisodeConfig
from hypertransformer.settings.model_config import ModelConfig

FIRST_STREAM = 2  # streams 0 and 1 of a seed are training's

Progress = Callable[[int, float], None]


def silent(done: int, mean: float) -> None:
  """A Progress that says nothing."""
  del done, mean


class Found(Protocol):
  """What a checkpoint's evaluation on a preset found."""

  def fields(self) -> dict[str, Any]:
    """The fields of a results.Result that come from the numbers: accuracy, ci95, num_tasks, ..."""

  def summary(self, preset: str) -> tf.Summary:
    """The same for TensorBoard."""


class Evaluator(abc.ABC):
  """Evaluates checkpoints of one model on several presets."""

  unit = 'tasks'  # what num_task_evals counts, for a person
  kind: tuple[Any, ...] = ()  # results.kind of what it finds

  def __init__(
    self,
    model: ModelConfig,
    drawn: EpisodeConfig,
    augment: AugmentationConfig,
    image_size: int,
    presets: Sequence[Preset],
    config: EvalConfig,
    seed: int,
  ) -> None:
    """drawn: the episodes of the streams, with the query images of one batch; an episode has
    config.num_batches.

    Raises InputError where data, model and sizes do not go together.
    """
    self._config = config
    samplers = [
      EpisodeSampler(preset.class_set, drawn, seed, FIRST_STREAM + number, config.num_batches)
      for number, preset in enumerate(presets)
    ]
    for preset in presets:
      augmentation.check(augment, preset.class_set.arrays.image_shape)
    self._model = HyperTransformer(model, (image_size, image_size, channels(presets)))
    with tf.Graph().as_default():
      streams = [
        pipeline.stream(sampler, augment, image_size, f'preset_{number}')
        for number, sampler in enumerate(samplers)
      ]
      self._streams = dict(zip((preset.name for preset in presets), streams, strict=True))
      episode, self._handle, handles = pipeline.switchable(streams)
      self._fetches = self._build(episode)
      self.variables = tf.global_variables()
      self._saver = tf.train.Saver(self.variables)
      self._session = tf.Session(config=sessions.config(tf.get_default_graph()))
    self._handles = dict(zip(self._streams, self._session.run(handles), strict=True))

  @abc.abstractmethod
  def _build(self, episode: Episode) -> list[tf.Tensor]:
    """What is to be run for each episode."""

  @abc.abstractmethod
  def evaluate(self, preset: str, progress: Progress = silent) -> Found:
    """The restored checkpoint on num_tasks tasks; the same tasks at every call.

    progress: told the tasks done and the mean accuracy so far.
    """

  def restore(self, prefix: str) -> None:
    """Loads a checkpoint. Raises what TensorFlow raises."""
    self._saver.restore(self._session, prefix)

  def close(self) -> None:
    self._session.close()

  def _run(self, preset: str) -> Iterator[list[Any]]:
    """The values of `_build`'s tensors for the first num_tasks episodes of the preset's stream."""
    stream = self._streams[preset]
    self._session.run(stream.initializer, {stream.first: 0})
    for _ in range(self._config.num_episodes):
      yield self._session.run(self._fetches, {self._handle: self._handles[preset]})
