"""Evaluates sequences of tasks: after each task, the queries of all tasks so far are asked.

See docs/spec/continual.md, section 2.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import sequences
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import InputError
from hypertransformer.evaluation import metrics
from hypertransformer.evaluation.evaluator import Evaluator, Progress, silent
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.task_evaluator import Scores
from hypertransformer.model import layers, shown
from hypertransformer.model.continual import TaskSequence, learn_sequence
from hypertransformer.pictures import matrices
from hypertransformer.runtime import tensorboard
from hypertransformer.settings.config import ContinualConfig, EpisodeConfig


@dataclasses.dataclass(frozen=True)
class SequenceScores:
  """The accuracies of sequences of T tasks, in 0..1.

  Attributes:
    cells: the accuracy on the queries of each task after each task, float [sequences, T, T]; NaN
      where a task is not learned yet. In mini_batch: [sequences, T], after each piece.
    disjoint: the average accuracy after the last task over the query images that are not support
      images, float [sequences]; NaN if a task has no such images.
    continual: the scenario and the method that were evaluated.
  """

  cells: np.ndarray
  disjoint: np.ndarray
  continual: ContinualConfig

  def fields(self) -> dict[str, Any]:
    """The measured fields of a results.Result; accuracy is the average after the last task."""
    found = metrics.measure(self.cells)
    continual = {
      'scenario': self.continual.scenario,
      'method': self.continual.method,
      'mixed_queries': self.continual.mixed_queries,
      'num_tasks': len(found.average),
      **found.json(),
    }
    return {**self._last().fields(), 'continual': continual}

  def summary(self, preset: str) -> tf.Summary:
    """A summary for TensorBoard: scalars, and the matrix of accuracies as a picture."""
    found = metrics.measure(self.cells)
    scalars = {
      f'eval_average_accuracy/{preset}/after_task_{number}': float(mean)
      for number, mean in enumerate(found.average, 1)
    }
    for name, estimate in (
      ('forgetting', found.forgetting),
      ('backward_transfer', found.backward_transfer),
    ):
      if estimate is not None:
        scalars[f'eval_{name}/{preset}'] = estimate[0]
    summary = self._last().summary(preset)
    summary.MergeFrom(tensorboard.scalar_summary(scalars))
    picture = matrices.titled_accuracies(
      found.matrix, f'{preset}: mean of {len(self.cells)} sequences'
    )
    summary.MergeFrom(tensorboard.image_summary({f'eval_matrix/{preset}': picture}))
    return summary

  def _last(self) -> Scores:
    """The average accuracies after the last task, as if each sequence were a single task."""
    last = self.cells[:, -1]
    return Scores(last if last.ndim == 1 else last.mean(axis=1), self.disjoint)


class SequenceEvaluator(Evaluator):
  """Evaluates checkpoints on sequences of tasks.

  There are num_task_evals sequences of eval_num_tasks tasks. Each task has one query batch, of
  eval_batch_size images: its setup has `continual`, and 1 for `config.num_batches`.
  """

  unit = 'sequences'

  def evaluate(self, preset: str, progress: Progress = silent) -> SequenceScores:
    """Evaluates the restored checkpoint on a preset; see Evaluator.

    `progress` is told the average accuracy after the last task.
    """
    cells, disjoint, last = [], [], []
    for found, outside in self._run(preset):
      cells.append(found)
      disjoint.append(outside)
      last.append(found[-1].mean())
      progress(len(cells), float(np.mean(last)))
    stacked = np.array(cells, np.float64)
    if self._continual.scenario == 'mini_batch':
      stacked = stacked[:, :, 0]
    return SequenceScores(stacked, np.array(disjoint), self._continual)

  @property
  def _continual(self) -> ContinualConfig:
    assert self._setup.continual is not None
    return self._setup.continual

  def _drawn(self) -> EpisodeConfig:
    assert self._setup.config.num_batches == 1
    tasks = dataclasses.replace(self._setup.episodes, query_samples=self._setup.config.batch_size)
    for preset in self._setup.presets:
      _require_classes(preset, tasks, self._continual)
    return sequences.episode_config(tasks, self._continual, self._continual.eval_length)

  def _build(self, episode: Episode) -> list[tf.Tensor]:
    """Builds the learning of one sequence, and the accuracies on its queries.

    Returns:
      Two tensors. The accuracy on the queries of each task after each task, float [T, T] ([T, 1] in
      mini_batch), NaN where a task is not learned yet. And the average accuracy after the last task
      over the query images that are not support images, float [], NaN if a task has none of these.
    """
    sequence = self._cut(episode)
    outcome = learn_sequence(self._model, sequence, self._continual)
    self._shown = shown.of_sequence(self._model, sequence, outcome, self._continual)
    hits = layers.hits(outcome.logits, outcome.labels)
    learned, asked = (max(numbers) + 1 for numbers in zip(*outcome.pairs, strict=True))
    cells = tf.tensor_scatter_nd_update(
      tf.fill([learned, asked], np.float32(np.nan)), outcome.pairs, tf.reduce_mean(hits, axis=1)
    )
    # The marks of the query images are cut into tasks as if they were the images.
    inside = self._cut(
      dataclasses.replace(episode, query_images=episode.query_in_support)
    ).query_images
    outside = tf.cast(tf.logical_not(inside), tf.float32)
    last = hits[-asked:]  # the pairs with the last t are the last ones
    return [
      cells,
      tf.reduce_mean(tf.reduce_sum(last * outside, axis=1) / tf.reduce_sum(outside, axis=1)),
    ]

  def _cut(self, episode: Episode) -> TaskSequence:
    """Cuts a large episode into the tasks of a sequence."""
    return TaskSequence(
      *sequences.from_episode(
        episode, self._continual, self._setup.episodes.num_labels, self._continual.eval_length
      )
    )


def _require_classes(preset: Preset, tasks: EpisodeConfig, continual: ContinualConfig) -> None:
  """Raises InputError if a preset has too few classes for a sequence."""
  try:
    sequences.require_classes(
      preset.class_set, tasks, continual, continual.eval_length, 'eval_num_tasks'
    )
  except InputError as error:
    raise InputError(f'preset {preset.name!r} ({preset.dataset}): {error}') from error
