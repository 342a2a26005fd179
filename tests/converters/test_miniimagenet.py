"""The miniImageNet converter on small files that are built like the real ones."""

from __future__ import annotations

import collections
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
