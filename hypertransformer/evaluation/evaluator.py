"""What all evaluators of checkpoints have in common.

An evaluator has a graph and a session of its own, and a stream of episodes for each preset.

Batch norm uses the statistics of each query batch. So the answer for an image depends on the other
images of its batch (accuracy is transductive), as in the paper, and the size of a batch matters.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, pipeline
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.evaluation.presets import Preset, channels
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.shown import Shown
from hypertransformer.pictures import episode as episode_pictures
from hypertransformer.runtime import sessions, tensorboard
from hypertransformer.settings.config import (
  AugmentationConfig,
  ContinualConfig,
  EpisodeConfig,
  EvalConfig,
)
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


@dataclasses.dataclass(frozen=True)
class EvalSetup:
  """What an evaluator is built from.

  Attributes:
    model: the settings of the model.
    episodes: how one task is drawn; the number of its query images is that of `config`.
    augmentation_of: maps the name of a preset to the augmentation of its images.
    image_size: height and width of the images as the CNN sees them, in pixels.
    presets: what checkpoints can be evaluated on.
    config: how many tasks or sequences are evaluated, and the number and size of the query batches
      of a task.
    seed: makes the episodes: the same seed gives the same ones.
    continual: the scenario, the method and the length of sequences; None for single tasks.
  """

  model: ModelConfig
  episodes: EpisodeConfig
  augmentation_of: Callable[[str], AugmentationConfig]
  image_size: int
  presets: Sequence[Preset]
  config: EvalConfig
  seed: int
  continual: ContinualConfig | None = None


class Evaluator(abc.ABC):
  """Evaluates checkpoints of one model on several presets.

  Attributes:
    unit: what --num_task_evals counts, as a plural word for messages.
    variables: the variables that a checkpoint must have.
  """

  unit = 'tasks'
  _shown: Shown

  def __init__(self, setup: EvalSetup) -> None:
    """Builds the graph, with an episode stream for each preset, and opens the session.

    Args:
      setup: what checkpoints can be evaluated on, and how.

    Raises:
      InputError: data, model and sizes do not go together.
    """
    self._setup = setup
    presets, image_size = setup.presets, setup.image_size
    drawn = self._drawn()
    samplers = [
      EpisodeSampler(
        preset.class_set,
        drawn,
        setup.seed,
        FIRST_STREAM + number,
        setup.config.num_batches,
        evaluation=True,
      )
      for number, preset in enumerate(presets)
    ]
    augment = {preset.name: setup.augmentation_of(preset.name) for preset in presets}
    for preset in presets:
      augmentation.check(augment[preset.name], preset.class_set.arrays.image_shape)
    self._model = HyperTransformer(setup.model, (image_size, image_size, channels(presets)))
    with tf.Graph().as_default():
      streams = [
        pipeline.stream(sampler, augment[preset.name], image_size, f'preset_{number}')
        for number, (preset, sampler) in enumerate(zip(presets, samplers, strict=True))
      ]
      self._streams = dict(zip((preset.name for preset in presets), streams, strict=True))
      episode, self._handle, handles = pipeline.switchable(streams)
      self._fetches = self._build(episode)
      self.variables = tf.global_variables()
      self._saver = tf.train.Saver(self.variables)
      self._session = tf.Session(config=sessions.config(tf.get_default_graph(), setup.config.xla))
    self._handles = dict(zip(self._streams, self._session.run(handles), strict=True))

  @abc.abstractmethod
  def _drawn(self) -> EpisodeConfig:
    """How episodes are drawn; raises InputError if a preset has too few classes for them.

    The query_samples are those of one query batch; an episode has num_batches of them.
    """

  @abc.abstractmethod
  def _build(self, episode: Episode) -> list[tf.Tensor]:
    """Builds what is computed from an episode, and sets `_shown`, what people are shown of it.

    Returns:
      The tensors to fetch for each episode.
    """

  @abc.abstractmethod
  def evaluate(self, preset: str, progress: Progress = silent) -> Found:
    """Evaluates the restored checkpoint on a preset, on the same episodes at every call.

    Args:
      preset: the name of the preset.
      progress: called after each episode.
    """

  def pictures(self, preset: str) -> tf.Summary:
    """Draws the first episode of a preset, as the restored checkpoint answers it, for TensorBoard.

    The kernels are compared with those generated for the second episode. The accuracies of a
    single sequence are left out, as there is a picture of their mean over all.

    Args:
      preset: the name of the preset.
    """
    episodes = self._run(preset, self._shown, 2)
    first, second = (
      episode_pictures.Record(**{**values, 'accuracies': None}) for values in episodes
    )
    summary = tensorboard.image_summary(episode_pictures.pictures(first, second.kernels, preset))
    changes = episode_pictures.kernel_changes(first, second.kernels, preset)
    summary.MergeFrom(tensorboard.scalar_summary(changes))
    return summary

  def restore(self, prefix: str) -> None:
    """Loads a checkpoint. Errors are those of TensorFlow."""
    self._saver.restore(self._session, prefix)

  def close(self) -> None:
    """Closes the session."""
    self._session.close()

  def _run(self, preset: str, fetches: Any = None, count: int | None = None) -> Iterator[Any]:
    """Yields the values of tensors for each of the preset's first episodes.

    Args:
      preset: the name of the preset.
      fetches: a structure of tensors; None for those of `_build`.
      count: how many episodes; None for all that are evaluated.
    """
    stream = self._streams[preset]
    self._session.run(stream.initializer, {stream.first: 0})
    for _ in range(self._setup.config.num_episodes if count is None else count):
      yield self._session.run(
        self._fetches if fetches is None else fetches, {self._handle: self._handles[preset]}
      )
