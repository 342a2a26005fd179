"""The report about datasets of every layout."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from hypertransformer.converters import image_folder, image_sources
from hypertransformer.converters.images import Form
from hypertransformer.data import folder as folder_lib
from hypertransformer.data import inspection, specs
from hypertransformer.errors import InputError

RNG = np.random.default_rng(0)
SIZES = (7, 9, 8, 30, 6, 6)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data folder with the dataset cub, whose train split has the classes a-d and test has e, f.

  Image 3 of the class e is image 1 of the class b, and image 0 of the class a is blank.
  """
  parts = [RNG.integers(0, 256, (size, 5, 5, 3), dtype=np.uint8) for size in SIZES]
  parts[4][3] = parts[1][1]
  parts[0][0] = 9
  classes = [
    image_sources.ImageClass(name, part) for name, part in zip('abcdef', parts, strict=True)
  ]
  splits = [
    image_sources.Split('train', tuple(classes[:4])),
    image_sources.Split('test', tuple(classes[4:])),
  ]
  image_folder.convert(splits, tmp_path / 'cub', Form(5, 3))
  return tmp_path


def _report(*arguments: object) -> str:
  return '\n'.join(inspection.lines(inspection.inspect(*arguments)))  # type: ignore[arg-type]


def test_the_report_about_a_converted_folder(folder: pathlib.Path) -> None:
  images = np.load(folder / 'cub' / 'images.npy')
  mean, bright = images.mean(), 100 * (images > 127).mean()
  assert _report('cub', str(folder)).splitlines() == [
    f'dataset:    cub, {folder / "cub"}',
    'on disk:    0.0 MB (2 files), uint8',
    'classes:    6, 66 images',
    'per class:  min 6, median 7.5, max 30 images',
    'images:     5 x 5 x 3 (height x width x channels)',
    'values:     0 to 255; 1 images of a single value',
    f'brightness: mean {mean:.1f}, {bright:.1f} % of the pixels are bright (128 and more)',
    'split:      train=cub:0-3: 4 classes of at least 7 images',
    '            fits none of the usual tasks: up to 4-way, up to 7 support and query images a '
    'class together',
    'split:      test=cub:4-5: 2 classes of at least 6 images',
    '            fits none of the usual tasks: up to 2-way, up to 6 support and query images a '
    'class together',
    'duplicates: 0 images have a twin in their class, 0 in another class of their split',
    '            2 images of train and test have a twin in the other',
    '            such as class 1 (b), image 1 = class 4 (e), image 3',
  ]


def test_splits_may_be_given(folder: pathlib.Path) -> None:
  report = _report('cub', str(folder), 'x=cub:0-4,y=cub:5')
  assert 'split:      x=cub:0-4: 5 classes of at least 6 images' in report
  assert 'fits 5-way 1-shot + 5, 5-way 5-shot + 1 query images a class' in report
  assert '0 images have a twin in their class, 2 in another class of their split' in report


def test_names_and_sizes_follow_a_permutation_of_the_classes(folder: pathlib.Path) -> None:
  order = specs.shuffled_classes(6, 2022)
  found = inspection.inspect('cub', str(folder), '', 2022)
  assert found.names == tuple('abcdef'[old] for old in order)
  assert found.arrays.sizes.tolist() == [SIZES[old] for old in order]
  (one, _), (other, _) = found.twins.examples[0]
  assert {order[one], order[other]} == {1, 4}


def test_a_known_dataset_has_its_presets_as_splits(tmp_path: pathlib.Path) -> None:
  images = RNG.integers(0, 2, (100, 21, 9, 9), dtype=np.uint8)
  images[63, 0] = images[80, 2] = 1
  np.save(tmp_path / 'miniimagenet.npy', images > 0)
  report = _report('miniimagenet', str(tmp_path))
  assert ', bool, read as uint8' in report
  assert (
    'split:      train=miniimagenet:0-63: 64 classes of at least 21 images\n'
    '            fits 5-way 1-shot + 20, 5-way 5-shot + 16, 20-way 1-shot + 20, 20-way 5-shot + 16 '
    'query images a class' in report
  )
  assert 'split:      test=miniimagenet:80-99: 20 classes' in report
  assert '2 images of train and test have a twin in the other' in report


def test_files_and_chunks_are_inspected_too(tmp_path: pathlib.Path) -> None:
  images = RNG.integers(0, 256, (10, 3, 4, 4, 1), dtype=np.uint8)
  np.save(tmp_path / 'kmnist.npy', images)
  (tmp_path / 'chunks').mkdir()
  chunk = np.empty(2, object)
  chunk[:] = [images[0], images[1, :2]]
  np.save(tmp_path / 'chunks' / '1.npy', chunk, allow_pickle=True)
  assert 'split:      all=kmnist:0-9: 10 classes of at least 3 images' in _report(
    'kmnist', str(tmp_path)
  )
  report = _report('chunks', str(tmp_path))
  assert 'object, read as uint8' in report
  assert 'classes:    2, 5 images' in report
  assert report.endswith('duplicates: none')


def test_brightness_is_told(tmp_path: pathlib.Path) -> None:
  images = np.zeros((2, 3, 8, 8), np.uint8)
  images[:, :, :2] = 200
  images[:, :, 2:4] = 100
  np.save(tmp_path / 'x.npy', images)
  assert 'brightness: mean 75.0, 25.0 % of the pixels are bright (128 and more)' in _report(
    'x', str(tmp_path)
  )


def test_a_scale_of_0_to_1_is_refused(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', RNG.integers(0, 2, (2, 3, 8, 8), dtype=np.uint8))
  with pytest.raises(InputError, match=r'values from 0 to 1; that looks like 0\.\.1, .* by 255'):
    inspection.inspect('x', str(tmp_path))


@pytest.mark.parametrize(
  ('name', 'splits', 'found'),
  [
    ('none', '', r"dataset 'none' is not there"),
    ('cub:0-3', '', "'cub:0-3' has labels; expected the name of a dataset only"),
    ('../cub', '', 'is not a dataset name'),
    ('cub', 'a=x:0-3', r"splits: a=x:0-3 is not of the dataset 'cub'; expected a=cub:LABELS"),
    ('cub', 'a=cub:0-6', r"splits: a has the class 6, but dataset 'cub' has the classes 0-5"),
    ('cub', 'a=cub:0-3,b=cub:3', 'splits: the class 3 is in a and in b'),
  ],
)
def test_wrong_names_and_splits_are_errors(
  name: str, splits: str, found: str, folder: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=found):
    inspection.inspect(name, str(folder), splits)


@pytest.mark.parametrize(
  'change',
  [
    ('5,test', '6,test'),
    ('e,6', 'e,7'),
    ('class,', ''),
    ('5,test,f,6\r\n', ''),
    ('f,6', '"f,6'),
    ('5,test,f,6\r\n', '5,test\r\n'),
  ],
)
def test_a_class_list_of_another_dataset_is_an_error(
  change: tuple[str, str], folder: pathlib.Path
) -> None:
  path = folder / 'cub' / 'classes.csv'
  text = path.read_bytes().decode()
  assert change[0] in text
  path.write_text(text.replace(*change), newline='')
  with pytest.raises(
    InputError, match=r'classes\.csv (does not list the 6 classes|cannot be read)'
  ):
    inspection.inspect('cub', str(folder))


def test_without_a_class_list_names_and_splits_are_unknown(folder: pathlib.Path) -> None:
  (folder / 'cub' / 'classes.csv').unlink()
  found = inspection.inspect('cub', str(folder))
  assert found.names == ()
  assert list(found.splits) == ['all']
  assert folder_lib.load('cub', str(folder)).num_classes == 6
