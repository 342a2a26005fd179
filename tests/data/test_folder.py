"""Datasets by their names: finding and reading them, choosing and permuting their classes."""

from __future__ import annotations

import pathlib
import random

import numpy as np
import pytest
from example_files import IMAGES, save_ragged

from hypertransformer.data import arrays, tfds
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.folder import DataFolder
from hypertransformer.data.specs import DatasetSpec
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


@pytest.mark.parametrize('name', ['omniglot', 'strokes'])
def test_dark_ink_is_warned_of(name: str, tmp_path: pathlib.Path, warnings: list[str]) -> None:
  images = np.zeros((1623, 2, 4, 4, 1), np.uint8)
  images[:, :, 1, 1:3] = 255
  np.save(tmp_path / f'{name}.npy', images)
  folder_lib.load(name, str(tmp_path))
  assert warnings == []
  np.save(tmp_path / f'{name}.npy', 255 - images)
  folder_lib.load(name, str(tmp_path))
  (text,) = warnings
  assert text.startswith(f'dataset {name} looks inverted: 88 % of its pixels are bright')
  assert '--invert' in text
  np.save(tmp_path / 'x.npy', 255 - images)  # of other datasets it is not known
  folder_lib.load('x', str(tmp_path))
  assert len(warnings) == 1


def test_the_home_folder_is_put_in(
  data_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('HOME', str(data_folder.parent))
  assert folder_lib.load('tiny', f'~/{data_folder.name}').num_classes == 30
  assert DataFolder(f'~/{data_folder.name}').open('tiny:0-2').classes.tolist() == [0, 1, 2]


def test_tensorflow_datasets_gets_the_home_folder_too(monkeypatch: pytest.MonkeyPatch) -> None:
  asked = []
  monkeypatch.setenv('HOME', '/home/me')
  monkeypatch.setattr(tfds, 'offers', lambda name: True)

  def read(name: str, data_dir: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    asked.append(data_dir)
    return np.zeros((20, 2, 2, 1), np.uint8), np.full(10, 2)

  monkeypatch.setattr(tfds, 'read', read)
  DataFolder('', tfds_dir='~/tfds').open('kmnist:0-9')
  DataFolder('').open('kmnist:0-9')
  assert asked == ['/home/me/tfds', None]


def test_files_and_folders_in_each_others_place_are_named(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').mkdir()
  (tmp_path / 'b').write_text('')
  (tmp_path / 'c').mkdir()
  (tmp_path / 'c' / 'images.npy').mkdir()
  (tmp_path / 'c' / 'class_sizes.npy').mkdir()
  (tmp_path / 'd').mkdir()
  (tmp_path / 'd' / '1.npy').mkdir()
  (tmp_path / 'e.npy').symlink_to(tmp_path / 'nowhere')
  for name, found in (
    ('a', r'a\.npy is a folder; expected a file, or a folder without \.npy: rename it to a$'),
    ('b', r'b is a file; expected a folder, or a file with \.npy: rename it to b\.npy$'),
    ('c', r'images\.npy cannot be read \(Is a directory\); expected a NumPy \.npy file'),
    ('d', r'1\.npy cannot be read \(Is a directory\); expected a NumPy \.npy file'),
    ('e', r'e\.npy is a link to .*nowhere, which is not there'),
  ):
    with pytest.raises(InputError, match=found):
      folder_lib.load(name, str(tmp_path))
  np.save(tmp_path / 'x.npy', IMAGES)
  with pytest.raises(
    InputError, match=rf'x\.npy is a file; expected the folder .* --data_numpy_dir={tmp_path}$'
  ):
    folder_lib.load('x', str(tmp_path / 'x.npy'))


@pytest.mark.parametrize(
  ('folder', 'name', 'found'),
  [
    ('a\0b', 'x', 'NUL character'),
    ('f' * 300, 'x', 'the name is too long'),
    ('.', 'x' * 300, 'the name is too long'),
  ],
)
def test_names_that_no_file_can_have_are_one_error(folder: str, name: str, found: str) -> None:
  with pytest.raises(InputError, match=found) as caught:
    folder_lib.load(name, folder)
  assert len(str(caught.value)) < 300


def test_a_file_that_may_not_be_read_is_one_error(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)

  def forbidden(*arguments: object, **more: object) -> None:
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr('builtins.open', forbidden)
  with pytest.raises(
    InputError, match=r'x\.npy cannot be read \(Permission denied\); expected a NumPy'
  ):
    folder_lib.load('x', str(tmp_path))


def test_a_wrong_class_list_is_warned_of_in_training(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  save_ragged(tmp_path / 'x')
  (tmp_path / 'x' / 'classes.csv').write_text('class,split\n')
  found = folder_lib.load('x', str(tmp_path))
  assert (found.num_classes, found.names) == (5, ())
  (text,) = warnings
  assert text.startswith('dataset x is used without the names of its classes: ')
  assert 'does not list the 5 classes' in text
