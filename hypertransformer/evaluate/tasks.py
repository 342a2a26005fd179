"""A graph that evaluates tasks: the CNN is generated once from a task's support set, then sees all its query batches.

Batch norm uses the statistics of each query batch, so accuracy is transductive in the batch, as in the paper's
protocol; that is why a batch's size matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.config import EpisodeConfig, EvalConfig, ModelConfig
from hypertransformer.episodes import augmentation, pipeline
from hypertransformer.episodes.augmentation import AugmentationConfig
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.episodes.sampling import ClassSet, EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.run import losses

FIRST_STREAM = 2  # streams 0 and 1 of a seed are training's


@dataclasses.dataclass(frozen=True)
class Preset:
  """A named set of classes to evaluate on. dataset: as in a flag, 'omniglot:1150-1199'."""
  name: str
  dataset: str
  class_set: ClassSet


@dataclasses.dataclass(frozen=True)
class Scores:
  """Accuracies of tasks, float [tasks]; disjoint: over the query images outside the support (NaN: there were none)."""
  accuracy: np.ndarray
  disjoint: np.ndarray


class TaskEvaluator:
  """Evaluates checkpoints of one model on several presets, in a graph and session of its own."""

  def __init__(self, model: ModelConfig, episodes: EpisodeConfig, augment: AugmentationConfig,
               image_size: int, presets: Sequence[Preset], config: EvalConfig, seed: int) -> None:
    """Raises InputError where data, model and sizes do not go together."""
    self._config = config
    drawn = dataclasses.replace(episodes, query_samples=config.batch_size)
    samplers = [EpisodeSampler(preset.class_set, drawn, seed, FIRST_STREAM + number, config.num_batches)
                for number, preset in enumerate(presets)]
    for preset in presets:
      augmentation.check(augment, preset.class_set.arrays.image_shape)
    channels = {preset.class_set.arrays.image_shape[-1] for preset in presets}
    if len(channels) != 1:
      raise InputError(f'the evaluation datasets have {sorted(channels)} channels; one model takes only one kind.')
    self._model = HyperTransformer(model, (image_size, image_size, channels.pop()))
    with tf.Graph().as_default():
      streams = [pipeline.stream(sampler, augment, image_size, f'preset_{number}')
                 for number, sampler in enumerate(samplers)]
      self._streams = dict(zip((preset.name for preset in presets), streams, strict=True))
      episode, self._handle, handles = pipeline.switchable(streams)
      self._hits = self._build(episode)
      self._in_support = episode.query_in_support
      self.variables = tf.global_variables()
      self._saver = tf.train.Saver(self.variables)
      self._session = tf.Session()
    self._handles = dict(zip(self._streams, self._session.run(handles), strict=True))

  def restore(self, prefix: str) -> None:
    """Loads a checkpoint. Raises what TensorFlow raises."""
    self._saver.restore(self._session, prefix)

  def evaluate(self, preset: str, progress: Callable[[int, float], None] = lambda done, mean: None) -> Scores:
    """The restored checkpoint on num_tasks tasks; the same tasks at every call.

    progress: told the tasks done and the mean accuracy so far.
    """
    stream = self._streams[preset]
    self._session.run(stream.initializer, {stream.first: 0})
    accuracy, disjoint = [], []
    for done in range(1, self._config.num_tasks + 1):
      hits, in_support = self._session.run([self._hits, self._in_support], {self._handle: self._handles[preset]})
      accuracy.append(hits.mean())
      disjoint.append(hits[~in_support].mean() if not in_support.all() else np.nan)
      progress(done, float(np.mean(accuracy)))
    return Scores(np.array(accuracy), np.array(disjoint))

  def close(self) -> None:
    self._session.close()

  def _build(self, episode: Episode) -> tf.Tensor:
    """float [batches * Nq]: 1 for each query image that is classified right.

    One query batch after the other: what belongs to 100 images stays in the processor's cache.
    """
    weights = self._model.generate(Support(episode.support_images, episode.support_labels))

    def hits(batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
      images, labels = batch
      return losses.hits(self._model.classify(images, weights).logits, labels)

    batches = self._config.num_batches
    images = tf.reshape(episode.query_images, [batches, -1, *episode.query_images.shape[1:]])
    labels = tf.reshape(episode.query_labels, [batches, -1])
    return tf.reshape(tf.map_fn(hits, (images, labels), fn_output_signature=tf.float32), [-1])
