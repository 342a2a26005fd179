"""Datasets by their names: finding and reading them, choosing and permuting their classes."""

from __future__ import annotations

import pathlib
import random

import numpy as np
import pytest
from example_files import IMAGES, save_ragged

from hypertransformer.datasets import arrays, tfds
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.datasets.folder import DataFolder
from hypertransformer.datasets.specs import DatasetSpec
from hypertransformer.errors import InputError


def test_labels_after_the_name_choose_the_classes(data_folder: pathlib.Path) -> None:
  found = DataFolder(str(data_folder)).open('tiny:20-22,5')
  assert found.classes.tolist() == [20, 21, 22, 5]
  assert found.name == 'tiny'
  assert found.arrays.image_shape == (12, 12, 1)


def test_a_parsed_spec_is_taken_too(data_folder: pathlib.Path) -> None:
  assert DataFolder(str(data_folder)).open(DatasetSpec('tiny', (7, 9))).classes.tolist() == [7, 9]


def test_without_labels_the_first_use_labels_classes_are_used(data_folder: pathlib.Path) -> None:
  assert DataFolder(str(data_folder), use_labels=4).open('tiny').classes.tolist() == [0, 1, 2, 3]


def test_classes_are_shuffled_by_the_seed_as_in_the_original(
  data_folder: pathlib.Path, tiny: np.ndarray
) -> None:
  order = list(range(30))
  random.seed(2022)
  random.shuffle(order)
  found = DataFolder(str(data_folder), shuffle_seed=2022).open('tiny:3-5')
  for new in range(3, 6):
    rows = found.arrays.rows(new, range(8))
    np.testing.assert_array_equal(found.arrays.gather(rows), tiny[order[new]])


def test_a_dataset_is_read_once(data_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  read = []
  load = folder_lib.load

  def noting(name: str, folder: str) -> arrays.ClassArrays:
    read.append(name)
    return load(name, folder)

  monkeypatch.setattr(folder_lib, 'load', noting)
  folder = DataFolder(str(data_folder))
  assert folder.open('tiny:0-3').arrays is folder.open('tiny:4-9').arrays
  assert read == ['tiny']


def test_classes_that_are_not_there_are_an_error(data_folder: pathlib.Path) -> None:
  with pytest.raises(
    InputError, match=r"labels 28-33 of dataset 'tiny' are asked for, but it has the classes 0-29"
  ):
    DataFolder(str(data_folder)).open('tiny:28-33')


def test_a_dataset_that_is_not_there_is_an_error(
  data_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(tfds, 'offers', lambda name: False)
  with pytest.raises(
    InputError, match=r"dataset 'omniglot' is not there: looked for .*omniglot\.npy"
  ):
    DataFolder(str(data_folder)).open('omniglot:0-9')


def test_a_missing_dataset_says_where_it_was_looked_for(tmp_path: pathlib.Path) -> None:
  with pytest.raises(
    InputError,
    match=r"dataset 'x' is not there: looked for .*x\.npy and the folder .*x; make it from images "
    r'with python utils/cache_image_folder\.py, or put x\.npy \[classes, samples, H, W, C\] there',
  ):
    folder_lib.load('x', str(tmp_path))


@pytest.mark.parametrize(
  ('name', 'converter'),
  [
    ('omniglot', 'utils/cache_omniglot.py'),
    ('strokes', 'utils/make_strokes.py'),
    ('miniimagenet', 'utils/cache_miniimagenet.py'),
    ('tieredimagenet', 'utils/cache_tieredimagenet.py'),
    ('photos', 'utils/cache_image_folder.py'),
  ],
)
def test_a_missing_dataset_names_its_converter(
  name: str, converter: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=rf'{name}\.npy and the folder .*make it .*{converter}'):
    folder_lib.load(name, str(tmp_path))


def test_a_missing_data_folder_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'the data folder .*nowhere is not there'):
    folder_lib.load('omniglot', str(tmp_path / 'nowhere'))
  with pytest.raises(
    InputError, match='is not there: no folder of data is given, expected --data_numpy_dir'
  ):
    folder_lib.load('omniglot', '')


def test_a_subset_of_a_known_dataset_is_warned_of(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  np.save(tmp_path / 'kmnist.npy', IMAGES)
  assert folder_lib.load('kmnist', str(tmp_path)).num_classes == 4
  assert warnings == ['dataset kmnist has 4 classes; the complete one has 10']


def test_a_file_is_read_rather_than_a_folder(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  save_ragged(tmp_path / 'x')
  assert folder_lib.load('x', str(tmp_path)).num_classes == 4
  assert warnings == [
    f'{tmp_path / "x.npy"} and the folder {tmp_path / "x"} are both there: the file is read, the '
    'folder is not; remove the one that is out of date'
  ]


def test_select_gives_the_classes_that_are_asked_for(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  found = folder_lib.load('x', str(tmp_path))
  assert folder_lib.select(found, (3, 0), 1).tolist() == [3, 0]
  assert folder_lib.select(found, None, 3).tolist() == [0, 1, 2]
  with pytest.raises(InputError, match=r"labels 2-4 of dataset 'x' .* the classes 0-3"):
    folder_lib.select(found, (2, 4), 1)
  with pytest.raises(InputError, match="no classes of dataset 'x'"):
    folder_lib.select(found, (), 1)
  for use_labels in (5, 0):
    with pytest.raises(InputError, match=f"use_labels is {use_labels}, but dataset 'x' has 4"):
      folder_lib.select(found, None, use_labels)
