"""The file classes.csv: what is written is read again, and other files are refused."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from hypertransformer.datasets import class_list
from hypertransformer.datasets.class_list import ClassEntry
from hypertransformer.errors import InputError

ENTRIES = [ClassEntry('train', 'a, "b"\n'), ClassEntry('train', 'Ünïcode'), ClassEntry('test', 'c')]
SIZES = np.array([3, 1, 2])


def test_what_is_written_is_read(tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', ENTRIES, SIZES)
  assert class_list.read(tmp_path / 'classes.csv', SIZES) == ENTRIES


def test_the_file_is_a_plain_table(tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', ENTRIES[1:], [1, 2])
  text = (tmp_path / 'classes.csv').read_bytes().decode()
  assert text == 'class,split,name,images\r\n0,train,Ünïcode,1\r\n1,test,c,2\r\n'


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', [ClassEntry('all', 'a\udcff')], [1])
  (entry,) = class_list.read(tmp_path / 'classes.csv', np.array([1]))
  assert entry.name == r'a\udcff'


@pytest.mark.parametrize('sizes', [[3, 1], [3, 1, 2, 1], [3, 1, 4]])
def test_a_list_of_another_dataset_is_an_error(sizes: list[int], tmp_path: pathlib.Path) -> None:
  class_list.write(tmp_path / 'classes.csv', ENTRIES, SIZES)
  with pytest.raises(
    InputError, match=rf'classes\.csv does not list the {len(sizes)} classes and their images'
  ):
    class_list.read(tmp_path / 'classes.csv', np.array(sizes))


@pytest.mark.parametrize('content', [b'\xff\xfe', b'class,"split'])
def test_a_file_that_is_no_table_is_an_error(content: bytes, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'classes.csv').write_bytes(content)
  with pytest.raises(InputError, match=r'classes\.csv cannot be read'):
    class_list.read(tmp_path / 'classes.csv', SIZES)
