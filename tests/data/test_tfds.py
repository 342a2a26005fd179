"""Datasets of tensorflow_datasets.

The package is replaced, so that nothing is downloaded, or seems not to be installed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import omniglot
from hypertransformer.data import tfds
from hypertransformer.data.folder import DataFolder
from hypertransformer.data.layouts import FlatImages
from hypertransformer.errors import InputError
from hypertransformer.evaluation import presets
from hypertransformer.settings import flags
from hypertransformer.training import graph

RNG = np.random.default_rng(3)
# {split: its examples}
Splits = dict[str, list[dict[str, Any]]]


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes the package look as if it were not installed."""
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str]]:
  """Replaces the package by one that gives 10 classes of 4 images, and notes what it is asked for.

  All pixels of an answer are the number of the answer, counted from 1.
  """
  calls: list[tuple[str, str | None, str]] = []

  def read(name: str, data_dir: str | None, split: str) -> FlatImages:
    calls.append((name, data_dir, split))
    return np.full((40, 12, 12, 1), len(calls), np.uint8), np.full(10, 4)

  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
  monkeypatch.setattr(tfds, 'read', read)
  return calls


@pytest.mark.usefixtures('absent')
@pytest.mark.parametrize('name', ['emnist', 'omniglot'])
def test_without_the_package_a_missing_dataset_says_how_to_get_it(
  name: str, tmp_path: pathlib.Path
) -> None:
  for folder in (str(tmp_path), ''):
    with pytest.raises(InputError, match=rf"'{name}' .*convert .*pip install '\.\[tfds\]'"):
      DataFolder(folder).open(name)


def test_a_file_is_read_rather_than_the_package_asked(
  asked: list[Any], tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  np.save(tmp_path / 'kmnist.npy', np.full((10, 2, 5, 5, 1), 9, np.uint8))
  assert DataFolder(str(tmp_path)).open('kmnist', 'test').arrays.image_shape == (5, 5, 1)
  assert not asked
  (text,) = warnings
  assert '--test_split=test has no effect on kmnist' in text


def test_each_split_is_read_once(asked: list[Any], tmp_path: pathlib.Path) -> None:
  folder = DataFolder(str(tmp_path), tfds_dir='there')
  opened = [
    folder.open(*what) for what in (('kmnist:0-3',), ('kmnist:2-9', 'test'), ('kmnist', 'train'))
  ]
  assert asked == [('kmnist', 'there', 'train'), ('kmnist', 'there', 'test')]
  assert [int(each.arrays.images[0, 0, 0, 0]) for each in opened] == [1, 2, 1]
  assert opened[1].classes.tolist() == list(range(2, 10))


def test_flags_say_the_folder_and_the_split(
  asked: list[Any], make_values: Callable[..., dict[str, Any]]
) -> None:
  values = make_values(
    data_dir='there', test_split='test', train_dataset='kmnist:0-5', test_dataset='kmnist:6-9'
  )
  inputs = graph.open_inputs(flags.settings_from(values), seed=1)
  first = [each.class_set.arrays.images[0, 0, 0, 0] for each in (inputs.train, inputs.test)]
  assert first == [1, 2]
  presets.presets_from(flags.settings_from(values).data)
  presets.presets_from(flags.settings_from(values | {'eval_datasets': 'val=kmnist:6-9'}).data)
  assert [split for *_, split in asked] == ['train', 'test', 'train', 'test', 'test']
  assert {data_dir for _, data_dir, _ in asked} == {'there'}


class Package:
  """Stands for the package tensorflow_datasets: it holds examples and downloads nothing."""

  ReadConfig = dict

  def __init__(self, name: str, splits: Splits) -> None:
    self._name, self._splits = name, splits
    self.data_path = 'here'
    self.info = self
    self.splits = {
      split: types.SimpleNamespace(num_examples=len(rows)) for split, rows in splits.items()
    }

  def builder(self, name: str, data_dir: str) -> Package:
    assert (name, data_dir) == (self._name, 'there')
    return self

  def download_and_prepare(self) -> None:
    pass

  def as_dataset(self, split: str, shuffle_files: bool, read_config: Any) -> Package:
    assert not shuffle_files
    self._rows = self._splits[split]
    return self

  def batch(self, size: int) -> Iterator[dict[str, np.ndarray]]:
    for begin in range(0, len(self._rows), size):
      rows = self._rows[begin : begin + size]
      yield {key: np.stack([row[key] for row in rows]) for key in rows[0]}

  def as_numpy(self, dataset: Any) -> Any:
    return dataset


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Splits], None]:
  """Gives prepare(name, splits): the package will give these examples."""
  return lambda name, splits: monkeypatch.setitem(
    sys.modules, 'tensorflow_datasets', Package(name, splits)
  )


def _labelled(classes: int, each: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
  """Makes images, [classes, each, 28, 28, 1], and examples of them in another order."""
  images = RNG.integers(0, 256, (classes, each, 28, 28, 1), dtype=np.uint8)
  examples = [
    {'image': images[label, number], 'label': label}
    for number in range(each)
    for label in range(classes)
  ]
  return images, examples


def _assert_same_classes(found: FlatImages, expected: np.ndarray) -> None:
  """Checks that the classes are in order; the images of each may be in any order."""
  assert found[1].tolist() == [expected.shape[1]] * len(expected)
  assert found[1].dtype == np.int64
  assert found[0].dtype == np.uint8
  for got, want in zip(found[0].reshape(expected.shape), expected, strict=True):
    assert sorted(image.tobytes() for image in got) == sorted(image.tobytes() for image in want)


def test_the_package_downloads_and_reads(
  prepare: Callable[[str, Splits], None], monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(tfds, '_BATCH', 7)
  images, examples = _labelled(10, 4)
  others, other_examples = _labelled(10, 3)
  prepare('kmnist', {'train': examples, 'test': other_examples})
  first = tfds.read('kmnist', 'there')
  _assert_same_classes(first, images)
  np.testing.assert_array_equal(tfds.read('kmnist', 'there')[0], first[0])
  _assert_same_classes(tfds.read('kmnist', 'there', 'test'), others)
  _assert_same_classes(
    tfds.read('kmnist', 'there', 'train+test'), np.concatenate([images, others], 1)
  )


def test_emnist_is_turned_upright(prepare: Callable[[str, Splits], None]) -> None:
  images, examples = _labelled(62, 1)
  prepare('emnist/byclass', {'train': examples})
  _assert_same_classes(tfds.read('emnist', 'there'), images.swapaxes(2, 3))


def test_omniglot_is_as_its_converter_makes_it(
  prepare: Callable[[str, Splits], None], monkeypatch: pytest.MonkeyPatch
) -> None:
  source = dataclasses.replace(tfds.SOURCES['omniglot'], classes=3)
  monkeypatch.setitem(tfds.SOURCES, 'omniglot', source)
  drawings = np.where(RNG.random((3, 2, 105, 105, 1)) < 0.1, 0, 255).astype(np.uint8)

  def examples(cls: int, alphabet: int, character: int, label: int) -> list[dict[str, Any]]:
    return [
      {
        'image': drawing.repeat(3, -1),
        'alphabet': alphabet,
        'alphabet_char_id': character,
        'label': label,
      }
      for drawing in drawings[cls]
    ]

  # Classes are ordered by split and then by alphabet. The split 'test' has the first alphabet, and
  # the labels go backwards, so neither alphabets nor labels alone would give this order.
  prepare(
    'omniglot',
    {'test': examples(2, 0, 7, 1200), 'train': examples(1, 31, 0, 5) + examples(0, 30, 1, 900)},
  )
  pngs = [io.BytesIO() for _ in range(6)]
  for drawing, png in zip(drawings.reshape(6, 105, 105), pngs, strict=True):
    Image.fromarray(drawing).save(png, 'PNG')
  expected = np.stack([omniglot.drawing_of(png.getvalue(), 'x', 28, 105) for png in pngs])
  _assert_same_classes(tfds.read('omniglot', 'there'), expected.reshape(3, 2, 28, 28, 1))


def test_missing_classes_and_splits_are_errors(prepare: Callable[[str, Splits], None]) -> None:
  prepare('kmnist', {'train': _labelled(9, 2)[1]})
  with pytest.raises(InputError, match=r"kmnist .* 9 classes in split 'train', expected 10"):
    tfds.read('kmnist', 'there')
  with pytest.raises(InputError, match="kmnist, split 'val'"):
    tfds.read('kmnist', 'there', 'val')
