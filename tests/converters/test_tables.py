"""Tables and lists of images, and any that hypothesis comes up with."""

from __future__ import annotations

import csv
import io
import pathlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hypertransformer.converters import class_names, image_sources, tables
from hypertransformer.errors import InputError

# The folder of a test that is run for many examples is the same for all of them.
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
HEAD = 'filename,label\n'


def _rows(folder: pathlib.Path, data: str | bytes) -> list[tuple[str, str]]:
  path = folder / 'train.csv'
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return [(name, label) for _, name, label in tables.rows(path)]


@pytest.mark.parametrize(
  'head',
  [
    'filename,label',
    'filename, label',
    ' filename ,\tlabel ',
    'Filename,LABEL',
    'x,filename,label',
  ],
)
def test_blanks_and_case_in_the_header_do_no_harm(head: str, tmp_path: pathlib.Path) -> None:
  row = 'a.jpg, cat ' if not head.startswith('x') else '1,a.jpg,cat'
  assert _rows(tmp_path, f'\ufeff{head}\r\n{row}\r\n') == [('a.jpg', 'cat')]


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('filename;label\na;b\n', "the first line is 'filename;label'; expected the columns"),
    ('filename,label,label \na,b,c\n', 'expected the columns filename,label, each of them once'),
    (f'{HEAD}a.jpg, \n', 'line 2: the file name or the label is missing'),
    (f'{HEAD}a.jpg,./\n', 'line 2: the file name or the label is missing'),
    (f'{HEAD} ,a\n', 'line 2: the file name or the label is missing'),
    (f'{HEAD}a\0.jpg,a\n', r'train\.csv, line 2: .*NUL'),
    ('PK\x03\x04', r'train\.csv is a zip archive'),
    ('version https://git-lfs.github.com/spec/v1\n', r'train\.csv .*Git LFS'),
  ],
)
def test_tables_of_other_forms_are_explained(text: str, found: str, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=found):
    _rows(tmp_path, text)


@MANY
@given(st.binary(max_size=300))
@example(HEAD.encode() + b'a,"b')
@example(HEAD.encode() + b'\xff')
@example(HEAD.encode() + b'a,' + b'x' * 200_000)
def test_any_bytes_are_rows_or_one_error(tmp_path: pathlib.Path, data: bytes) -> None:
  for begun in (data, HEAD.encode() + data):
    try:
      found, said = _rows(tmp_path, begun), 'train.csv'
    except InputError as error:
      found, said = [], str(error)
    assert 'train.csv' in said
    assert all(name.strip() and label for name, label in found)


NAMES = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0\r'), min_size=1)


@MANY
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path: pathlib.Path, rows: list[tuple[str, str]]) -> None:
  rows = [(name, label) for name, label in rows if name.strip() and class_names.canonical(label)]
  text = io.StringIO(newline='')
  csv.writer(text).writerows([('filename', 'label'), *rows])
  assert _rows(tmp_path, text.getvalue()) == [
    (name, class_names.canonical(label)) for name, label in rows
  ]


@MANY
@given(st.text(st.characters(exclude_categories=['Cs']), max_size=80))
@example('../secret.png')
@example('a/../../secret.png')
@example('/etc/hostname')
@example('x' * 5000)
@example('sub/../../secret.png')
def test_a_table_reads_nothing_outside_of_its_folder(tmp_path: pathlib.Path, name: str) -> None:
  data = tmp_path / 'data'
  (data / 'sub').mkdir(parents=True, exist_ok=True)
  (tmp_path / 'secret.png').write_bytes(b'x')
  text = io.StringIO(newline='')
  csv.writer(text).writerows([('filename', 'label'), (name, 'a')])
  (tmp_path / 'train.csv').write_text(text.getvalue(), 'utf-8', newline='')
  with pytest.raises(InputError) as caught:
    image_sources.from_csvs(data, [tmp_path / 'train.csv'])
  assert 'train' in str(caught.value)
