"""Sample the images of an episode as indices; no pixel is read here.

See docs/spec/data.md, section 3.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError
from hypertransformer.settings.config import EpisodeConfig

LARGEST_SEED = 2**31


@dataclasses.dataclass(frozen=True)
class Draw:
  """One episode, given by numbers.

  There are Ns support images, and Nq query images for each of the query batches, which come one
  behind the other.

  Attributes:
    classes: [K], the number of each class of the episode in the dataset, by its position.
    support_rows: [Ns], the rows of the support images in ClassArrays.images.
    support_positions: [Ns], the position of each image's class in the episode, 0 to K - 1.
    support_labels: [Ns], the same as the position, or K where the label is hidden.
    query_rows: [query batches * Nq], the rows of the query images.
    query_positions: [query batches * Nq], the position of each image's class, which is its label.
    in_support: bool [query batches * Nq], whether the query image is a support image as well.
    seed: [2], for all that is random later on: augmentation, dropout, hiding of samples.
  """

  classes: np.ndarray
  support_rows: np.ndarray
  support_positions: np.ndarray
  support_labels: np.ndarray
  query_rows: np.ndarray
  query_positions: np.ndarray
  in_support: np.ndarray
  seed: np.ndarray


class EpisodeSampler:
  """Samples the episodes of a stream.

  Episode number i is a pure function of the seed, the stream and i. A run that is stopped and
  started again therefore resumes with the next episodes, and any thread can sample episodes ahead.
  """

  def __init__(
    self,
    class_set: ClassSet,
    config: EpisodeConfig,
    seed: int,
    stream: int,
    query_batches: int = 1,
    evaluation: bool = False,
  ) -> None:
    """Make the sampler of one stream.

    Args:
      class_set: The classes that episodes are sampled from.
      config: How an episode is sampled.
      seed: Seed of the run, 0 or more.
      stream: Number of the stream, such as one for training and one for testing.
      query_batches: How many batches of config.query_samples query images an episode has; they are
        sampled one by one.
      evaluation: Whether every query batch of an unbalanced episode is sampled independently of the
        support set, as the original does in evaluation. In training one batch is cut in two.

    Raises:
      InputError: There are too few classes, or a class has too few images, or the seed is negative.
    """
    self.class_set = class_set
    self.config = config
    self.query_batches = query_batches
    self._evaluation = evaluation
    self._seed = seed, stream
    if seed < 0:
      raise InputError(f'seed is {seed}; it must be 0 or more.')
    _check(class_set, config)

  @property
  def images_per_episode(self) -> int:
    """How many images an episode has, those of all query batches included."""
    return self.config.support_samples + self.query_batches * self.config.query_samples

  def draw(self, index: int) -> Draw:
    """Sample the episode with this number."""
    rng = np.random.default_rng([*self._seed, index])
    chosen = rng.permutation(self.class_set.classes)[: self.config.num_labels]
    sizes = self.class_set.arrays.sizes[chosen]
    if self.config.balanced:
      support, queries = self._balanced(rng, sizes)
    else:
      support, queries = self._unbalanced(rng, sizes)
    return self._numbers(rng, chosen, support, np.concatenate(queries))

  def _balanced(
    self, rng: np.random.Generator, sizes: np.ndarray
  ) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sample the support set and each query batch by themselves: [n, 2] of (position, sample)."""
    config = self.config
    free = np.arange(sizes.max()) < sizes[:, None]
    support = _batch(rng, free, config.support_samples)
    if config.disjoint_query:
      free[tuple(support.T)] = False
    queries = [_batch(rng, free, config.query_samples) for _ in range(self.query_batches)]
    return support, queries

  def _unbalanced(
    self, rng: np.random.Generator, sizes: np.ndarray
  ) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut batches of Ns + Nq images in two, so that the counts of the classes vary by chance.

    The support set is the start of the first batch. In training the query set is the rest of it. In
    evaluation each query batch is the end of a further batch, so it can contain support images.
    Support and query batches are [n, 2] of (position, sample).
    """
    config = self.config
    free = np.arange(sizes.max()) < sizes[:, None]
    both = [
      _batch(rng, free, config.support_samples + config.query_samples)
      for _ in range(self._evaluation + self.query_batches)
    ]
    support = both[0][: config.support_samples]
    queries = both[self._evaluation :]
    if config.disjoint_query:
      queries = [batch[~_contained(batch, support)] for batch in queries]
    return support, [batch[-config.query_samples :] for batch in queries]

  def _numbers(
    self, rng: np.random.Generator, chosen: np.ndarray, support: np.ndarray, query: np.ndarray
  ) -> Draw:
    """Look up rows and labels for support and query images given as (position, sample), [n, 2]."""
    starts = self.class_set.arrays.starts[chosen]
    support_rows = starts[support[:, 0]] + support[:, 1]
    query_rows = starts[query[:, 0]] + query[:, 1]
    labels = np.where(
      _first_of_each(support[:, 0], self.config.unlabeled_per_class),
      self.config.num_labels,
      support[:, 0],
    )
    return Draw(
      chosen,
      support_rows,
      support[:, 0],
      labels,
      query_rows,
      query[:, 0],
      np.isin(query_rows, support_rows),
      rng.integers(LARGEST_SEED, size=2),
    )


def _batch(rng: np.random.Generator, free: np.ndarray, count: int) -> np.ndarray:
  """Sample a batch of images, in random order.

  Each class gives count // K different samples, and each of the first count % K classes one more.

  Args:
    rng: Source of random numbers.
    free: bool [K, size of the largest class], the samples of each class that may be chosen.
    count: How many images to choose.

  Returns:
    int64 [count, 2] of (position of the class, sample of the class).
  """
  each, more = divmod(count, len(free))
  wanted = np.full(len(free), each) + (np.arange(len(free)) < more)
  # The samples with the smallest random keys are a random choice. Those that are not free have
  # the largest key, and come last.
  order = np.where(free, rng.random(free.shape), 2.0).argsort(axis=1)[:, : each + 1]
  position, rank = np.nonzero(
    np.arange(order.shape[1]) < np.minimum(wanted, free.sum(axis=1))[:, None]
  )
  return rng.permutation(np.stack([position, order[position, rank]], axis=1))


def _contained(pairs: np.ndarray, others: np.ndarray) -> np.ndarray:
  """Says which of the pairs [n, 2] are among the others [m, 2]; bool [n]."""
  return (pairs[:, None] == others[None]).all(-1).any(-1)


def _first_of_each(positions: np.ndarray, count: int) -> np.ndarray:
  """Return for each image whether it is one of the first `count` of its class; bool [n]."""
  hidden: np.ndarray = np.zeros(len(positions), bool)
  for position in np.unique(positions) if count else ():
    hidden[np.flatnonzero(positions == position)[:count]] = True
  return hidden


def _check(class_set: ClassSet, config: EpisodeConfig) -> None:
  """Raise InputError if there are too few classes, or too few images in one of them."""
  classes, sizes = class_set.classes, class_set.arrays.sizes[class_set.classes]
  if len(classes) < config.num_labels:
    raise InputError(
      f'dataset {class_set.name!r} is used with {len(classes)} classes, but an episode needs '
      f'num_labels={config.num_labels}: give more labels or a smaller --num_labels.'
    )
  together = not config.balanced or config.disjoint_query
  needed = _per_class(config, together)
  short = classes[sizes < needed]
  if len(short):
    both = 'support and query together' if together else 'the larger of support and query'
    concerned = DatasetSpec(class_set.name, tuple(sorted(short.tolist())))
    raise InputError(
      f'classes {concerned} have too few images, at least {sizes.min()}; an episode needs {needed} '
      f'of each ({both}): give a smaller --samples_cnn (in evaluation --eval_batch_size) or '
      '--samples_transformer, or leave these classes out.'
    )


def _per_class(config: EpisodeConfig, together: bool) -> int:
  """Return how many different images an episode may need of one class.

  Args:
    config: How an episode is sampled.
    together: Whether support and query must have different images, so that their numbers add up.
  """
  if not config.balanced:
    return -(-(config.support_samples + config.query_samples) // config.num_labels)
  parts = [
    -(-count // config.num_labels) for count in (config.support_samples, config.query_samples)
  ]
  return sum(parts) if together else max(parts)
