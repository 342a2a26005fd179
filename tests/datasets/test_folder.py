"""From a dataset's name in a flag to classes: selection, shuffling, reading once."""

from __future__ import annotations

import pathlib
import random

import numpy as np
import pytest

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


def test_a_parsed_dataset_is_taken_too(data_folder: pathlib.Path) -> None:
  assert DataFolder(str(data_folder)).open(DatasetSpec('tiny', (7, 9))).classes.tolist() == [7, 9]


def test_without_labels_the_first_use_labels(data_folder: pathlib.Path) -> None:
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


def test_classes_that_are_not_there(data_folder: pathlib.Path) -> None:
  with pytest.raises(
    InputError, match=r"labels 28-33 of dataset 'tiny' are asked for, but it has the classes 0-29"
  ):
    DataFolder(str(data_folder)).open('tiny:28-33')


def test_a_dataset_that_is_not_there(
  data_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(tfds, 'offers', lambda name: False)
  with pytest.raises(
    InputError, match=r"dataset 'omniglot' is not there: looked for .*omniglot\.npy"
  ):
    DataFolder(str(data_folder)).open('omniglot:0-9')
