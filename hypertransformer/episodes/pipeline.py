"""The tf.data pipeline: it samples, reads and augments episodes ahead of the training step.

A few episodes at a time are sampled and read with NumPy, in a thread of tf.data. Pixels are uint8
until the last stage of the pipeline, which makes float32 of one episode at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.settings.config import AugmentationConfig

# Keeps AutoGraph away: there is no Python control flow on tensors to rewrite, and the search for it
# takes seconds.
_as_it_is = tf.autograph.experimental.do_not_convert

AT_A_TIME = 8  # episodes that one call of Python samples, as a call has a fixed cost
PREFETCHED = 4  # episodes that wait for the training step
LAST_EPISODE = 2**62
LARGE_BYTES = 1 << 25  # if AT_A_TIME or PREFETCHED episodes have more pixels than this, fewer wait


class Episode(NamedTuple):
  """One episode as tensors. Images are S x S pixels of C channels, value / 128 - 1.

  Attributes:
    support_images: float32 [Ns, S, S, C], from -1 to 0.992.
    support_labels: int32 [Ns], 0 to K - 1, or K for a label that is hidden.
    support_classes: int32 [Ns], the number of each image's class in the dataset.
    query_images: float32 [Nq, S, S, C]; in evaluation all query batches, one behind the other.
    query_labels: int32 [Nq], 0 to K - 1.
    query_classes: int32 [Nq], the number of each image's class in the dataset.
    query_in_support: bool [Nq], whether the query image is a support image as well.
    seed: int64 [2], for dropout and for hiding support samples.
  """

  support_images: tf.Tensor
  support_labels: tf.Tensor
  support_classes: tf.Tensor
  query_images: tf.Tensor
  query_labels: tf.Tensor
  query_classes: tf.Tensor
  query_in_support: tf.Tensor
  seed: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Share:
  """Which of the episodes of a seed one of several workers takes.

  A batch is what `EpisodeStream.next` takes at a time. Worker w of W takes the batches w, w + W,
  w + 2 W and so on of those that a single process would take one after another.

  Attributes:
    worker: w, from 0.
    workers: W.
    synchronous: Whether each update takes one batch of every worker, and not of only one of them.
  """

  worker: int = 0
  workers: int = 1
  synchronous: bool = False

  def taken(self, step: int) -> int:
    """Return how many batches this worker has taken after `step` updates by all together.

    Updates that are not synchronous are counted as if the workers had taken turns.
    """
    if self.synchronous:
      return step
    return (step - self.worker + self.workers - 1) // self.workers

  def number(self, position: int, together: int) -> int:
    """Return the number of an episode, from its position among those of this worker.

    Args:
      position: How many episodes this worker takes before it.
      together: Episodes of a batch.
    """
    batch, within = divmod(position, together)
    return (batch * self.workers + self.worker) * together + within


ALONE = Share()  # of a single process, which takes all episodes


@dataclasses.dataclass(frozen=True)
class EpisodeStream:
  """An endless stream of episodes.

  Attributes:
    iterator: The iterator of the tf.data pipeline.
    initializer: The op to run before the first episode is taken, with `first` fed.
    first: Placeholder, the number of the episode to begin with. If episodes are shared, only those
      of this worker are counted.
    together: How many episodes `next` takes. If these are more than one, they are the first axis of
      its tensors.
    share: Which episodes these are, if several workers share those of a seed.
  """

  iterator: tf.data.Iterator
  initializer: tf.Operation
  first: tf.Tensor
  together: int = 1
  share: Share = ALONE

  def next(self) -> Episode:
    """Build the op that takes the next episode, or the next `together` episodes."""
    return Episode(**self.iterator.get_next())


def stream(
  sampler: EpisodeSampler,
  augment: AugmentationConfig,
  image_size: int,
  name: str,
  together: int = 1,
  share: Share = ALONE,
) -> EpisodeStream:
  """Build a stream of episodes in the current graph.

  Args:
    sampler: Samples the episodes.
    augment: How images are changed at random.
    image_size: S, the side of images in pixels.
    name: Name scope of the ops.
    together: How many episodes are taken at a time, see `EpisodeStream`.
    share: Which episodes these are, if several workers share those of a seed.
  """
  size = sampler.images_per_episode * int(np.prod(sampler.class_set.arrays.image_shape))
  at_a_time = int(np.clip(LARGE_BYTES // size, 1, AT_A_TIME))
  with tf.name_scope(name):
    first = tf.placeholder(tf.int64, [], 'first')
    dataset = tf.data.Dataset.range(first, LAST_EPISODE, at_a_time)
    dataset = dataset.map(
      _as_it_is(
        lambda start: _chunk(sampler, start, at_a_time, lambda place: share.number(place, together))
      )
    )
    dataset = dataset.unbatch()
    dataset = dataset.map(
      _as_it_is(lambda drawn: _finish(drawn, augment, image_size)), num_parallel_calls=1
    )
    if together > 1:
      dataset = dataset.batch(together, drop_remainder=True)
    dataset = dataset.prefetch(int(np.clip(LARGE_BYTES // size, 1, PREFETCHED)))
    iterator = tf.data.make_initializable_iterator(dataset.with_options(_options()))
    return EpisodeStream(iterator, iterator.initializer, first, together, share)


def switchable(streams: list[EpisodeStream]) -> tuple[Episode, tf.Tensor, list[tf.Tensor]]:
  """Build an episode that comes from any one of several streams of equal shapes.

  Returns:
    The episode, a string placeholder that chooses the stream, and for each stream the tensor whose
    value chooses it (run these first).
  """
  handle = tf.placeholder(tf.string, [], 'stream')
  return _of_handle(handle, streams[0]), handle, [each.iterator.string_handle() for each in streams]


def either(first: tf.Tensor, one: EpisodeStream, other: EpisodeStream) -> Episode:
  """Build an episode that comes from one of two streams of equal shapes.

  Args:
    first: bool []. Where it is true in a run, the episode comes from `one`, otherwise from `other`.
    one: A stream.
    other: The other one.
  """
  handle = tf.where(first, one.iterator.string_handle(), other.iterator.string_handle())
  return _of_handle(handle, one)


def _of_handle(handle: tf.Tensor, like: EpisodeStream) -> Episode:
  """Build the op that takes an episode from the stream with this string handle."""
  types, shapes = tf.data.get_output_types(like.iterator), tf.data.get_output_shapes(like.iterator)
  return Episode(**tf.data.Iterator.from_string_handle(handle, types, shapes).get_next())


def _options() -> tf.data.Options:
  """Turn autotuning off.

  There is nothing to tune, and to close a session would take up to a minute, until its thread ends.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return options


def _chunk(
  sampler: EpisodeSampler, start: tf.Tensor, count: int, number: Callable[[int], int]
) -> dict[str, tf.Tensor]:
  """Sample and read `count` episodes, from position `start` on, as tensors [count, ...].

  `number` gives the number of an episode from its position in the stream.
  """
  signature = _signature(sampler, count)

  def read(index: int) -> list[np.ndarray]:
    drawn = [_read(sampler, number(place)) for place in range(int(index), int(index) + count)]
    return [np.stack([one[key] for one in drawn]) for key in signature]

  tensors = tf.numpy_function(read, [start], [each.dtype for each in signature.values()])
  return {
    key: tf.ensure_shape(tensor, signature[key].shape)
    for key, tensor in zip(signature, tensors, strict=True)
  }


def _read(sampler: EpisodeSampler, index: int) -> dict[str, np.ndarray]:
  """Sample an episode and read its images, uint8, support before query."""
  draw = sampler.draw(index)
  return {
    'images': sampler.class_set.arrays.gather(np.concatenate([draw.support_rows, draw.query_rows])),
    'support_positions': draw.support_positions.astype(np.int32),
    'support_labels': draw.support_labels.astype(np.int32),
    'support_classes': draw.classes[draw.support_positions].astype(np.int32),
    'query_labels': draw.query_positions.astype(np.int32),
    'query_classes': draw.classes[draw.query_positions].astype(np.int32),
    'query_in_support': draw.in_support,
    'seed': draw.seed,
  }


def _signature(sampler: EpisodeSampler, at_a_time: int) -> dict[str, Any]:
  """Return the shapes and types of the result of `_chunk`."""
  image = sampler.class_set.arrays.image_shape
  support = sampler.config.support_samples
  query = sampler.config.query_samples * sampler.query_batches
  shapes = {
    'images': (tf.uint8, (support + query, *image)),
    'support_positions': (tf.int32, (support,)),
    'support_labels': (tf.int32, (support,)),
    'support_classes': (tf.int32, (support,)),
    'query_labels': (tf.int32, (query,)),
    'query_classes': (tf.int32, (query,)),
    'query_in_support': (tf.bool, (query,)),
    'seed': (tf.int64, (2,)),
  }
  return {key: tf.TensorSpec((at_a_time, *shape), dtype) for key, (dtype, shape) in shapes.items()}


def _finish(
  drawn: dict[str, tf.Tensor], config: AugmentationConfig, image_size: int
) -> dict[str, tf.Tensor]:
  """Augment and normalize the images of an episode.

  Support and query images share a plan, but have photographic changes of their own.
  """
  positions = drawn.pop('support_positions')
  images = augmentation.augment(
    drawn.pop('images'),
    tf.concat([positions, drawn['query_labels']], 0),
    config,
    image_size,
    drawn['seed'],
  )
  support, query = tf.split(images, [positions.shape[0], -1])
  support_seed, query_seed = tf.unstack(tf.random.experimental.stateless_split(drawn['seed'], 2))
  return {
    **drawn,
    'support_images': augmentation.photograph(support, config, support_seed),
    'query_images': augmentation.photograph(query, config, query_seed),
  }
