"""What all evaluators of checkpoints have in common.

An evaluator has a graph and a session of its own, and a stream of episodes for each preset.

Batch norm uses the statistics of each query batch. So the answer for an image depends on the other
images of its batch (accuracy is transductive), as in the paper, and the size of a batch matters.
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
from hypertransformer.evaluation.results import SequenceKind
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.runtime import sessions
from hypertransformer.settings.config import EvalConfig
from hypertransformer.settings.data_config import AugmentationConfig, EpisodeConfig
from hypertransformer.settings.model_config import ModelConfig

FIRST_STREAM = 2  # streams 0 and 1 of a seed are those of training

# Is told how many episodes are evaluated, and their mean accuracy so far, 0..1.
Progress = Callable[[int, float], None]


def silent(done: int, mean: float) -> None:
  """Is a Progress that does nothing."""
  del done, mean


class Found(Protocol):
  """What the evaluation of a checkpoint on a preset has found."""

  def fields(self) -> dict[str, Any]:
    """The fields of a results.Result that are measured: accuracy, ci95, num_tasks and so on."""

  def summary(self, preset: str) -> tf.Summary:
    """The measured numbers as a summary for TensorBoard, under tags with the preset's name."""


class Evaluator(abc.ABC):
  """Evaluates checkpoints of one model on several presets.

  Attributes:
    unit: what --num_task_evals counts, as a plural word for messages.
    kind: the kind of the sequences that it evaluates; None for independent tasks.
    variables: the variables that a checkpoint must have.
  """

  unit = 'tasks'
  kind: SequenceKind | None = None

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
    """Builds the graph, with an episode stream for each preset, and opens the session.

    Args:
      model: the settings of the model.
      drawn: how episodes are drawn. Its query_samples are those of one query batch; an episode has
        config.num_batches of them.
      augment: the augmentation of the images.
      image_size: height and width of the images as the CNN sees them, in pixels.
      presets: what checkpoints can be evaluated on.
      config: how many episodes are evaluated, and the number of query batches.
      seed: makes the episodes: the same seed gives the same ones.

    Raises:
      InputError: data, model and sizes do not go together.
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
      self._session = tf.Session(config=sessions.config(tf.get_default_graph(), config.xla))
    self._handles = dict(zip(self._streams, self._session.run(handles), strict=True))

  @abc.abstractmethod
  def _build(self, episode: Episode) -> list[tf.Tensor]:
    """Builds what is computed from an episode; returns the tensors to fetch for each episode."""

  @abc.abstractmethod
  def evaluate(self, preset: str, progress: Progress = silent) -> Found:
    """Evaluates the restored checkpoint on a preset, on the same episodes at every call.

    Args:
      preset: the name of the preset.
      progress: called after each episode.
    """

  def restore(self, prefix: str) -> None:
    """Loads a checkpoint. Errors are those of TensorFlow."""
    self._saver.restore(self._session, prefix)

  def close(self) -> None:
    """Closes the session."""
    self._session.close()

  def _run(self, preset: str) -> Iterator[list[Any]]:
    """Yields the values of the tensors of `_build` for each of the preset's first episodes."""
    stream = self._streams[preset]
    self._session.run(stream.initializer, {stream.first: 0})
    for _ in range(self._config.num_episodes):
      yield self._session.run(self._fetches, {self._handle: self._handles[preset]})
