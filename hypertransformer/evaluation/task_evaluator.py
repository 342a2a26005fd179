"""Evaluates independent tasks.

For each task, the CNN is generated once from the support set and then sees all query batches.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes.pipeline import Episode
from hypertransformer.evaluation.evaluator import Evaluator, Progress, silent
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.model import layers, shown
from hypertransformer.model.hypertransformer import Support
from hypertransformer.runtime import tensorboard
from hypertransformer.settings.config import EpisodeConfig


@dataclasses.dataclass(frozen=True)
class Scores:
  """The accuracies of independent tasks, in 0..1.

  Attributes:
    accuracy: the accuracy of each task, float [tasks].
    disjoint: the same over the query images that are not support images, float [tasks]; NaN where a
      task has no such images.
  """

  accuracy: np.ndarray
  disjoint: np.ndarray

  def fields(self) -> dict[str, Any]:
    """The measured fields of a results.Result."""
    accuracy, ci95 = mean_and_ci95(self.accuracy)
    disjoint = self.disjoint[~np.isnan(self.disjoint)]
    disjoint_mean, disjoint_ci95 = mean_and_ci95(disjoint) if len(disjoint) else (None, None)
    return {
      'accuracy': accuracy,
      'ci95': ci95,
      'num_tasks': len(self.accuracy),
      'accuracy_disjoint': disjoint_mean,
      'ci95_disjoint': disjoint_ci95,
    }

  def summary(self, preset: str) -> tf.Summary:
    """A summary for TensorBoard, of scalars."""
    fields = self.fields()
    tags = {
      'accuracy': f'eval_accuracy/{preset}',
      'accuracy_disjoint': f'eval_accuracy_disjoint/{preset}',
    }
    return tensorboard.scalar_summary(
      {tag: fields[key] for key, tag in tags.items() if fields[key] is not None}
    )


class TaskEvaluator(Evaluator):
  """Evaluates checkpoints on independent tasks."""

  def evaluate(self, preset: str, progress: Progress = silent) -> Scores:
    """Evaluates the restored checkpoint on a preset; see Evaluator."""
    accuracy, disjoint = [], []
    for hits, in_support in self._run(preset):
      accuracy.append(hits.mean())
      disjoint.append(hits[~in_support].mean() if not in_support.all() else np.nan)
      progress(len(accuracy), float(np.mean(accuracy)))
    return Scores(np.array(accuracy), np.array(disjoint))

  def _drawn(self) -> EpisodeConfig:
    return dataclasses.replace(self._setup.episodes, query_samples=self._setup.config.batch_size)

  def _build(self, episode: Episode) -> list[tf.Tensor]:
    """Builds the CNN of a task and classifies its query batches.

    The batches are classified one after the other: what belongs to one batch stays in the cache of
    the processor, which is faster.

    Returns:
      Two tensors [query images of all batches]: float, 1 where the image is classified right; and
      bool, whether it is a support image.
    """
    support = Support(episode.support_images, episode.support_labels)
    weights = self._model.generate(support)

    def classify(images: tf.Tensor) -> tf.Tensor:
      return self._model.classify(images, weights).logits

    batches = self._setup.config.num_batches
    images = tf.reshape(episode.query_images, [batches, -1, *episode.query_images.shape[1:]])
    each = tf.map_fn(classify, images, fn_output_signature=tf.float32)
    logits = tf.reshape(each, [-1, each.shape[-1]])
    self._shown = shown.of_task(
      self._model, support, episode.query_images, episode.query_labels, weights, logits
    )
    return [layers.hits(logits, episode.query_labels), episode.query_in_support]
