"""Images that occur twice, compared with what a comparison of every pair finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hypertransformer.data import inspection
from hypertransformer.data.arrays import ClassArrays


def _arrays(classes: list[list[int]], shape: tuple[int, int, int] = (2, 3, 1)) -> ClassArrays:
  """Makes a dataset with an image for each number; equal numbers give equal images."""
  images = np.stack(
    [
      np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
      for number in itertools.chain(*classes)
    ]
  )
  sizes = np.array([len(cls) for cls in classes])
  return ClassArrays('x', images, np.cumsum(sizes) - sizes, sizes)


def _find(classes: list[list[int]], splits: list[str]) -> inspection.Duplicates:
  found = _arrays(classes)
  return inspection.find_twins(inspection.scan(found).hashes, found.sizes, splits)


def test_without_twins_nothing_is_counted() -> None:
  assert _find([[1, 2], [3], [4, 5]], ['a', 'a', 'b']) == inspection.Duplicates(0, 0, {}, ())


def test_twins_in_a_class_between_classes_and_across_splits() -> None:
  classes = [[1, 2, 1], [3, 4], [5, 3, 6], [7, 6, 8], [8, 9]]
  found = _find(classes, ['train', 'train', 'train', 'test', ''])
  assert found.in_class == 2
  assert found.between_classes == 2
  assert found.across == {('train', 'test'): 2, ('test', ''): 2}
  assert found.examples == (((2, 2), (3, 1)), ((3, 2), (4, 0)), ((0, 0), (0, 2)), ((1, 0), (2, 1)))


@pytest.mark.parametrize('seed', range(5))
def test_the_counts_are_those_of_a_comparison_of_every_pair(seed: int) -> None:
  rng = np.random.default_rng(seed)
  classes = [rng.integers(0, 40, rng.integers(1, 9)).tolist() for _ in range(8)]
  splits = [str(split) for split in rng.choice(['a', 'b', 'c'], 8)]
  order = tuple(dict.fromkeys(splits))
  images = [(number, cls, splits[cls]) for cls, numbers in enumerate(classes) for number in numbers]
  in_class, between, across = set(), set(), set()
  for i, j in itertools.permutations(range(len(images)), 2):
    (one, cls, split), (other, other_cls, other_split) = images[i], images[j]
    if one == other and cls == other_cls:
      in_class.add(i)
    elif one == other and split == other_split:
      between.add(i)
    elif one == other:
      across.add((tuple(sorted((split, other_split), key=order.index)), i))
  found = _find(classes, splits)
  assert (found.in_class, found.between_classes) == (len(in_class), len(between))
  assert sum(found.across.values()) == len(across)
  for pair, count in found.across.items():
    assert count == sum(key == pair for key, _ in across)


def test_a_scan_in_blocks_sees_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(inspection, '_BLOCK_BYTES', 13)  # two images at a time
  found = _arrays([[1, 2, 3], [4], [2, 1, 5, 4, 1]])
  found.images[2] = 7
  scan = inspection.scan(found)
  assert scan.blank == 1
  assert (scan.low, scan.high) == (found.images.min(), found.images.max())
  assert [scan.hashes[0] == other for other in scan.hashes] == [i in (0, 5, 8) for i in range(9)]
  assert len(set(scan.hashes.tolist())) == 5


def test_scan_follows_the_order_of_classes() -> None:
  """After a permutation of the classes, rows no longer ascend with class numbers."""
  found = _arrays([[1], [2, 3], [4, 5, 6]])
  plain, shuffled = inspection.scan(found).hashes, inspection.scan(found.shuffled(3)).hashes
  rows = np.concatenate(
    [found.shuffled(3).rows(cls, range(size)) for cls, size in enumerate(found.shuffled(3).sizes)]
  )
  assert rows.tolist() != sorted(rows)
  np.testing.assert_array_equal(shuffled, plain[rows])
