"""Dataset specs, evaluation presets and the published permutation of classes."""

from __future__ import annotations

import hashlib
import json
import pathlib

import pytest

from hypertransformer.data import specs
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'label_shuffle.json'


@pytest.mark.parametrize(
  ('text', 'name', 'classes'),
  [
    ('omniglot', 'omniglot', None),
    ('omniglot:7', 'omniglot', (7,)),
    ('my-set_2.1:0-2,20,30-31', 'my-set_2.1', (0, 1, 2, 20, 30, 31)),
    (' x:5-5, 3 ', 'x', (5, 3)),
  ],
)
def test_a_spec_has_a_name_and_class_numbers(
  text: str, name: str, classes: tuple[int, ...] | None
) -> None:
  assert specs.parse_dataset(text) == DatasetSpec(name, classes)


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('', 'not a dataset name'),
    ('../x:0', 'not a dataset name'),
    ('x:', "''"),
    ('x:a', "'a'"),
    ('x:1--2', '1--2'),
    ('x:0-99999999999', '99999999999'),
    ('x:9-3', '9-3'),
    ('x:0-4,3', 'x:0-4,3'),
  ],
)
def test_a_malformed_spec_is_an_error(text: str, found: str) -> None:
  with pytest.raises(InputError, match=found):
    specs.parse_dataset(text)


@pytest.mark.parametrize(
  'text',
  [
    'x' * 2_000_000 + '=x:1',
    'x:' + '1,' * 1_000_000 + 'a',
    'x' * 2_000_000 + ':1',
    '=' * 2_000_000,
  ],
)
def test_a_text_of_two_million_characters_is_an_error_of_one_short_line(text: str) -> None:
  with pytest.raises(InputError) as caught:
    specs.parse_eval_datasets(text)
  assert len(str(caught.value)) < 500


def test_entries_of_eval_datasets_may_have_commas() -> None:
  assert specs.parse_eval_datasets('test=name:0-2,20,30-31,val=name:40-41,other:5,6') == [
    ('test', DatasetSpec('name', (0, 1, 2, 20, 30, 31))),
    ('val', DatasetSpec('name', (40, 41))),
    ('other:5,6', DatasetSpec('other', (5, 6))),
  ]


@pytest.mark.parametrize(
  ('name', 'train', 'val', 'test'),
  [
    ('omniglot', (0, 1149), (1150, 1199), (1200, 1622)),
    ('strokes', (0, 1149), (1150, 1199), (1200, 1622)),
    ('miniimagenet', (0, 63), (64, 79), (80, 99)),
    ('tieredimagenet', (0, 350), (351, 447), (448, 607)),
  ],
)
def test_a_known_name_stands_for_its_presets(
  name: str, train: tuple[int, int], val: tuple[int, int], test: tuple[int, int]
) -> None:
  expected = [
    (preset, DatasetSpec(name, tuple(range(first, last + 1))))
    for preset, (first, last) in (('train', train), ('val', val), ('test', test))
  ]
  assert specs.parse_eval_datasets(name) == expected
  assert specs.parse_eval_datasets(f'mine=x:3, {name}') == [
    ('mine', DatasetSpec('x', (3,))),
    *expected,
  ]


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('', 'not a dataset name'),
    ('cats', 'mine=cats:0-9'),
    ('test=omniglot', 'test=omniglot'),
    ('a=x:0,a=y:0', 'a=x:0,a=y:0'),
    ('omniglot,miniimagenet', 'omniglot,mini'),
    ('a=x:0,3-1', '3-1'),
    ('a=x:0,,b=x:1', 'not a dataset name'),
  ],
)
def test_malformed_eval_datasets_are_an_error(text: str, found: str) -> None:
  with pytest.raises(InputError, match=found):
    specs.parse_eval_datasets(text)


@pytest.mark.parametrize(('num_classes', 'seed'), [(1623, 2022), (100, 7)])
def test_the_permutation_is_the_published_one(num_classes: int, seed: int) -> None:
  golden = json.loads(GOLDEN.read_text())[f'seed={seed},classes={num_classes}']
  shuffled = specs.shuffled_classes(num_classes, seed)
  assert shuffled[:50] == golden['first']
  assert hashlib.sha256(','.join(map(str, shuffled)).encode()).hexdigest() == golden['sha256']
