"""Spellings of class names, and their order."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypertransformer.converters import class_names


@pytest.mark.parametrize(
  'name',
  [
    *('cat', 'cat ', ' cat', 'cat/', './cat', '/cat', 'cat//', './/cat/ ', '\tcat\r', 'cat\xa0'),
    *('\ufeffcat', 'cat\u200b', '\u200b cat \ufeff'),
  ],
)
def test_spellings_of_one_name_are_one(name: str) -> None:
  assert class_names.canonical(name) == 'cat'


def test_the_forms_of_unicode_are_one() -> None:
  for name in ('Käfer', 'é', 'が', '각'):
    forms = {unicodedata.normalize(form, name) for form in ('NFC', 'NFD')}
    assert len(forms) == 2
    assert len({class_names.canonical(form) for form in forms}) == 1


def test_parts_and_blanks_inside_stay() -> None:
  assert class_names.canonical('./birds//crow /') == 'birds/crow'
  assert class_names.canonical('polar  bear') == 'polar bear'
  assert class_names.canonical('Cat') != class_names.canonical('cat')
  assert class_names.canonical('..') == '..'
  assert class_names.canonical(' ./ ') == ''


@given(st.text())
def test_a_canonical_name_is_its_own(name: str) -> None:
  once = class_names.canonical(name)
  assert class_names.canonical(once) == once
  assert class_names.canonical(f' {name}/') == once


def test_numbers_are_sorted_by_value() -> None:
  names = ['10', '2', '1', '0', '11', 'b10', 'b9', 'a', 'b', '02', 'b9c10', 'b9c9', '']
  assert sorted(names, key=class_names.natural_key) == [
    *('', '0', '1', '02', '2', '10', '11', 'a', 'b', 'b9', 'b9c9', 'b9c10', 'b10')
  ]


@pytest.mark.parametrize(
  'names',
  [
    ['n01532829', 'n01558993', 'n02108915', 'n13133613'],
    ['001.Black_footed_Albatross', '002.Laysan_Albatross', '100.Brown_Pelican'],
    ['apple', 'apple_tree', 'aquarium_fish', 'maple_tree', 'Tree'],
    [f'character{number:02}' for number in range(1, 56)],
  ],
)
def test_the_known_datasets_keep_the_order_of_text(names: list[str]) -> None:
  assert sorted(names, key=class_names.natural_key) == sorted(names)


@given(st.lists(st.integers(0, 10**30)), st.text())
def test_numbers_after_one_text_are_in_order(numbers: list[int], before: str) -> None:
  before = before.rstrip('0123456789')
  ordered = sorted((f'{before}{number}' for number in numbers), key=class_names.natural_key)
  assert ordered == [f'{before}{number}' for number in sorted(numbers)]


@given(st.lists(st.text(alphabet='ab01 -.'), unique=True))
def test_the_order_is_total(names: list[str]) -> None:
  turned = names[::-1]
  assert sorted(names, key=class_names.natural_key) == sorted(turned, key=class_names.natural_key)


def test_names_are_shown_on_one_line_and_not_too_long() -> None:
  assert class_names.shown('Käfer 2') == 'Käfer 2'
  assert class_names.shown('a\nb') == r'a\nb'
  assert class_names.shown('\udcff') == r'\udcff'
  assert len(class_names.shown('x' * 1000)) == 60
  assert class_names.sequence(map(str, range(12))) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11'
  assert class_names.sequence(map(str, range(99))) == '0, 1, 2, 3, 4, 5, 6, 7, 8, ..., 97, 98'
