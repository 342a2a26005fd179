"""Classes that are in two datasets, and digests that tell when classes have changed."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
from example_files import IMAGES, RAGGED, save_ragged

from hypertransformer.data import class_list, inspection
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.data.folder import DataFolder


def _set(images: np.ndarray, *classes: int, name: str = 'x') -> ClassSet:
  """Makes a choice of classes from images [classes, samples, H, W, C]."""
  count, samples = images.shape[:2]
  arrays = ClassArrays(
    name,
    images.reshape(-1, *images.shape[2:]),
    np.arange(count) * samples,
    np.full(count, samples, np.int64),
  )
  return ClassSet(arrays, np.array(classes or range(count)))


def test_classes_of_one_dataset_are_counted_by_their_places() -> None:
  whole = _set(IMAGES)
  one = dataclasses.replace(whole, classes=np.array([0, 1, 2]))
  other = dataclasses.replace(whole, classes=np.array([3, 2, 1]))
  assert inspection.shared_classes(one, other) == 2
  assert inspection.shared_classes(one, dataclasses.replace(whole, classes=np.array([3]))) == 0


def test_permuted_classes_keep_their_images() -> None:
  whole = _set(IMAGES)
  shuffled = whole.arrays.shuffled(2022)
  old = [list(whole.arrays.starts).index(start) for start in shuffled.starts]
  one, other = ClassSet(whole.arrays, np.array([0])), ClassSet(shuffled, np.array([0, 1]))
  assert inspection.shared_classes(one, other) == (0 in old[:2])
  assert inspection.shared_classes(whole, ClassSet(shuffled, np.arange(4))) == 4


def test_classes_of_two_datasets_are_compared_by_their_images() -> None:
  assert inspection.shared_classes(_set(IMAGES), _set(IMAGES.copy())) == 4
  assert inspection.shared_classes(_set(IMAGES, 0, 1), _set(IMAGES[::-1].copy(), 0, 1, 2)) == 1
  assert inspection.shared_classes(_set(IMAGES), _set(255 - IMAGES)) == 0
  assert inspection.shared_classes(_set(IMAGES), _set(IMAGES[..., :1].copy())) == 0


def test_a_class_with_images_more_is_the_same_class() -> None:
  """Their order does not matter either."""
  assert inspection.shared_classes(_set(IMAGES[:, :1].copy()), _set(IMAGES)) == 4
  assert inspection.shared_classes(_set(IMAGES), _set(IMAGES[:, 1:].copy())) == 4
  assert inspection.shared_classes(_set(IMAGES), _set(IMAGES[:, ::-1].copy())) == 4


def test_a_few_equal_images_make_no_equal_class() -> None:
  images = np.random.default_rng(1).integers(0, 256, (4, 3, 5, 6, 2), dtype=np.uint8)
  images[0, 0] = IMAGES[2, 1]
  assert inspection.shared_classes(_set(IMAGES), _set(images)) == 0


def test_blank_images_make_no_equal_class() -> None:
  black = np.zeros((2, 3, 5, 6, 2), np.uint8)
  assert inspection.shared_classes(_set(black), _set(black.copy())) == 0


def test_of_large_datasets_the_first_images_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(inspection, '_SAMPLE_BYTES', 4 * 60)  # one image of each of four classes
  assert inspection.shared_classes(_set(IMAGES), _set(IMAGES.copy())) == 4
  read = []
  gather = ClassArrays.gather
  monkeypatch.setattr(
    ClassArrays, 'gather', lambda arrays, rows: read.append(len(rows)) or gather(arrays, rows)
  )
  inspection.shared_classes(_set(IMAGES), _set(IMAGES.copy()))
  assert read == [1] * 8


def _named(names: tuple[str, ...], *classes: int) -> ClassSet:
  found = _set(IMAGES, *classes)
  return dataclasses.replace(found, arrays=dataclasses.replace(found.arrays, names=names))


def test_a_digest_is_the_same_for_ever() -> None:
  assert inspection.digest(_set(IMAGES)) == '659c3a5dc555'
  assert inspection.digest(_named(('a', 'b', 'ü', 'd'))) == '659c3a5dc5556f89d9156bd3'


@pytest.mark.parametrize(
  'other',
  [
    _set(IMAGES, 0, 1, 2),
    _set(IMAGES, 1, 0, 2, 3),
    _set(IMAGES[:, :2].copy()),
    _set(np.concatenate([IMAGES, IMAGES[:1]]), 0, 1, 2, 3),  # a class more, which is not used
    _named(('a', 'b', 'c', 'e')),
  ],
)
def test_other_classes_have_another_digest(other: ClassSet) -> None:
  digest = inspection.digest(_named(('a', 'b', 'c', 'd')))
  assert not inspection.same_classes(digest, inspection.digest(other))
  assert not inspection.same_classes(inspection.digest(other), digest)


def test_names_count_only_where_they_are_known() -> None:
  with_names, without = _named(('a', 'b', 'c', 'd')), _set(IMAGES)
  assert inspection.same_classes(inspection.digest(with_names), inspection.digest(without))
  assert inspection.same_classes(inspection.digest(without), inspection.digest(with_names))
  renamed = _named(('a', 'b', 'c', 'other'), 0, 1)
  assert inspection.digest(renamed) == inspection.digest(_named(('a', 'b', 'c', 'd'), 0, 1))


def test_names_come_from_the_class_list(tmp_path: pathlib.Path) -> None:
  save_ragged(tmp_path / 'x')
  np.save(tmp_path / 'y.npy', IMAGES)
  sizes = [len(part) for part in RAGGED]
  plain = inspection.digest(DataFolder(str(tmp_path)).open('x:0-4'))
  class_list.write(
    tmp_path / 'x' / 'classes.csv', [ClassEntry('all', name) for name in 'abcde'], sizes
  )
  class_list.write(
    tmp_path / 'y.classes.csv', [ClassEntry('all', name) for name in 'abcd'], [3] * 4
  )
  found = DataFolder(str(tmp_path)).open('x:0-4')
  assert found.arrays.names == tuple('abcde')
  assert len(plain) == 12
  assert len(inspection.digest(found)) == 24
  assert inspection.same_classes(plain, inspection.digest(found))
  assert DataFolder(str(tmp_path)).open('y:0-3').arrays.names == tuple('abcd')


def test_names_follow_a_permutation() -> None:
  arrays = _named(('a', 'b', 'c', 'd')).arrays
  shuffled = arrays.shuffled(2022)
  for number, name in enumerate(shuffled.names):
    assert arrays.starts['abcd'.index(name)] == shuffled.starts[number]
