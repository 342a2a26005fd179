"""Which images an episode is made of.

Tested are counts, overlap of support and query, repeatability, and what is refused.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.settings.config import EpisodeConfig

SIZES = np.array([8, 9, 7, 8, 10, 12, 8, 9, 8, 8])
CLASSES = np.array([1, 3, 4, 5, 7, 8])  # in use: not all, not the first


def class_set(sizes: np.ndarray = SIZES, classes: np.ndarray = CLASSES) -> ClassSet:
  images = np.zeros((sizes.sum(), 2, 2, 1), np.uint8)
  return ClassSet(ClassArrays('tiny', images, np.cumsum(sizes) - sizes, sizes), classes)


def sampler(
  query_batches: int = 1, seed: int = 3, stream: int = 0, **changes: Any
) -> EpisodeSampler:
  config = EpisodeConfig(num_labels=3, support_samples=7, query_samples=11, balanced=True)
  return EpisodeSampler(
    class_set(), dataclasses.replace(config, **changes), seed, stream, query_batches
  )


def class_of_row(row: int) -> int:
  """Finds the class of a row by counting, independently of `starts`."""
  return int(np.repeat(np.arange(len(SIZES)), SIZES)[row])


def draws(of: EpisodeSampler, count: int = 30) -> list[Draw]:
  return [of.draw(index) for index in range(count)]


def counts(positions: np.ndarray) -> list[int]:
  return [int((positions == position).sum()) for position in range(3)]


def test_balanced_counts_are_the_quotient_and_the_first_classes_have_one_more() -> None:
  for draw in draws(sampler()):
    assert counts(draw.support_positions) == [3, 2, 2]
    assert counts(draw.query_positions) == [4, 4, 3]


def test_rows_belong_to_the_class_at_their_position() -> None:
  for draw in draws(sampler()):
    assert len(set(draw.classes)) == 3
    assert set(draw.classes) <= set(CLASSES)
    for rows, positions in (
      (draw.support_rows, draw.support_positions),
      (draw.query_rows, draw.query_positions),
    ):
      assert [class_of_row(row) for row in rows] == list(draw.classes[positions])


@pytest.mark.parametrize('balanced', [True, False])
def test_samples_are_drawn_without_replacement(balanced: bool) -> None:
  for draw in draws(sampler(balanced=balanced)):
    assert len(set(draw.support_rows)) == 7
    assert len(set(draw.query_rows)) == 11


def test_labels_are_the_places_of_the_classes_in_drawn_order() -> None:
  """The order is not sorted: each class gets each label."""
  labels_of = collections.defaultdict(set)
  for draw in draws(sampler(), 100):
    for position, cls in enumerate(draw.classes):
      labels_of[cls].add(position)
    np.testing.assert_array_equal(draw.support_labels, draw.support_positions)
  assert labels_of == {cls: {0, 1, 2} for cls in CLASSES}


def test_every_class_and_every_sample_is_drawn_equally_often() -> None:
  times: collections.Counter[int] = collections.Counter()
  for draw in draws(sampler(support_samples=3, query_samples=3), 6000):
    times.update(draw.query_rows.tolist())
  drawn = [
    sum(times[row] for row in range(sum(SIZES)) if class_of_row(row) == cls) for cls in CLASSES
  ]
  np.testing.assert_allclose(drawn, 3000, atol=4 * np.sqrt(3000))
  of_a_class = [times[row] for row in range(sum(SIZES)) if class_of_row(row) == 5]
  np.testing.assert_allclose(of_a_class, 3000 / 12, atol=5 * np.sqrt(250))


def test_balanced_support_and_query_are_drawn_apart_and_overlap_as_often_as_chance() -> None:
  """A query image of a class with n images is a support image with the probability shots / n.

  In 1-shot tasks of Omniglot, with n = 20, this is 5 %.
  """
  classes = np.arange(4)
  config = EpisodeConfig(num_labels=4, support_samples=4, query_samples=12, balanced=True)
  omniglot_like = EpisodeSampler(class_set(np.full(4, 20), classes), config, 0, 0)
  share = np.mean([omniglot_like.draw(index).in_support.mean() for index in range(2000)])
  assert share == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize('query_batches', [1, 3])
def test_in_support_marks_the_query_images_that_are_support_images(
  balanced: bool, query_batches: int
) -> None:
  for draw in draws(sampler(query_batches, balanced=balanced)):
    support = set(draw.support_rows.tolist())
    assert draw.in_support.tolist() == [row in support for row in draw.query_rows.tolist()]


def test_unbalanced_is_one_batch_cut_in_two() -> None:
  """The two are disjoint. Their counts together are balanced, those of each vary by chance."""
  found = draws(sampler(balanced=False))
  for draw in found:
    assert not draw.in_support.any()
    assert not set(draw.support_rows) & set(draw.query_rows)
    assert counts(np.concatenate([draw.support_positions, draw.query_positions])) == [6, 6, 6]
  assert len({tuple(counts(draw.support_positions)) for draw in found}) > 3


def test_unbalanced_query_batches_of_evaluation_are_sampled_independently_of_the_support() -> None:
  """Every batch, the first too, contains support images at random, as in the original.

  Four classes of seven images: a batch of 7 + 11 images has 5, 5, 4 and 4 of them, so a query
  image is a support image with probability sum(n^2) / 18^2 = 82 / 324. The mean of 400 tasks is
  within 5 standard errors of it (false-alarm rate 6e-7 for each of the four batches). The original
  has recorded means of 0.249 to 0.255; the histogram of support images per batch is compared with
  its own by a chi-square test (7 degrees of freedom, 29.9: false-alarm rate 1e-4).
  """
  config = EpisodeConfig(num_labels=4, support_samples=7, query_samples=11)
  classes = class_set(np.full(10, 7), np.arange(10))
  of = EpisodeSampler(classes, config, seed=3, stream=2, query_batches=4, evaluation=True)
  found = np.stack([draw.in_support.reshape(4, 11) for draw in draws(of, 400)])
  for fractions in found.mean(axis=2).T:
    error = fractions.std() / np.sqrt(len(fractions))
    assert abs(fractions.mean() - 82 / 324) < 5 * error
  golden = pathlib.Path(__file__).parents[3] / 'shared/golden/unbalanced_evaluation.npz'
  if not golden.exists():
    pytest.skip(f'{golden} is not there; compared with the expected probability only')
  recorded = np.load(golden)
  keys = {name: recorded[name][..., 0] * 100 + recorded[name][..., 1] for name in 'SQ'}
  theirs = (keys['Q'][..., None] == keys['S'][:, None, None, :]).any(-1)
  counts = [np.bincount(np.minimum(of.sum(-1).ravel(), 7), minlength=8) for of in (found, theirs)]
  chi_square = sum((a - b) ** 2 / (a + b) for a, b in zip(*counts, strict=True) if a + b)
  assert chi_square < 29.9


def test_unbalanced_support_of_evaluation_may_be_disjoint() -> None:
  config = EpisodeConfig(num_labels=3, support_samples=7, query_samples=11, disjoint_query=True)
  for draw in draws(EpisodeSampler(class_set(), config, 3, 0, 1, evaluation=True)):
    assert not draw.in_support.any()


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize('query_batches', [1, 4])
def test_disjoint_query_has_no_support_image(balanced: bool, query_batches: int) -> None:
  chosen = sampler(query_batches, balanced=balanced, disjoint_query=True, query_samples=8)
  for draw in draws(chosen):
    assert not draw.in_support.any()
    assert not set(draw.support_rows) & set(draw.query_rows)
    assert len(draw.query_rows) == query_batches * 8
    for batch in draw.query_rows.reshape(query_batches, 8):
      assert len(set(batch)) == 8


def test_query_batches_are_drawn_one_by_one() -> None:
  """Each is balanced and has no image twice; between batches images repeat."""
  repeated = False
  for draw in draws(sampler(3)):
    batches = draw.query_rows.reshape(3, 11)
    for rows, positions in zip(batches, draw.query_positions.reshape(3, 11), strict=True):
      assert len(set(rows)) == 11
      assert counts(positions) == [4, 4, 3]
    repeated |= len(set(draw.query_rows)) < 33
  assert repeated
  assert sampler(3).images_per_episode == 7 + 3 * 11


def test_unlabelled_are_the_first_support_samples_of_each_class() -> None:
  for draw in draws(sampler(support_samples=10, unlabeled_per_class=2)):
    seen: collections.Counter[int] = collections.Counter()
    for position, label in zip(draw.support_positions, draw.support_labels, strict=True):
      assert label == (3 if seen[position] < 2 else position)
      seen[position] += 1
    assert (draw.query_positions < 3).all()


def same(one: Draw, other: Draw) -> bool:
  return all(
    np.array_equal(getattr(one, field.name), getattr(other, field.name))
    for field in dataclasses.fields(Draw)
  )


def test_an_episode_is_a_function_of_seed_stream_and_number() -> None:
  again = sampler()
  later_first = {index: again.draw(index) for index in reversed(range(5))}
  for index, draw in enumerate(draws(sampler(), 5)):
    assert same(draw, later_first[index])
    assert not same(draw, sampler(seed=4).draw(index))
    assert not same(draw, sampler(stream=1).draw(index))
  assert not same(later_first[0], later_first[1])


def test_seeds_of_any_size_are_taken_and_a_negative_one_is_refused() -> None:
  sampler(seed=2**62).draw(0)
  with pytest.raises(InputError, match=r'^seed is -1; it must be 0 or more'):
    sampler(seed=-1)


def test_too_few_classes_are_refused() -> None:
  config = EpisodeConfig(num_labels=7, support_samples=7, query_samples=7, balanced=True)
  with pytest.raises(InputError, match=r"'tiny' .*num_labels=7"):
    EpisodeSampler(class_set(), config, 0, 0)


@pytest.mark.parametrize(
  'changes',
  [
    {'query_samples': 25},
    {'support_samples': 25},
    {'query_samples': 16, 'disjoint_query': True},
    {'query_samples': 18, 'balanced': False},
  ],
)
def test_too_few_samples_are_refused(changes: dict[str, Any]) -> None:
  with pytest.raises(
    InputError, match=r'tiny:3,8 have too few images, at least 8.* needs 9 .*--samples_cnn'
  ):
    sampler(**changes)
