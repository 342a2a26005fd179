"""Datasets by their names: finding and reading them, choosing and permuting their classes."""

from __future__ import annotations

import pathlib
import random

import numpy as np
import pytest
from example_files import IMAGES, RAGGED, save_ragged

from hypertransformer.data import class_list, tfds
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.data.folder import DataFolder
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError


@pytest.mark.parametrize(
  ('spec', 'classes'),
  [
    ('tiny:20-22,5', [20, 21, 22, 5]),
    (DatasetSpec('tiny', (7, 9)), [7, 9]),
    ('tiny', [0, 1, 2, 3]),  # use_labels
  ],
)
def test_a_spec_chooses_classes(
  spec: str | DatasetSpec, classes: list[int], data_folder: pathlib.Path
) -> None:
  found = DataFolder(str(data_folder), use_labels=4).open(spec)
  assert found.classes.tolist() == classes
  assert found.name == 'tiny'
  assert found.arrays.image_shape == (12, 12, 1)


@pytest.mark.parametrize(
  ('spec', 'use_labels', 'found'),
  [
    ('tiny:28-33', 8, '0-29, but labels 28-33'),
    ('tiny', 31, 'use_labels'),
    ('tiny', 0, 'use_labels'),
  ],
)
def test_classes_that_do_not_exist_are_an_error(
  spec: str, use_labels: int, found: str, data_folder: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=f"'tiny' .*{found}"):
    DataFolder(str(data_folder), use_labels=use_labels).open(spec)


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


@pytest.mark.parametrize(
  ('name', 'converter'),
  [
    ('omniglot', 'convert omniglot'),
    ('strokes', 'convert strokes'),
    ('tieredimagenet', 'convert tieredimagenet'),
    ('photos', 'convert images'),
  ],
)
def test_a_missing_dataset_names_its_converter(
  name: str, converter: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(tfds, 'offers', lambda name: False)
  (tmp_path / f'{name}.npy').symlink_to(tmp_path / 'nowhere')
  for folder in (str(tmp_path), ''):
    with pytest.raises(InputError, match=rf'--data_numpy_dir={folder} .*{name}\.npy .*{converter}'):
      DataFolder(folder).open(name)


def test_the_tilde_is_the_home_directory(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('HOME', str(tmp_path))
  np.save(tmp_path / 'x.npy', IMAGES)
  assert folder_lib.find('x', '~') == tmp_path / 'x.npy'
  with pytest.raises(InputError, match='not a local path'):
    folder_lib.find('x', 'gs://bucket')


def test_a_file_is_read_rather_than_a_folder(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  save_ragged(tmp_path / 'x')
  assert folder_lib.load('x', str(tmp_path)).num_classes == 4
  (text,) = warnings
  assert str(tmp_path / 'x.npy') in text


@pytest.mark.parametrize('name', ['omniglot', 'strokes'])
def test_dark_ink_is_warned_of(name: str, tmp_path: pathlib.Path, warnings: list[str]) -> None:
  images = np.zeros((1623, 2, 4, 4, 1), np.uint8)
  images[:, :, 1, 1:3] = 255
  np.save(tmp_path / f'{name}.npy', images)
  folder_lib.load(name, str(tmp_path))
  assert warnings == []
  np.save(tmp_path / f'{name}.npy', 255 - images)
  np.save(tmp_path / 'x.npy', 255 - images)  # of other datasets it is not known
  folder_lib.load(name, str(tmp_path))
  folder_lib.load('x', str(tmp_path))
  (text,) = warnings
  assert f'{name} looks inverted: 88 %' in text
  assert '--invert' in text


def test_names_come_from_the_class_list(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  save_ragged(tmp_path / 'x')
  np.save(tmp_path / 'y.npy', IMAGES)
  entries = [ClassEntry('all', name) for name in 'abcde']
  class_list.write(tmp_path / 'x' / 'classes.csv', entries, [len(part) for part in RAGGED])
  class_list.write(tmp_path / 'y.classes.csv', entries[:4], [3] * 4)
  found = DataFolder(str(tmp_path), shuffle_seed=2022).open('x:0-4').arrays
  for number, name in enumerate(found.names):  # names follow the permutation
    assert found.sizes[number] == len(RAGGED['abcde'.index(name)])
  assert DataFolder(str(tmp_path)).open('y:0-3').arrays.names == tuple('abcd')
  assert warnings == []
  (tmp_path / 'y.classes.csv').write_text('class,split\n')
  assert DataFolder(str(tmp_path)).open('y:0-3').arrays.names == ()
  (text,) = warnings  # training needs no names
  assert 'y.classes.csv' in text
