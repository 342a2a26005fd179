"""Evaluates a checkpoint on independent tasks or on sequences of tasks.

A single task is a sequence of one task: its CNN is generated once and then classifies all query
batches. After each task of a longer sequence, the queries of all tasks so far are asked
(docs/spec/continual.md, section 2).

With --query_statistics=batch, as published, batch norm uses the statistics of each query batch. So
the prediction for an image depends on the other images of its batch (accuracy is transductive), and
the batch size matters. The inductive accuracy, with statistics of the support sets, is measured as
well, on the first query batch of a task only, which costs little.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, pipeline, sequences
from hypertransformer.episodes.pipeline import Episode, EpisodeStream
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.evaluation.metrics import Scores
from hypertransformer.evaluation.per_class import ClassTally
from hypertransformer.evaluation.presets import Preset, channels
from hypertransformer.model import layers, shown
from hypertransformer.model.continual import TaskSequence, learn_sequence, with_support_statistics
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.shown import Shown
from hypertransformer.pictures import episode as episode_pictures
from hypertransformer.runtime import sessions, tensorboard
from hypertransformer.settings.config import ContinualConfig, EpisodeConfig, Settings

FIRST_STREAM = 2  # streams 0 and 1 of a seed are those of training

# Called with the number of episodes evaluated so far, and their mean accuracy in 0..1.
Progress = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True)
class _Answers:
  """What the model says of the queries of an episode.

  Attributes:
    pairs: All (t, tau), both counted from 0: the queries of task tau, asked after task t.
    logits: float32 [pairs, Nq, classes].
    labels: int32 [pairs, Nq].
    in_support: bool [tasks asked, Nq], whether the query image is a support image as well.
    inductive: The logits with statistics of the support sets, of all queries asked after the last
      task or of the first ones, [tasks asked, n, classes].
    shown: What pictures show of the episode.
  """

  pairs: list[tuple[int, int]]
  logits: tf.Tensor
  labels: tf.Tensor
  in_support: tf.Tensor
  inductive: tf.Tensor
  shown: Shown


class Evaluator:
  """Evaluates checkpoints of one model on several presets.

  It has a graph and a session of its own, and a stream of episodes for each preset.

  Attributes:
    unit: What --num_task_evals counts, as a plural noun for messages.
    variables: The variables that a checkpoint must have.
  """

  def __init__(self, settings: Settings, presets: Sequence[Preset]) -> None:
    """Build the graph, and open the session.

    Args:
      settings: The settings of the run. Without a seed, one is chosen at random.
      presets: What checkpoints can be evaluated on.

    Raises:
      InputError: Data, model and sizes are incompatible.
    """
    self._settings = settings
    self._inductive = settings.evaluation.query_statistics == 'support'
    self.unit = 'tasks' if settings.continual is None else 'sequences'
    seed, size = settings.run.seed, settings.data.image_size
    self._seed = secrets.randbits(62) if seed is None else seed
    self._model = HyperTransformer(settings.model, (size, size, channels(presets)))
    self._samplers: dict[str, EpisodeSampler] = {}
    with tf.Graph().as_default() as graph:
      self._streams = {
        preset.name: self._stream(preset, number) for number, preset in enumerate(presets)
      }
      episode, self._handle, handles = pipeline.switchable(list(self._streams.values()))
      answers = self._answers(episode)
      self._shown = answers.shown
      self._fetches = _scores(answers)
      if settings.evaluation.per_class:
        self._fetches.append(tf.argmax(answers.logits[0], -1))
      self.variables = tf.global_variables()
      self._saver = tf.train.Saver(self.variables)
      self._session = tf.Session(config=sessions.config(graph, settings.evaluation.xla))
    self._handles = dict(zip(self._streams, self._session.run(handles), strict=True))

  def _stream(self, preset: Preset, number: int) -> EpisodeStream:
    """Build the stream of episodes of a preset; raises InputError if it has too few classes."""
    settings, continual = self._settings, self._settings.continual
    augment = settings.augmentation_of(preset.name)
    augmentation.check(augment, preset.class_set.arrays.image_shape)
    sampled, batches = sampled_episodes(settings), settings.evaluation.num_batches
    if continual is not None:
      sequences.require_classes(
        preset.class_set, sampled, continual, continual.eval_length, 'eval_num_tasks'
      )
      sampled = sequences.episode_config(sampled, continual, continual.eval_length)
      batches = 1
    stream = FIRST_STREAM + number
    sampler = EpisodeSampler(
      preset.class_set, sampled, self._seed, stream, batches, evaluation=True
    )
    self._samplers[preset.name] = sampler
    return pipeline.stream(sampler, augment, settings.data.image_size, f'preset_{number}')

  def evaluate(self, preset: str, progress: Progress | None = None) -> Scores:
    """Evaluate the restored checkpoint on a preset, on the same episodes at every call.

    Args:
      preset: The name of the preset.
      progress: Called after each episode.
    """
    config, sampler = self._settings.evaluation, self._samplers[preset]
    found, last = [], []
    tally = ClassTally(sampler.class_set) if config.per_class else None
    for number, one in enumerate(self._run(preset, self._fetches, config.num_episodes)):
      found.append(one[:3])
      last.append(one[0][-1].mean())
      if tally:
        draw = sampler.draw(number)
        tally.add(draw.classes, draw.query_positions, one[3])
      if progress:
        progress(len(found), float(np.mean(last)))
    cells, disjoint, inductive = map(np.array, zip(*found, strict=True))
    by_class = tally.fields() if tally else None
    return Scores(cells.astype(np.float64), disjoint, inductive, by_class)

  def pictures(self, preset: str) -> tf.Summary:
    """Draw the first episode of a preset, with the predictions of the checkpoint, for TensorBoard.

    The kernels are compared with those generated for the second episode. The accuracies of a
    single sequence are omitted, as there is a picture of their mean over all.
    """
    first, second = (
      episode_pictures.Record(**{**values, 'accuracies': None})
      for values in self._run(preset, self._shown, 2)
    )
    summary = tensorboard.image_summary(episode_pictures.pictures(first, second.kernels, preset))
    changes = episode_pictures.kernel_changes(first, second.kernels, preset)
    summary.MergeFrom(tensorboard.scalar_summary(changes))
    return summary

  def restore(self, prefix: str) -> None:
    """Load a checkpoint. Errors are those of TensorFlow."""
    with self._session.graph.as_default():  # where TensorFlow executes eagerly, as in notebooks
      self._saver.restore(self._session, prefix)

  def close(self) -> None:
    """Close the session."""
    self._session.close()

  def _run(self, preset: str, fetches: Any, count: int) -> Iterator[Any]:
    """Yield the values of tensors for each of the preset's first episodes."""
    stream = self._streams[preset]
    self._session.run(stream.initializer, {stream.first: 0})
    for _ in range(count):
      yield self._session.run(fetches, {self._handle: self._handles[preset]})

  def _answers(self, episode: Episode) -> _Answers:
    if self._settings.continual is None:
      return self._answers_of_task(episode)
    return self._answers_of_sequence(episode, self._settings.continual)

  def _answers_of_task(self, episode: Episode) -> _Answers:
    """Generate the CNN of a task, and classify its query batches.

    They are classified one after the other: what belongs to one batch stays in the cache of the
    processor, which is faster.
    """
    support = Support(episode.support_images, episode.support_labels)
    weights = self._model.generate(support)
    frozen = self._model.freeze(weights, support.images)
    used = frozen if self._inductive else weights
    batches = self._settings.evaluation.num_batches
    images = tf.reshape(episode.query_images, [batches, -1, *episode.query_images.shape[1:]])
    each = tf.map_fn(
      lambda batch: self._model.classify(batch, used).logits, images, fn_output_signature=tf.float32
    )
    logits = tf.reshape(each, [-1, each.shape[-1]])
    first = logits if self._inductive else self._model.classify(images[0], frozen).logits
    drawn = shown.of_task(
      self._model, support, episode.query_images, episode.query_labels, weights, logits
    )
    labels, in_support = episode.query_labels[None], episode.query_in_support[None]
    return _Answers([(0, 0)], logits[None], labels, in_support, first[None], drawn)

  def _answers_of_sequence(self, episode: Episode, continual: ContinualConfig) -> _Answers:
    def cut(large: Episode) -> TaskSequence:
      num_labels = self._settings.episodes.num_labels
      return TaskSequence(
        *sequences.from_episode(large, continual, num_labels, continual.eval_length)
      )

    sequence = cut(episode)
    outcome = learn_sequence(self._model, sequence, continual)
    frozen = with_support_statistics(
      self._model, sequence, continual, outcome, last_only=not self._inductive
    )
    outcome = frozen if self._inductive else outcome
    drawn = shown.of_sequence(self._model, sequence, outcome, continual)
    # The marks of the query images are cut into tasks as if they were the images.
    marks = cut(episode._replace(query_images=episode.query_in_support)).query_images
    inductive = frozen.logits[-marks.shape[0] :]
    return _Answers(outcome.pairs, outcome.logits, outcome.labels, marks, inductive, drawn)


def _scores(answers: _Answers) -> list[tf.Tensor]:
  """Build the accuracies of one episode.

  Returns:
    Three tensors, float32: `cells` [T, T] ([T, 1] in mini_batch), `disjoint` [] and `inductive` []
    of Scores.
  """
  hits = layers.hits(answers.logits, answers.labels)
  learned, asked = (max(numbers) + 1 for numbers in zip(*answers.pairs, strict=True))
  cells = tf.tensor_scatter_nd_update(
    tf.fill([learned, asked], np.float32(np.nan)), answers.pairs, tf.reduce_mean(hits, axis=1)
  )
  outside = tf.cast(tf.logical_not(answers.in_support), tf.float32)
  last = hits[-asked:]  # the pairs with the last t are the last ones
  disjoint = tf.reduce_sum(last * outside, axis=1) / tf.reduce_sum(outside, axis=1)
  labels = answers.labels[-asked:, : answers.inductive.shape[1]]
  return [cells, tf.reduce_mean(disjoint), layers.accuracy(answers.inductive, labels)]


def sampled_episodes(settings: Settings) -> EpisodeConfig:
  """Return how a task with one query batch is sampled in evaluation."""
  return dataclasses.replace(settings.episodes, query_samples=settings.evaluation.batch_size)
