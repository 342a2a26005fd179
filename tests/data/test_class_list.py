"""The file classes.csv: what is written is read again, and other files are refused."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer.data import class_list
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError

ENTRIES = [ClassEntry('train', 'a, "b"\n'), ClassEntry('train', 'Ünïcode'), ClassEntry('test', 'c')]
SIZES = np.array([3, 1, 2])


def test_what_is_written_is_read(tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', ENTRIES, SIZES)
  assert class_list.read(tmp_path / 'classes.csv', SIZES) == ENTRIES


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', [ClassEntry('all', 'a\udcff')], [1])
  (entry,) = class_list.read(tmp_path / 'classes.csv', np.array([1]))
  assert entry.name == r'a\udcff'


@pytest.mark.parametrize('sizes', [[3, 1], [3, 1, 2, 1], [3, 1, 4]])
def test_a_list_of_another_dataset_is_an_error(sizes: list[int], tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', ENTRIES, SIZES)
  with pytest.raises(InputError, match=rf'classes\.csv .* {len(sizes)} classes'):
    class_list.read(tmp_path / 'classes.csv', np.array(sizes))


@pytest.mark.parametrize(
  'change',
  [
    lambda text: '\ufeff' + text,
    lambda text: text.replace('\r\n', '\n'),
    lambda text: text + '\r\n\r\n',
    lambda text: text.replace('1,train', ' 1 ,train').replace(',c,2', ',c, 2'),
  ],
)
def test_what_spreadsheets_add_is_ignored(
  change: Callable[[str], str], tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'classes.csv'
  entries = [ENTRIES[1], ENTRIES[1], ENTRIES[2]]
  class_list.write(path, entries, SIZES)
  path.write_bytes(change(path.read_bytes().decode()).encode())
  assert class_list.read(path, SIZES) == entries


def test_the_list_is_beside_the_dataset_and_optional(tmp_path: pathlib.Path) -> None:
  assert class_list.beside(tmp_path / 'x.npy') == tmp_path / 'x.classes.csv'
  assert class_list.beside(tmp_path / 'x') == tmp_path / 'x' / 'classes.csv'
  assert class_list.read(tmp_path / 'x.classes.csv', SIZES) == []
  for content in (b'\xff\xfe', b'class,"split', b'class,split\n0,x\n'):
    (tmp_path / 'x.classes.csv').write_bytes(content)
    with pytest.raises(InputError, match=r'x\.classes\.csv'):
      class_list.read(tmp_path / 'x.classes.csv', SIZES)
