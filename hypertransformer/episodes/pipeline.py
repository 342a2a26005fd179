"""The tf.data pipeline: drawing, reading and augmenting episodes, ahead of the training step.

A few episodes at a time are drawn and read (NumPy, in a thread of tf.data); pixels are uint8 until
the last stage of the pipeline makes floats of one episode.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.settings.data_config import AugmentationConfig

# There is no Python control flow on tensors to rewrite, and looking for it takes seconds.
_as_it_is = tf.autograph.experimental.do_not_convert

AT_A_TIME = 8  # episodes per call of Python, if small: its fixed cost is worth spreading
PREFETCHED = 4
LAST_EPISODE = 2**62
LARGE_BYTES = 1 << 25  # of pixels, above which fewer episodes wait in memory


@dataclasses.dataclass(frozen=True)
class Episode:
  """One episode as tensors.

  support_images float32 [Ns, S, S, C], query_images [Nq, S, S, C], in [-1, 0.992] (uint8 / 128 -
  1); support_labels int32 [Ns] in 0..K, K = no label; query_labels int32 [Nq] in 0..K-1;
  support_classes, query_classes int32: real class numbers; query_in_support bool [Nq]: whether the
  query image is a support image too; seed int64 [2]: for dropout and sample removal.
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
class EpisodeStream:
  """An endless stream of episodes. Run `initializer` with `first` fed: the number of the episode to
  begin with.

  together: how many episodes `next` takes. If more than one, its tensors have them as their first
    axis.
  """

  iterator: tf.data.Iterator
  initializer: tf.Operation
  first: tf.Tensor
  together: int = 1

  def next(self) -> Episode:
    """The op that takes the next episode (or episodes)."""
    return Episode(**self.iterator.get_next())


def stream(
  sampler: EpisodeSampler,
  augment: AugmentationConfig,
  image_size: int,
  name: str,
  together: int = 1,
) -> EpisodeStream:
  """A stream in the current graph. name: of its ops. together: see EpisodeStream."""
  size = sampler.images_per_episode * int(np.prod(sampler.class_set.arrays.image_shape))
  at_a_time = int(np.clip(LARGE_BYTES // size, 1, AT_A_TIME))
  with tf.name_scope(name):
    first = tf.placeholder(tf.int64, [], 'first')
    dataset = tf.data.Dataset.range(first, LAST_EPISODE, at_a_time)
    dataset = dataset.map(_as_it_is(lambda index: _chunk(sampler, index, at_a_time)))
    dataset = dataset.unbatch()
    dataset = dataset.map(
      _as_it_is(lambda drawn: _finish(drawn, augment, image_size)), num_parallel_calls=1
    )
    if together > 1:
      dataset = dataset.batch(together, drop_remainder=True)
    dataset = dataset.prefetch(int(np.clip(LARGE_BYTES // size, 1, PREFETCHED)))
    iterator = tf.data.make_initializable_iterator(dataset.with_options(_options()))
    return EpisodeStream(iterator, iterator.initializer, first, together)


def switchable(streams: list[EpisodeStream]) -> tuple[Episode, tf.Tensor, list[tf.Tensor]]:
  """One episode from any of several streams of equal shapes.

  Returns (the episode, the placeholder to feed, what to feed it with for each stream: run these
  first).
  """
  handle = tf.placeholder(tf.string, [], 'stream')
  return _of_handle(handle, streams[0]), handle, [each.iterator.string_handle() for each in streams]


def either(first: tf.Tensor, one: EpisodeStream, other: EpisodeStream) -> Episode:
  """An episode of `one` in a run where `first` (bool) is true, otherwise of `other`; the shapes are
  equal.
  """
  handle = tf.where(first, one.iterator.string_handle(), other.iterator.string_handle())
  return _of_handle(handle, one)


def _of_handle(handle: tf.Tensor, like: EpisodeStream) -> Episode:
  types, shapes = tf.data.get_output_types(like.iterator), tf.data.get_output_shapes(like.iterator)
  return Episode(**tf.data.Iterator.from_string_handle(handle, types, shapes).get_next())


def _options() -> tf.data.Options:
  """No autotuning: there is nothing to tune, and closing a session would wait up to a minute for
  its thread.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return options


def _chunk(sampler: EpisodeSampler, start: tf.Tensor, count: int) -> dict[str, tf.Tensor]:
  """Episodes start .. start + count - 1, one behind the other."""
  signature = _signature(sampler, count)

  def read(index: int) -> list[np.ndarray]:
    drawn = [_read(sampler, int(index) + number) for number in range(count)]
    return [np.stack([one[key] for one in drawn]) for key in signature]

  tensors = tf.numpy_function(read, [start], [spec.dtype for spec in signature.values()])
  return {
    key: tf.ensure_shape(tensor, signature[key].shape)
    for key, tensor in zip(signature, tensors, strict=True)
  }


def _read(sampler: EpisodeSampler, index: int) -> dict[str, np.ndarray]:
  """Draws an episode and reads its images (uint8)."""
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
  """Augments and normalises: support and query by one plan, photographs each by its own."""
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
