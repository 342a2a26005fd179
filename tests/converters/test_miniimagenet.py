"""The miniImageNet converter on small files that are built like the real ones."""

from __future__ import annotations

import collections
import io
import os
import pathlib
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from small_miniimagenet import (
  CACHE,
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

# A function that changes what the file of a split holds.
Change = Callable[[Content], Any]


_Pickler: Any = pickle._Pickler  # type: ignore[attr-defined]


class _PicklerOfPython2(_Pickler):  # type: ignore[misc]
  """Writes text and bytes as strings of Python 2."""

  def save_string(self, value: str | bytes) -> None:
    data = value.encode() if isinstance(value, str) else value
    self.write(pickle.BINSTRING + struct.pack('<i', len(data)) + data)
    self.memoize(value)

  dispatch: ClassVar[dict[Any, Any]] = {**_Pickler.dispatch, str: save_string, bytes: save_string}


def _dumps(content: Content, protocol: int) -> bytes:
  """Pickle as Python 3 does; for protocol -2, as Python 2 does."""
  if protocol > 0:
    return pickle.dumps(content, protocol)
  data = io.BytesIO()
  _PicklerOfPython2(data, 2).dump(content)
  return data.getvalue().replace(b'numpy._core.', b'numpy.core.')


@pytest.mark.parametrize('protocol', [-2, 2, 4, 5])
@pytest.mark.parametrize(
  'kind',
  [
    lambda classes: classes,
    lambda classes: collections.OrderedDict(
      (name, np.array(indices, np.int32)) for name, indices in classes.items()
    ),
    lambda classes: collections.defaultdict(
      list, {name: tuple(indices) for name, indices in classes.items()}
    ),
  ],
  ids=['dict', 'arrays', 'defaultdict of tuples'],
)
def test_the_layout_with_class_dict_is_converted(
  kind: Callable[[Any], Any], protocol: int, tmp_path: pathlib.Path
) -> None:
  contents = make_contents()
  for content in contents.values():
    content['class_dict'] = kind(content['class_dict'])
  write(tmp_path, contents, dump=lambda content: _dumps(content, protocol))
  np.testing.assert_array_equal(convert(tmp_path), EXPECTED)
  listing = tmp_path / 'out' / 'miniimagenet.classes.csv'
  assert class_list.read(listing, np.full(6, SAMPLES, np.int64)) == [
    (split, name) for split, (_, classes) in SPLITS.items() for name in classes
  ]
  assert folder_lib.load('miniimagenet', str(tmp_path / 'out')).num_classes == 6


LABELLED = 'miniImageNet_category_split_{}.pickle'
LABELLED_NAMES = {'train': 'train_phase_train', 'val': 'val', 'test': 'test'}


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
  """The numbers of the labels go on from split to split."""
  expected: list[np.ndarray] = []
  for seed, (name, classes) in enumerate(RELEASE.splits.items()):
    rng, first = np.random.default_rng(seed), len(expected)
    images = rng.integers(0, 256, (classes * SAMPLES, SIDE, SIDE, 3), np.uint8)
    labels = rng.permutation(np.repeat(np.arange(first, first + classes), SAMPLES))
    expected += [images[labels == label] for label in range(first, first + classes)]
    content = {'data': list(images) if as_list else images, 'labels': kind(labels.tolist())}
    write(tmp_path, {LABELLED_NAMES[name]: content}, LABELLED)
  np.testing.assert_array_equal(convert(tmp_path), np.stack(expected))


@pytest.mark.parametrize('spelling', ['n10', 'n10 ', b'n10', './n10'])
def test_a_class_in_two_files_is_an_error(spelling: Any, tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  for split, name in (('train', 'n10'), ('test', spelling)):
    first, *others = classes = contents[split]['class_dict']
    contents[split]['class_dict'] = {name: classes[first]} | {key: classes[key] for key in others}
  write(tmp_path, contents)
  with pytest.raises(
    InputError, match=r"'n10' of .*test\.pkl .*'n10' of .*train\.pkl are the same"
  ):
    convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


@pytest.mark.parametrize(
  ('labels', 'ranks', 'names'),
  [
    ([7, 20, 7, 9], [0, 2, 0, 1], ['7', '9', '20']),
    (['b', 'a ', 'a', 'e\u0301', '\xe9'], [1, 0, 0, 2, 2], ['a', 'b', '\xe9']),
    ([b'b', b'a/', b' a', b'\xc3\xa9', b'e\xcc\x81'], [1, 0, 0, 2, 2], ['a', 'b', '\xe9']),
  ],
)
def test_classes_are_in_the_order_of_their_labels(
  labels: list[Any], ranks: list[int], names: list[str]
) -> None:
  found, order = miniimagenet.rank(labels, 'x')
  assert found.dtype == np.int64
  assert (found.tolist(), order) == (ranks, names)


def test_the_same_images_in_files_of_two_sources_are_an_error(tmp_path: pathlib.Path) -> None:
  """The one numbers its classes and the other names them."""
  images, classes = SPLITS['val']
  (indices,) = classes.values()
  data = np.concatenate([SPLITS['test'][0][:SAMPLES], images[indices][::-1]])
  contents = make_contents()
  write(tmp_path, {name: contents[name] for name in ('train', 'val')})
  write(tmp_path, {'test': {'data': data, 'labels': np.repeat([5, 3], SAMPLES)}}, LABELLED)
  with pytest.raises(InputError, match=r"'3' of .*_test\.pickle .*'n1"):
    convert(tmp_path)


def _with(**parts: Any) -> Change:
  """Replace entries of the dict."""
  return lambda content: {**content, **parts}


def _classes(**changed: Any) -> Change:
  """Make classes `a`, `b` and `c`, and change the indices of some, or add a class."""
  return _with(class_dict={'a': [0, 1, 2], 'b': [3, 4, 5], 'c': [6, 7, 8], **changed})


def _labels(labels: Any) -> Change:
  return lambda content: {'data': content['image_data'][:9], 'labels': labels}


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (_classes(b=[3, 4]), "'b' has 2 images; expected 3"),
    *((_classes(c=indices), 'images 0 to 10')
      for indices in ([6, 7, 11], [-1, 7, 8], [6, 7, 5], [6, 7, 7], range(10**6))),
    (_classes(d=[9, 10]), 'contains 4 classes; expected 3'),
    (_classes(b=[3, 4, 5.5]), "'class_dict' of class 'b' contains other"),
    (_classes(b=[3, 4, 10**40]), "'class_dict' of class 'b' contains other values"),
    (_with(image_data=np.zeros((11, 5, 4, 3), np.uint8)), r'\(5, 4, 3\), not of side 4'),
    (_with(image_data=np.zeros((9, 4, 4, 3))), r"'image_data'"),
    (_with(image_data=[np.zeros((4, 4, 3), np.uint8), [0]]), "'image_data' is a list"),
    (_with(image_data=[np.zeros((side, 4, 3), np.uint8) for side in (3, 4)]), "'image_data' is a"),
    (lambda content: {'images': 1, 'labels': 2}, "images, labels; expected a dict of 'image_d"),
    (lambda content: [1], "contains a list; expected a dict of 'image_data'"),
    (_labels([1, 2]), 'contains 2 labels for 9 images'),
    *((_labels(labels), "'labels' contains other values")
      for labels in ([1, 'a'] * 9, [0.5] * 9)),
  ],
)  # fmt: skip
def test_bad_contents_are_refused(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  contents['train'] = change(contents['train'])
  write(tmp_path, contents)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=f'mini-imagenet-cache-train.pkl.*{found}'):
    convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_missing_files_and_web_pages_are_found_first(tmp_path: pathlib.Path) -> None:
  (tmp_path / CACHE.format('train')).write_bytes(b'not even a pickle')
  with pytest.raises(InputError, match=r'contains none of .*cache-val\.pkl'):
    convert(tmp_path)
  (tmp_path / CACHE.format('val')).write_bytes(b'<!DOCTYPE html><title>Quota exceeded')
  with pytest.raises(InputError, match=r'cache-val\.pkl is a web page'):
    convert(tmp_path)
  assert not (tmp_path / 'out').exists()
