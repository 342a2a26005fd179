"""Sequences of tasks for continual learning: each is one large episode, cut into tasks.

See docs/spec/continual.md, section 2, "Sampling a sequence". The tasks have no class in common (our
choice). In the scenario mini_batch, a support set is cut into pieces with the same classes.
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassSet
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import require
from hypertransformer.settings.config import ContinualConfig, EpisodeConfig


def episode_config(
  episodes: EpisodeConfig, continual: ContinualConfig, length: int
) -> EpisodeConfig:
  """Says how to sample the episode that a sequence is cut from.

  Args:
    episodes: How one task is sampled.
    continual: The scenario.
    length: T, tasks of a sequence.

  Raises:
    InputError: The tasks could not be equal in size, labels are to be hidden, or there are too few
      query images to mix those of all tasks.
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
    not continual.mixed_queries or episodes.query_samples >= length,
    f'mixed_queries with {length} tasks needs as many query images of each: there are '
    f'{episodes.query_samples} (samples_cnn, in evaluation eval_batch_size). Ask for more, or for '
    'fewer tasks.',
  )
  if continual.scenario == 'mini_batch':
    return dataclasses.replace(episodes, support_samples=length * episodes.support_samples)
  return dataclasses.replace(
    episodes,
    num_labels=length * k,
    support_samples=length * episodes.support_samples,
    query_samples=length * episodes.query_samples,
  )


def require_classes(
  class_set: ClassSet,
  episodes: EpisodeConfig,
  continual: ContinualConfig,
  length: int,
  flag: str = 'num_tasks',
) -> None:
  """Check that a dataset has enough classes for sequences.

  Args:
    class_set: The dataset.
    episodes: How one task is sampled.
    continual: The scenario.
    length: T, tasks of a sequence.
    flag: Name of the flag that sets the length, for the message.

  Raises:
    InputError: There are too few classes, or a reason that `episode_config` gives.
  """
  needed = episode_config(episodes, continual, length).num_labels
  found = len(class_set.classes)
  require(
    found >= needed or continual.scenario == 'mini_batch',
    f'dataset {class_set.name!r} is used with {found} classes, but a sequence of {flag}={length} '
    f'tasks of num_labels={episodes.num_labels} classes needs {needed}: give more labels, or fewer '
    f'tasks (--{flag}).',
  )


def from_episode(
  episode: Episode, continual: ContinualConfig, num_labels: int, length: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
  """Cut an episode into the tasks of a sequence; images keep their order within a task.

  An image with the label y belongs to task y // K, where its label is y % K. In mini_batch, the
  j-th support image of a class belongs to piece j // (Ns / K).

  Args:
    episode: An episode that was sampled as `episode_config` says.
    continual: The scenario.
    num_labels: K, classes of one task.
    length: T, tasks of a sequence.

  Returns:
    The fields of a TaskSequence: support images and labels, query images and labels.
  """
  labels = episode.support_labels
  if continual.scenario == 'mini_batch':
    shots = labels.shape[0] // (length * num_labels)
    task, query_sets = _rank_in_class(labels, num_labels) // shots, 1
  else:
    task, query_sets = labels // num_labels, length
  support = _split(episode.support_images, labels % num_labels, task, length)
  query_task = episode.query_labels // num_labels  # mini_batch: 0
  query = _split(episode.query_images, episode.query_labels % num_labels, query_task, query_sets)
  return *support, *query


def _rank_in_class(labels: tf.Tensor, num_labels: int) -> tf.Tensor:
  """Count for each of the labels [n] how many images before it have the same label; int32 [n]."""
  before = tf.cumsum(tf.one_hot(labels, num_labels, dtype=tf.int32), axis=0, exclusive=True)
  return tf.gather(before, labels, axis=1, batch_dims=1)


def _split(
  images: tf.Tensor, labels: tf.Tensor, task: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Group images by their task.

  Args:
    images: [count * n, ...].
    labels: Integers [count * n].
    task: Integers [count * n], the task of each image.
    count: How many tasks there are (in mini_batch one for the queries).

  Returns:
    Images [count, n, ...] and labels [count, n].
  """
  order = tf.argsort(task, stable=True)
  each = labels.shape[0] // count
  return (
    tf.reshape(tf.gather(images, order), [count, each, *images.shape[1:]]),
    tf.reshape(tf.gather(labels, order), [count, each]),
  )
