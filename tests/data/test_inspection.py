"""The report about datasets of every layout, and the comparisons of classes."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
from example_files import IMAGES

from hypertransformer.converters import image_folder
from hypertransformer.data import inspection
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.data.images import Form
from hypertransformer.errors import InputError

RNG = np.random.default_rng(0)
SIZES = (7, 9, 8, 30, 6, 6)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data folder with the dataset cub, whose train split has the classes a-d and test has e, f.

  Image 3 of the class e is image 1 of the class b, image 4 of c is image 5 of c and image 0 of d,
  and image 0 of the class a is blank.
  """
  parts = [RNG.integers(0, 256, (size, 5, 5, 3), dtype=np.uint8) for size in SIZES]
  parts[4][3] = parts[1][1]
  parts[2][4] = parts[2][5]
  parts[3][0] = parts[3][9]
  parts[0][0] = 9
  parts[0][1] = parts[1][2]
  train, test = dict(zip('abcd', parts[:4], strict=True)), dict(zip('ef', parts[4:], strict=True))
  image_folder.convert({'train': {**train}, 'test': {**test}}, tmp_path / 'cub', Form(5, 3))
  return tmp_path


def _report(*arguments: object) -> str:
  return '\n'.join(inspection.report(*arguments)[1])  # type: ignore[arg-type]


def test_the_report_about_a_converted_folder(
  folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(inspection, '_BLOCK_BYTES', 160)  # two images at a time
  images = np.load(folder / 'cub' / 'images.npy')
  mean, bright = images.mean(), 100 * (images > 127).mean()
  assert _report('cub', str(folder)).splitlines() == [
    f'dataset:    cub, {folder / "cub"}',
    'on disk:    0.0 MB, uint8',
    'classes:    6, 66 images',
    'per class:  min 6, median 7.5, max 30 images',
    'images:     5 x 5 x 3 (height x width x channels)',
    'values:     0 to 255; 1 images of a single value',
    f'brightness: mean {mean:.1f}, {bright:.1f} % of the pixels are bright (128 and more)',
    'split:      train=cub:0-3: 4 classes of at least 7 images',
    '            fits none of the usual tasks',
    'split:      test=cub:4-5: 2 classes of at least 6 images',
    '            fits none of the usual tasks',
    'duplicates: 6 images occur more than once in train, such as '
    'class 0 (a), image 1 = class 1 (b), image 2',
    'duplicates: 2 images occur more than once in train and test, such as '
    'class 1 (b), image 1 = class 4 (e), image 3',
  ]


def test_splits_may_be_given(folder: pathlib.Path) -> None:
  report = _report('cub', str(folder), 'x=cub:0-4,y=cub:5')
  assert 'split:      x=cub:0-4: 5 classes of at least 6 images' in report
  assert 'fits 5-way 1-shot + 5, 5-way 5-shot + 1 query images per class' in report
  assert 'train' not in report


def test_a_known_dataset_has_its_presets_as_splits(tmp_path: pathlib.Path) -> None:
  images = RNG.integers(0, 2, (100, 21, 9, 9), dtype=np.uint8)
  images[63, 0] = images[80, 2] = 1
  np.save(tmp_path / 'miniimagenet.npy', images > 0)
  report = _report('miniimagenet', str(tmp_path))
  assert 'MB, bool' in report
  assert (
    'split:      train=miniimagenet:0-63: 64 classes of at least 21 images\n'
    '            fits 5-way 1-shot + 20, 5-way 5-shot + 16, 20-way 1-shot + 20, 20-way 5-shot + 16 '
    'query images per class' in report
  )
  assert 'split:      test=miniimagenet:80-99: 20 classes' in report
  assert '2 images occur more than once in train and test' in report


@pytest.mark.parametrize(
  ('name', 'splits', 'found'),
  [
    ('none', '', 'none'),
    ('cub:0-3', '', 'cub:0-3'),
    ('../cub', '', 'cub'),
    ('cub', 'a=x:0-3', '--splits: a=x:0-3 .*0-5 of'),
    ('cub', 'a=cub:0-6', '--splits: a=cub:0-6 .*0-5 of'),
    ('cub', 'a=cub:0-3,b=cub:3', '--splits: b=cub:3'),
  ],
)
def test_wrong_names_and_splits_are_errors(
  name: str, splits: str, found: str, folder: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=found):
    inspection.report(name, str(folder), splits)


def test_the_class_list_is_optional_but_must_be_of_this_dataset(folder: pathlib.Path) -> None:
  path = folder / 'cub' / 'classes.csv'
  path.write_text(path.read_text().replace('e,6', 'e,7'))
  with pytest.raises(InputError, match=r'classes\.csv'):
    inspection.report('cub', str(folder))
  path.unlink()
  arrays, lines = inspection.report('cub', str(folder))
  assert arrays.names == ()
  assert 'split:      all=cub:0-5: 6 classes of at least 6 images' in lines


def _set(images: np.ndarray, *classes: int, names: str = '') -> ClassSet:
  """Makes a choice of classes from images [classes, samples, H, W, C]."""
  count, samples = images.shape[:2]
  arrays = ClassArrays(
    'x',
    images.reshape(-1, *images.shape[2:]),
    np.arange(count) * samples,
    np.full(count, samples, np.int64),
    tuple(names),
  )
  return ClassSet(arrays, np.array(classes or range(count)))


def test_classes_of_one_dataset_are_compared_by_their_places() -> None:
  whole = _set(IMAGES)
  one = dataclasses.replace(whole, classes=np.array([0, 1, 2]))
  other = dataclasses.replace(whole, classes=np.array([3, 2, 1]))
  assert inspection.shared_classes(one, other) == 2
  assert inspection.shared_classes(one, dataclasses.replace(whole, classes=np.array([3]))) == 0
  shuffled = whole.arrays.shuffled(2022)
  assert inspection.shared_classes(whole, ClassSet(shuffled, np.arange(4))) == 4


BLACK = np.zeros((2, 3, 5, 6, 2), np.uint8)
ONE_EQUAL = np.random.default_rng(1).integers(0, 256, (4, 3, 5, 6, 2), dtype=np.uint8)
ONE_EQUAL[0, 0] = IMAGES[2, 1]


@pytest.mark.parametrize(
  ('one', 'other', 'count'),
  [
    (_set(IMAGES), _set(IMAGES.copy()), 4),
    (_set(IMAGES), _set(IMAGES[:, ::-1].copy()), 4),
    (_set(IMAGES[:, :1].copy()), _set(IMAGES), 4),
    (_set(IMAGES), _set(255 - IMAGES), 0),
    (_set(IMAGES), _set(IMAGES[..., :1].copy()), 0),
    (_set(IMAGES), _set(ONE_EQUAL), 0),
    (_set(BLACK), _set(BLACK.copy()), 0),
  ],
)
def test_classes_of_two_datasets_are_compared_by_their_images(
  one: ClassSet, other: ClassSet, count: int
) -> None:
  assert inspection.shared_classes(one, other) == count


def test_a_digest_is_the_same_in_all_versions() -> None:
  assert inspection.digest(_set(IMAGES)) == '0e3b49538e736c027232e178'
  assert inspection.digest(_set(IMAGES[..., :1].copy())) == '0e3b49538e736c027232e178'
  renamed = _set(IMAGES, 0, 1, names='abcX')  # a class that is not used
  assert inspection.digest(renamed) == inspection.digest(_set(IMAGES, 0, 1, names='abcd'))


@pytest.mark.parametrize(
  'other',
  [
    _set(IMAGES, 0, 1, 2),
    _set(IMAGES, 1, 0, 2, 3),
    _set(IMAGES[:, :2].copy()),
    _set(np.concatenate([IMAGES, IMAGES[:1]]), 0, 1, 2, 3),  # a class more, which is not used
    _set(IMAGES, names='abce'),
  ],
)
def test_other_classes_have_another_digest(other: ClassSet) -> None:
  assert inspection.digest(_set(IMAGES, names='abcd')) != inspection.digest(other)
