"""Cutting an episode into a sequence of tasks, against sorting by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.episodes import sequences
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import InputError
from hypertransformer.settings.config import ContinualConfig, EpisodeConfig

K, SHOTS, QUERIES = 2, 3, 4
TASK = EpisodeConfig(K, K * SHOTS, K * QUERIES, balanced=True)
CLASS, PIECES = ContinualConfig('class_incremental'), ContinualConfig('mini_batch')


def shuffled(rng: np.random.Generator, classes: int, each: int) -> np.ndarray:
  return rng.permutation(np.repeat(np.arange(classes, dtype=np.int32), each))


def cut(
  support: np.ndarray, query: np.ndarray, continual: ContinualConfig, length: int
) -> list[np.ndarray]:
  """Cuts an episode with these labels, whose images are their own numbers, into a sequence."""
  with tf.Graph().as_default(), tf.Session() as session:
    images = [
      tf.reshape(tf.range(float(len(labels))), [-1, 1, 1, 1]) for labels in (support, query)
    ]
    unused = tf.zeros([])
    episode = Episode(
      images[0], tf.constant(support), unused, images[1], tf.constant(query), unused, unused, unused
    )
    parts = sequences.from_episode(episode, continual, K, length)
    assert all(part.shape.is_fully_defined() for part in parts)
    return session.run(parts)


@pytest.mark.parametrize('length', [1, 4])
def test_tasks_are_groups_of_classes(length: int) -> None:
  rng = np.random.default_rng(length)
  support, query = (shuffled(rng, length * K, each) for each in (SHOTS, QUERIES))
  support_images, support_labels, query_images, query_labels = cut(support, query, CLASS, length)
  assert support_images.shape == (length, K * SHOTS, 1, 1, 1)
  for task in range(length):
    classes = range(task * K, (task + 1) * K)
    for images, labels, all_labels in (
      (support_images, support_labels, support),
      (query_images, query_labels, query),
    ):
      own = [number for number, label in enumerate(all_labels) if label in classes]
      assert images[task].ravel().tolist() == own
      assert labels[task].tolist() == [all_labels[number] - task * K for number in own]


@pytest.mark.parametrize('length', [1, 3])
def test_a_mini_batch_sequence_is_pieces_of_one_support_set(length: int) -> None:
  rng = np.random.default_rng(length)
  support, query = shuffled(rng, K, length * SHOTS), shuffled(rng, K, QUERIES)
  support_images, support_labels, query_images, query_labels = cut(support, query, PIECES, length)
  expected: list[list[int]] = [[] for _ in range(length)]
  seen = [0] * K
  for number, label in enumerate(support):
    expected[seen[label] // SHOTS].append(number)
    seen[label] += 1
  assert support_images[..., 0, 0, 0].tolist() == expected
  assert support_labels.tolist() == support[np.array(expected)].tolist()
  assert query_images.ravel().tolist() == list(range(K * QUERIES))
  assert query_labels.tolist() == [query.tolist()]


def test_the_episode_of_a_sequence_has_the_images_of_all_tasks() -> None:
  assert sequences.episode_config(TASK, CLASS, 4) == EpisodeConfig(8, 24, 32, balanced=True)
  assert sequences.episode_config(TASK, PIECES, 4) == EpisodeConfig(2, 24, 8, balanced=True)
  disjoint = dataclasses.replace(TASK, disjoint_query=True)
  assert sequences.episode_config(disjoint, CLASS, 2).disjoint_query


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'balanced': False}, 'continual_scenario=class_incremental'),
    ({'support_samples': 7}, 'samples_transformer=7'),
    ({'query_samples': 9}, 'eval_batch_size'),
    ({'unlabeled_per_class': 1}, 'unlabeled_samples_per_class=1'),
  ],
)
def test_episodes_that_cannot_be_cut_into_tasks_are_refused(changes: dict, message: str) -> None:
  with pytest.raises(InputError, match=message):
    sequences.episode_config(dataclasses.replace(TASK, **changes), CLASS, 3)


def class_set(classes: int) -> ClassSet:
  images = np.zeros((7 * classes, 4, 4, 1), np.uint8)
  return ClassSet(
    ClassArrays('some', images, 7 * np.arange(classes), np.full(classes, 7)), np.arange(classes)
  )


def test_too_few_classes_are_refused() -> None:
  sequences.require_classes(class_set(6), TASK, CLASS, 3)
  with pytest.raises(InputError, match=r"'some' .*num_tasks=3"):
    sequences.require_classes(class_set(5), TASK, CLASS, 3)
  with pytest.raises(InputError, match=r'fewer tasks \(--eval_num_tasks\)'):
    sequences.require_classes(class_set(5), TASK, CLASS, 3, 'eval_num_tasks')
  sequences.require_classes(class_set(2), TASK, PIECES, 3)
