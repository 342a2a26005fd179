"""Sequences of tasks for continual learning (spec/continual.md): one large episode, cut into tasks.

The classes of the tasks are disjoint (our choice: the paper does not say); in the mini-batch
scenario one support set is cut into pieces of the same classes.
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.datasets.arrays import ClassSet
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import require
from hypertransformer.settings.config import ContinualConfig
from hypertransformer.settings.data_config import EpisodeConfig


@dataclasses.dataclass(frozen=True)
class Sequence:
  """T tasks (mini_batch: T pieces of a support set, and one query set).

  support_images float32 [T, Ns, S, S, C], support_labels int32 [T, Ns], query_images [T, Nq, S, S,
  C], query_labels int32 [T, Nq] (mini_batch: [1, Nq, ...]). Labels are those within a task, 0..K-1.
  """

  support_images: tf.Tensor
  support_labels: tf.Tensor
  query_images: tf.Tensor
  query_labels: tf.Tensor


def episode_config(
  episodes: EpisodeConfig, continual: ContinualConfig, num_tasks: int
) -> EpisodeConfig:
  """The episode that a sequence is cut from; `episodes` is one task. Raises InputError where tasks
  would differ.
  """
  k = episodes.num_labels
  with_scenario = f'with continual_scenario={continual.scenario}'
  require(
    episodes.balanced,
    f'{with_scenario} every class of a task needs the same number of samples: set '
    '--balanced_batches.',
  )
  require(
    episodes.unlabeled_per_class == 0,
    f'unlabeled_samples_per_class={episodes.unlabeled_per_class} does not go '
    f'{with_scenario}: prototypes are means of labelled samples. Set it to 0.',
  )
  for name, count in (
    ('samples_transformer', episodes.support_samples),
    ('query images (samples_cnn, in evaluation eval_batch_size)', episodes.query_samples),
  ):
    require(
      count % k == 0,
      f'{name}={count} is not divisible by num_labels={k}: {with_scenario} every class of a task '
      f'needs the same number of samples, so use a multiple of {k}.',
    )
  require(
    not continual.mixed_queries or episodes.query_samples >= num_tasks,
    f'mixed_queries with {num_tasks} tasks needs as many query images of each: there are '
    f'{episodes.query_samples} (samples_cnn, in evaluation eval_batch_size). Ask for more, or for fewer tasks.',
  )
  if continual.scenario == 'mini_batch':
    return dataclasses.replace(episodes, support_samples=num_tasks * episodes.support_samples)
  return dataclasses.replace(
    episodes,
    num_labels=num_tasks * k,
    support_samples=num_tasks * episodes.support_samples,
    query_samples=num_tasks * episodes.query_samples,
  )


def require_classes(
  class_set: ClassSet,
  episodes: EpisodeConfig,
  continual: ContinualConfig,
  num_tasks: int,
  flag: str = 'num_tasks',
) -> None:
  """Raises InputError if the dataset has too few classes for the sequences of num_tasks tasks.
  flag: its name.
  """
  needed = episode_config(episodes, continual, num_tasks).num_labels
  found = len(class_set.classes)
  require(
    found >= needed or continual.scenario == 'mini_batch',
    f'dataset {class_set.name!r} is used with {found} classes, but a sequence of {flag}={num_tasks} tasks of '
    f'num_labels={episodes.num_labels} classes needs {needed}: give more labels, or fewer tasks (--{flag}).',
  )


def from_episode(
  episode: Episode, continual: ContinualConfig, num_labels: int, num_tasks: int
) -> Sequence:
  """Cuts an episode of `episode_config` into tasks; images keep their order within a task.

  Task of an image: label // K, and its label there: label % K. mini_batch: the j-th support image
  of a class belongs to piece j // (Ns / K).
  """
  labels = episode.support_labels
  if continual.scenario == 'mini_batch':
    shots = labels.shape[0] // (num_tasks * num_labels)
    task, query_sets = _rank_in_class(labels, num_labels) // shots, 1
  else:
    task, query_sets = labels // num_labels, num_tasks
  support = _split(episode.support_images, labels % num_labels, task, num_tasks)
  query_task = episode.query_labels // num_labels  # mini_batch: 0
  query = _split(episode.query_images, episode.query_labels % num_labels, query_task, query_sets)
  return Sequence(*support, *query)


def _rank_in_class(labels: tf.Tensor, num_labels: int) -> tf.Tensor:
  """labels int [n] -> int32 [n]: how many images of the same class come before each."""
  before = tf.cumsum(tf.one_hot(labels, num_labels, dtype=tf.int32), axis=0, exclusive=True)
  return tf.gather(before, labels, axis=1, batch_dims=1)


def _split(
  images: tf.Tensor, labels: tf.Tensor, task: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """images [count * n, ...], labels and task int [count * n] -> [count, n, ...] and [count, n] by
  task.
  """
  order = tf.argsort(task, stable=True)
  each = labels.shape[0] // count
  return (
    tf.reshape(tf.gather(images, order), [count, each, *images.shape[1:]]),
    tf.reshape(tf.gather(labels, order), [count, each]),
  )
