"""The tf.data pipeline gives what was drawn, augmented alike, from any episode on."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes import pipeline
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.settings.config import AugmentationConfig, EpisodeConfig

CONFIG = EpisodeConfig(
  num_labels=3, support_samples=7, query_samples=10, balanced=True, unlabeled_per_class=1
)
PLAIN = AugmentationConfig()
TURNED = AugmentationConfig(random_rotate_by_90=True, per_label=True)

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope='module')
def sampler(data_folder: pathlib.Path) -> EpisodeSampler:
  return EpisodeSampler(DataFolder(str(data_folder)).open('tiny:4-11'), CONFIG, seed=9, stream=0)


def take(
  sampler: EpisodeSampler,
  first: int,
  count: int,
  augment: AugmentationConfig = PLAIN,
  size: int = 12,
) -> list[Arrays]:
  """Takes the episodes first .. first + count - 1 of a stream."""
  with tf.Graph().as_default():
    stream = pipeline.stream(sampler, augment, size, 'episodes')
    episode = stream.next()
    with tf.Session() as session:
      session.run(stream.initializer, {stream.first: first})
      return [session.run(episode._asdict()) for _ in range(count)]


@pytest.fixture(scope='module')
def turned(sampler: EpisodeSampler) -> list[Arrays]:
  """Takes episodes 0 to 11, more than are drawn at a time."""
  return take(sampler, 0, 12, TURNED)


def raw(images: np.ndarray) -> np.ndarray:
  """Turns normalised images back into uint8."""
  pixels = images * 128.0 + 128.0
  np.testing.assert_array_equal(pixels, np.round(pixels))
  return pixels.astype(np.uint8)


def test_episodes_have_their_shapes_types_and_range(
  turned: list[Arrays], sampler: EpisodeSampler
) -> None:
  image = (12, 12, 1)
  expected = {
    'support_images': (np.float32, (7, *image)),
    'query_images': (np.float32, (10, *image)),
    'support_labels': (np.int32, (7,)),
    'query_labels': (np.int32, (10,)),
    'support_classes': (np.int32, (7,)),
    'query_classes': (np.int32, (10,)),
    'query_in_support': (np.bool_, (10,)),
    'seed': (np.int64, (2,)),
  }
  for episode in turned:
    assert {key: (value.dtype, value.shape) for key, value in episode.items()} == expected
    for key in ('support_images', 'query_images'):
      assert -1.0 <= episode[key].min() < -0.9
      assert 0.9 < episode[key].max() <= 127 / 128
  with tf.Graph().as_default():
    static = pipeline.stream(sampler, TURNED, 12, 'episodes').next()
    assert {key: getattr(static, key).shape.as_list() for key in expected} == {
      key: list(shape) for key, (_, shape) in expected.items()
    }


def test_without_augmentation_the_pixels_are_those_drawn(
  sampler: EpisodeSampler, tiny: np.ndarray
) -> None:
  flat = tiny.reshape(-1, 12, 12, 1)
  for index, episode in enumerate(take(sampler, 0, 3)):
    draw = sampler.draw(index)
    np.testing.assert_array_equal(raw(episode['support_images']), flat[draw.support_rows])
    np.testing.assert_array_equal(raw(episode['query_images']), flat[draw.query_rows])
    np.testing.assert_array_equal(episode['support_labels'], draw.support_labels)
    np.testing.assert_array_equal(episode['query_labels'], draw.query_positions)
    np.testing.assert_array_equal(episode['support_classes'], draw.support_rows // 8)
    np.testing.assert_array_equal(episode['query_classes'], draw.query_rows // 8)
    np.testing.assert_array_equal(episode['query_in_support'], draw.in_support)
    np.testing.assert_array_equal(episode['seed'], draw.seed)


def test_images_are_resized_to_image_size(sampler: EpisodeSampler, tiny: np.ndarray) -> None:
  """At a quarter of the size the old bilinear filter takes every fourth pixel, beginning at 0."""
  (episode,) = take(sampler, 0, 1, size=3)
  flat = tiny.reshape(-1, 12, 12, 1)
  np.testing.assert_array_equal(
    raw(episode['query_images']), flat[sampler.draw(0).query_rows][:, ::4, ::4]
  )


def quarters(images: np.ndarray, originals: np.ndarray) -> list[int]:
  """Says by how many quarter turns each image differs from its original."""
  found = [
    [number for number in range(4) if np.array_equal(np.rot90(original, number), image)]
    for image, original in zip(raw(images), originals, strict=True)
  ]
  assert all(len(numbers) == 1 for numbers in found)
  return [number for (number,) in found]


def turns_by_position(episode: Arrays, draw: Draw, tiny: np.ndarray) -> dict[int, set[int]]:
  flat = tiny.reshape(-1, 12, 12, 1)
  turns: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
  for images, rows, positions in (
    (episode['support_images'], draw.support_rows, draw.support_positions),
    (episode['query_images'], draw.query_rows, draw.query_positions),
  ):
    for position, number in zip(positions, quarters(images, flat[rows]), strict=True):
      turns[position].add(number)
  return turns


def test_turns_per_label_are_those_of_the_class_in_support_and_query(
  turned: list[Arrays], sampler: EpisodeSampler, tiny: np.ndarray
) -> None:
  """Support samples without a label turn with their class, too."""
  together = set()
  for index, episode in enumerate(turned):
    turns = turns_by_position(episode, sampler.draw(index), tiny)
    assert all(len(numbers) == 1 for numbers in turns.values())
    together.add(tuple(numbers.pop() for numbers in turns.values()))
  assert {number for numbers in together for number in numbers} == {0, 1, 2, 3}
  assert any(len(set(numbers)) > 1 for numbers in together)


def assert_same(one: Arrays, other: Arrays) -> None:
  for key, value in one.items():
    assert value.tobytes() == other[key].tobytes(), key


def test_a_stream_can_begin_at_any_episode(turned: list[Arrays], sampler: EpisodeSampler) -> None:
  """Its bytes are those of a stream from 0, augmentation included."""
  for got, expected in zip(take(sampler, 5, 7, TURNED), turned[5:], strict=True):
    assert_same(got, expected)


def test_switchable_takes_from_the_stream_that_is_fed(data_folder: pathlib.Path) -> None:
  folder = DataFolder(str(data_folder))
  with tf.Graph().as_default(), tf.Session() as session:
    streams = [
      pipeline.stream(
        EpisodeSampler(folder.open(classes), CONFIG, 0, number), PLAIN, 12, f'stream_{number}'
      )
      for number, classes in enumerate(['tiny:0-4', 'tiny:20-24'])
    ]
    episode, handle, sources = pipeline.switchable(streams)
    feeds = session.run(sources)
    for stream in streams:
      session.run(stream.initializer, {stream.first: 0})
    first, second = (session.run(episode.support_classes, {handle: feed}) for feed in feeds)
  assert set(first) <= set(range(5))
  assert set(second) <= set(range(20, 25))


def test_episodes_together_are_the_single_ones(sampler: EpisodeSampler) -> None:
  singles = take(sampler, 2, 6)
  with tf.Graph().as_default(), tf.Session() as session:
    stream = pipeline.stream(sampler, PLAIN, 12, 'stream', together=3)
    episodes = stream.next()._asdict()
    session.run(stream.initializer, {stream.first: 2})
    for number in range(2):
      got = session.run(episodes)
      for name, values in got.items():
        np.testing.assert_array_equal(
          values, np.stack([one[name] for one in singles[3 * number : 3 * number + 3]])
        )


def test_either_takes_from_one_of_two(data_folder: pathlib.Path) -> None:
  folder = DataFolder(str(data_folder))
  with tf.Graph().as_default(), tf.Session() as session:
    one, other = (
      pipeline.stream(EpisodeSampler(folder.open(classes), CONFIG, 0, 0), PLAIN, 12, name)
      for name, classes in (('one', 'tiny:0-4'), ('other', 'tiny:20-24'))
    )
    first = tf.placeholder_with_default(False, [])
    episode = pipeline.either(first, one, other)
    for stream in (one, other):
      session.run(stream.initializer, {stream.first: 0})
    taken = [
      session.run(episode.support_classes, feed) for feed in ({first: True}, {first: False}, {})
    ]
  assert [set(classes) <= set(range(5)) for classes in taken] == [True, False, False]
  assert (taken[1] != taken[2]).any()  # the next one


def test_workers_share_the_episodes_of_a_single_process(
  sampler: EpisodeSampler, turned: list[Arrays]
) -> None:
  """Worker w of 3 takes the batches w, w + 3, ... of two episodes each, from any of them on."""
  for worker in range(3):
    with tf.Graph().as_default():
      share = pipeline.Share(worker, 3)
      stream = pipeline.stream(sampler, TURNED, 12, 'shared', together=2, share=share)
      images = stream.next().support_images
      with tf.Session() as session:
        for skipped in (0, 1):
          session.run(stream.initializer, {stream.first: 2 * skipped})
          for batch in range(worker + 3 * skipped, 6, 3):
            for found, expected in zip(session.run(images), turned[2 * batch :], strict=False):
              np.testing.assert_array_equal(found, expected['support_images'])
