"""The dicts and labels in the pickles of published image sets."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

from hypertransformer.converters import pickled_labels
from hypertransformer.errors import InputError


def test_keys_become_text(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'x.pkl'
  path.write_bytes(pickle.dumps({b'data': 1, 'labels': [2], 3: 'left out'}, 2))
  assert pickled_labels.read_dict(path, 'a dict') == {'data': 1, 'labels': [2]}


def test_other_things_than_a_dict_are_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'x.pkl'
  path.write_bytes(pickle.dumps([1, 2]))
  with pytest.raises(InputError, match=r"x\.pkl holds a list; expected a dict with 'labels'"):
    pickled_labels.read_dict(path, "a dict with 'labels'")


@pytest.mark.parametrize(
  ('content', 'text'),
  [({}, 'none'), ({'a': 1, 'b': 2}, "'a', 'b'"), ({'x' * 900: 1}, "'" + 'x' * 299)],
)
def test_keys_are_named_up_to_a_length(content: dict[str, Any], text: str) -> None:
  assert pickled_labels.keys_found(content) == text


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (np.zeros((2, 3), np.uint8), 'uint8 [2, 3]'),
    (np.array(5), 'int64 []'),
    ([1], 'a list'),
    (None, 'a NoneType'),
  ],
)
def test_values_are_described(value: Any, text: str) -> None:
  assert pickled_labels.described(value) == text


@pytest.mark.parametrize(
  'values', [[3, 4, 5], (3, 4, 5), range(3, 6), np.array([3, 4, 5], '>i2'), [np.int8(3), 4, 5]]
)
def test_whole_numbers_become_an_array(values: Any) -> None:
  numbers = pickled_labels.numbers(values, 'x')
  assert numbers.dtype == np.int64
  assert numbers.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
  ('values', 'found'),
  [
    ([1, 2.5], 'x holds other things than numbers; expected a list or array of whole numbers'),
    (np.array([1.0]), 'x holds other things than numbers'),
    ([1 << 64], 'x holds a number beyond 64 bits'),
    ('12', r'x is a str; expected a list or array \[n\] of whole numbers'),
    (np.zeros((1, 2), int), r'x is int64 \[1, 2\]; expected a list'),
  ],
)
def test_other_things_than_whole_numbers_are_refused(values: Any, found: str) -> None:
  with pytest.raises(InputError, match=found):
    pickled_labels.numbers(values, 'x')


@pytest.mark.parametrize(
  'labels',
  [
    [7, 20, 7, 9],
    (7, 20, 7, 9),
    np.array([7, 20, 7, 9], np.uint8),
    ['n1', 'n3', 'n1', 'n2'],
    np.array(['n1', 'n3', 'n1', 'n2']),
    [b'n1', b'n3', b'n1', b'n2'],
  ],
)
def test_classes_are_numbered_in_the_order_of_their_labels(labels: Any) -> None:
  classes, names = pickled_labels.ranks(labels, 'x')
  assert classes.dtype == np.int64
  assert classes.tolist() == [0, 2, 0, 1]
  assert names in (['7', '9', '20'], ['n1', 'n2', 'n3'])


@pytest.mark.parametrize(
  'labels', [['b', 'a ', 'a', 'e\u0301', '\xe9'], [b'b', b'a/', b' a', b'\xc3\xa9', b'e\xcc\x81']]
)
def test_two_spellings_of_a_label_are_one_class(labels: Any) -> None:
  classes, names = pickled_labels.ranks(labels, 'x')
  assert sorted(names) == ['a', 'b', '\xe9']
  assert [names[number] for number in classes] == ['b', 'a', 'a', '\xe9', '\xe9']


@pytest.mark.parametrize(
  ('labels', 'found'),
  [
    ([1, 'a'], 'x are not of one kind; expected whole numbers, or strings, one for each image'),
    ([0.5, 1.5], 'x are not of one kind'),
    (['a', b'a'], 'x are not of one kind'),
    ({0: 1}, r'x is a dict; expected a list or array \[n\] of labels'),
  ],
)
def test_other_things_than_labels_are_refused(labels: Any, found: str) -> None:
  with pytest.raises(InputError, match=found):
    pickled_labels.ranks(labels, 'x')
