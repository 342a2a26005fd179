"""Which images an episode is made of (spec/data.md section 3). Numbers only: no pixel is read here."""

from __future__ import annotations

import dataclasses

import numpy as np

from hypertransformer.datasets.arrays import ClassSet
from hypertransformer.errors import InputError
from hypertransformer.settings.data_config import EpisodeConfig

LARGEST_SEED = 2**31


@dataclasses.dataclass(frozen=True)
class Draw:
  """One episode by numbers. n = Ns for the support, query batches * Nq for the query.

  rows [n]: rows of ClassArrays.images; positions [n]: place of the image's class in the episode,
  0..K-1;
  support_labels [Ns]: the positions, or K where the label is hidden; in_support [n of query]:
  whether the query image is one of the support images; seed [2]: for everything random that follows
  (augmentation, dropout).
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
  """Draws episodes. Episode i of a stream is a pure function of (seed, stream, i): a resumed run
  goes on exactly where it was, and episodes can be drawn ahead by any thread.
  """

  def __init__(
    self, class_set: ClassSet, config: EpisodeConfig, seed: int, stream: int, query_batches: int = 1
  ) -> None:
    """query_batches: batches of config.query_samples query images per episode, drawn one by one.

    Raises InputError where the data has too few classes or too few samples per class.
    """
    self.class_set = class_set
    self.config = config
    self.query_batches = query_batches
    self._seed = seed, stream
    if seed < 0:
      raise InputError(f'seed is {seed}; it must be 0 or more.')
    _check(class_set, config)

  @property
  def images_per_episode(self) -> int:
    return self.config.support_samples + self.query_batches * self.config.query_samples

  def draw(self, index: int) -> Draw:
    """Episode number `index`."""
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
    """Support and query batches [n, 2] of (position, sample), drawn apart from each other."""
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
    """One batch of Ns + Nq cut in two: class counts vary by chance. Each further query batch is cut
    off the end of another such batch.
    """
    config = self.config
    free = np.arange(sizes.max()) < sizes[:, None]
    both = [
      _batch(rng, free, config.support_samples + config.query_samples)
      for _ in range(self.query_batches)
    ]
    support = both[0][: config.support_samples]
    if config.disjoint_query:
      both = [batch[~_contained(batch, support)] for batch in both]
    return support, [batch[-config.query_samples :] for batch in both]

  def _numbers(
    self, rng: np.random.Generator, chosen: np.ndarray, support: np.ndarray, query: np.ndarray
  ) -> Draw:
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
  """int64 [count, 2] of (position, sample), shuffled: count // K samples of each class without
  replacement, the first count % K classes one more.

  free: bool [K, largest class], the samples of each class that may be drawn.
  """
  each, more = divmod(count, len(free))
  wanted = np.full(len(free), each) + (np.arange(len(free)) < more)
  # The smallest of random keys are a random choice; a sample that is not free comes last.
  order = np.where(free, rng.random(free.shape), 2.0).argsort(axis=1)[:, : each + 1]
  position, rank = np.nonzero(
    np.arange(order.shape[1]) < np.minimum(wanted, free.sum(axis=1))[:, None]
  )
  return rng.permutation(np.stack([position, order[position, rank]], axis=1))


def _contained(pairs: np.ndarray, others: np.ndarray) -> np.ndarray:
  """bool [n]: which of the pairs [n, 2] are among the others [m, 2]."""
  return (pairs[:, None] == others[None]).all(-1).any(-1)


def _first_of_each(positions: np.ndarray, count: int) -> np.ndarray:
  """bool [n]: whether this is one of the first `count` images of its class."""
  hidden: np.ndarray = np.zeros(len(positions), bool)
  for position in np.unique(positions) if count else ():
    hidden[np.flatnonzero(positions == position)[:count]] = True
  return hidden


def _check(class_set: ClassSet, config: EpisodeConfig) -> None:
  classes, sizes = class_set.classes, class_set.arrays.sizes[class_set.classes]
  if len(classes) < config.num_labels:
    raise InputError(
      f'dataset {class_set.name!r} is used with {len(classes)} classes, but an episode needs '
      f'num_labels={config.num_labels}: give more labels or a smaller --num_labels.'
    )
  together = not config.balanced or config.disjoint_query
  needed = _per_class(config, together)
  if sizes.min() < needed:
    cls = classes[sizes.argmin()]
    both = 'support and query together' if together else 'the larger of support and query'
    raise InputError(
      f'dataset {class_set.name!r}: class {cls} has {sizes.min()} samples, but an episode needs '
      f'{needed} per class ({both}): ask for fewer samples or leave the class out.'
    )


def _per_class(config: EpisodeConfig, together: bool) -> int:
  if not config.balanced:
    return -(-(config.support_samples + config.query_samples) // config.num_labels)
  parts = [
    -(-count // config.num_labels) for count in (config.support_samples, config.query_samples)
  ]
  return sum(parts) if together else max(parts)
