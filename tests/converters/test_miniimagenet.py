"""The miniImageNet converter on small files that are built like the real ones."""

from __future__ import annotations

import collections
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_miniimagenet import (
  EXPECTED,
  RELEASE,
  SAMPLES,
  SIDE,
  SPLITS,
  Content,
  convert,
  make_contents,
  write,
)

from hypertransformer.converters import miniimagenet
from hypertransformer.data import class_list
from hypertransformer.data import folder as folder_lib
from hypertransformer.errors import InputError


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_the_layout_with_class_dict_is_converted(protocol: int, tmp_path: pathlib.Path) -> None:
  write(tmp_path, make_contents(), dump=lambda content: pickle.dumps(content, protocol))
  images = convert(tmp_path)
  assert images.dtype == np.uint8
  np.testing.assert_array_equal(images, EXPECTED)


def test_files_of_python_2_are_converted(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  write(tmp_path, make_contents(), dump=python_2_pickle)
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)


@pytest.mark.parametrize('spelling', [b'numpy.core.', b'numpy._core.'])
def test_both_names_of_numpys_modules_are_known(spelling: bytes, tmp_path: pathlib.Path) -> None:
  write(
    tmp_path,
    make_contents(),
    dump=lambda content: (
      pickle.dumps(content, 2)
      .replace(b'numpy._core.', b'numpy.core.')
      .replace(b'numpy.core.', spelling)
    ),
  )
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)


def _as_arrays(classes: dict[str, list[int]]) -> Any:
  return collections.OrderedDict(
    (name, np.array(indices, np.int32)) for name, indices in classes.items()
  )


def _as_default_dict(classes: dict[str, list[int]]) -> Any:
  return collections.defaultdict(list, {name: tuple(indices) for name, indices in classes.items()})


@pytest.mark.parametrize('change', [_as_arrays, _as_default_dict])
@pytest.mark.parametrize('protocol', [2, 5])
def test_dicts_and_indices_may_be_of_other_kinds(
  change: Callable[[Any], Any], protocol: int, tmp_path: pathlib.Path
) -> None:
  contents = make_contents()
  for content in contents.values():
    content['class_dict'] = change(content['class_dict'])
  write(tmp_path, contents, dump=lambda content: pickle.dumps(content, protocol))
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)


def test_indices_may_be_ranges(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  contents = make_contents()
  contents['train']['class_dict'] = {'b': range(6, 9), 'a': range(3), 'c': range(3, 6)}
  for dump in (pickle.dumps, python_2_pickle):
    write(tmp_path, contents, dump=dump)
    images = SPLITS['train'][0]
    np.testing.assert_array_equal(convert(tmp_path)[:3], [images[6:9], images[:3], images[3:6]])


LABELLED = 'miniImageNet_category_split_{}.pickle'
LABELLED_NAMES = {'train': 'train_phase_train', 'val': 'val', 'test': 'test'}


def _labelled(
  kind: Callable[[list[int]], Any], as_list: bool
) -> tuple[dict[str, Content], np.ndarray]:
  """Makes what the files hold in the layout with `labels`, and what must come of it.

  The numbers of the labels go on from split to split.

  Args:
    kind: turns the labels of a split into what is pickled.
    as_list: whether the images are a list instead of an array.
  """
  contents, expected, first = {}, [], 0
  for seed, (name, classes) in enumerate(RELEASE.splits):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (classes * SAMPLES, SIDE, SIDE, 3), np.uint8)
    labels = rng.permutation(np.repeat(np.arange(first, first + classes), SAMPLES))
    expected += [images[labels == label] for label in range(first, first + classes)]
    contents[LABELLED_NAMES[name]] = {
      'data': list(images) if as_list else images,
      'labels': kind(labels.tolist()),
    }
    first += classes
  return contents, np.stack(expected)


@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize(
  'kind',
  [
    list,
    tuple,
    np.array,
    lambda labels: [f'n{label:04d}' for label in labels],
    lambda labels: list(np.array(labels)),
    lambda labels: [b'n%04d' % label for label in labels],
    lambda labels: np.array([f'n{label:04d}' for label in labels]),
  ],
  ids=['list', 'tuple', 'array', 'names', 'scalars', 'bytes', 'array of names'],
)
def test_the_layout_with_labels_is_converted(
  kind: Callable[[list[int]], Any], as_list: bool, tmp_path: pathlib.Path
) -> None:
  contents, expected = _labelled(kind, as_list)
  write(tmp_path, contents, LABELLED)
  np.testing.assert_array_equal(convert(tmp_path), expected)


def test_the_layout_with_labels_of_python_2_is_converted(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  contents, expected = _labelled(list, as_list=False)
  write(tmp_path, contents, LABELLED, python_2_pickle)
  np.testing.assert_array_equal(convert(tmp_path), expected)


def test_keys_may_be_bytes_and_names_those_of_another_package(tmp_path: pathlib.Path) -> None:
  contents = {
    name: {key.encode(): value for key, value in content.items()}
    for name, content in make_contents().items()
  }
  contents['validation'] = contents.pop('val')
  write(tmp_path, contents)
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)


def test_the_official_dataset_has_the_published_counts() -> None:
  assert miniimagenet.OFFICIAL.shape == (100, 600, 84, 84, 3)
  assert miniimagenet.counts() == 'train 64 classes, val 16 classes, test 20 classes'


@pytest.mark.parametrize('spelling', ['n10', 'n10 ', b'n10', './n10'])
def test_a_class_in_two_files_is_an_error(spelling: Any, tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  for split, name in (('train', 'n10'), ('test', spelling)):
    classes = contents[split]['class_dict']
    first = next(iter(classes))
    contents[split]['class_dict'] = {name: classes[first]} | {
      key: indices for key, indices in classes.items() if key != first
    }
  write(tmp_path, contents)
  with pytest.raises(InputError, match=r"the class 'n10' is in two splits, .*train.*test"):
    convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_two_spellings_in_one_file_are_one_class(tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  classes = contents['train']['class_dict']
  first, *others = classes
  contents['train']['class_dict'] = {
    first: classes[first][:1],
    **{name: classes[name] for name in others},
    f' {first}/': classes[first][1:],
  }
  write(tmp_path, contents)
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)


def test_the_same_images_in_files_of_two_sources_are_an_error(tmp_path: pathlib.Path) -> None:
  """The one numbers its classes and the other names them."""
  contents = make_contents()
  images, classes = SPLITS['val']
  (indices,) = classes.values()
  other, _ = SPLITS['test']
  data = np.concatenate([other[:SAMPLES], images[indices][::-1]])
  labelled = {'data': data, 'labels': np.repeat([5, 3], SAMPLES)}
  write(tmp_path, {name: contents[name] for name in ('train', 'val')})
  write(tmp_path, {'test': labelled}, LABELLED)
  with pytest.raises(
    InputError, match=r"class '3' of .*_test\.pickle has the same images as 'n1000000"
  ):
    convert(tmp_path)


def test_the_names_of_classes_are_written_beside_the_array(tmp_path: pathlib.Path) -> None:
  write(tmp_path, make_contents())
  convert(tmp_path)
  entries = class_list.read(
    tmp_path / 'out' / 'miniimagenet.classes.csv', np.full(6, SAMPLES, np.int64)
  )
  assert entries == [(split, name) for split, (_, classes) in SPLITS.items() for name in classes]
  assert folder_lib.load('miniimagenet', str(tmp_path / 'out')).num_classes == 6


def test_a_second_source_beside_the_first_is_told(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  write(tmp_path, make_contents())
  write(tmp_path, {'test': make_contents()['test']}, LABELLED)
  convert(tmp_path)
  assert warnings[0].endswith(
    'mini-imagenet-cache-test.pkl read, miniImageNet_category_split_test.pickle not'
  )
