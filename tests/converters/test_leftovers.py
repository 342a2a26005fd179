"""What systems leave between images, and names of images and classes that look nearly like it."""

from __future__ import annotations

import pytest

from hypertransformer.converters import leftovers

FOLDERS = (
  '@eaDir',
  '#recycle',
  '#snapshot',
  '@Recycle',
  '@tmp',
  '__MACOSX',
  '$RECYCLE.BIN',
  'System Volume Information',
  'lost+found',
  '.Trash-1000',
  '.ipynb_checkpoints',
  '__pycache__',
  '.git',
  '.@__thumb',
)
FILES = (
  '.DS_Store',
  '._cat.jpg',
  'Thumbs.db',
  'THUMBS.DB',
  'desktop.ini',
  'Icon\r',
  'cat.jpg:Zone.Identifier',
  'cat.jpgZone.Identifier',
  'cat.jpg:Zone.Identifier:$DATA',
  'cat.jpg:com.dropbox.attrs',
  'cat.jpg@SynoEAStream',
  '~$birds.docx',
  'cat.jpg~',
  '#cat.jpg#',
  '.#cat.jpg',
  'cat.jpg.bak',
  'cat.jpg.orig',
  'cat.jpg.part',
  'cat.jpg.crdownload',
  '.cat.jpg.swp',
  'cat.jpg.swp',
)
KEPT = (
  'cat',
  'cat.jpg',
  'icon',
  'Icon.png',
  'thumbs',
  'Thumbs.db.png',
  '@home',
  '#1',
  '~cat',
  'part',
  'cat.part.jpg',
  'recycle',
  'trash',
  'zone identifier',
  'lost and found',
  'backup',
)


@pytest.mark.parametrize('name', FOLDERS)
def test_folders_of_systems_are_passed_over(name: str) -> None:
  assert leftovers.is_leftover(name, is_file=False)


@pytest.mark.parametrize('name', FILES)
def test_files_of_systems_are_passed_over(name: str) -> None:
  assert leftovers.is_leftover(name, is_file=True)


@pytest.mark.parametrize('name', KEPT)
def test_classes_and_images_are_not(name: str) -> None:
  assert not leftovers.is_leftover(name, is_file=False)
  assert not leftovers.is_leftover(name, is_file=True)


def test_a_hidden_file_that_a_list_names_may_be_meant() -> None:
  for name in ('.cat.jpg', 'cat.jpg.orig', 'cat.jpg~'):
    assert leftovers.is_leftover(name, is_file=True)
    assert leftovers.passed_in_path(f'a/{name}', is_listed=True) is None
  for name in ('._cat.jpg', 'Thumbs.db', 'cat.jpg:Zone.Identifier'):
    assert leftovers.passed_in_path(f'a/{name}', is_listed=True) == f'a/{name}'


def test_a_path_is_passed_over_from_its_first_such_part_on() -> None:
  assert leftovers.passed_in_path('a/__MACOSX/b/._c.png') == 'a/__MACOSX'
  assert leftovers.passed_in_path('./a/../b/._c.png') == './a/../b/._c.png'
  assert leftovers.passed_in_path('a/b.bak/c.png') is None
  assert leftovers.passed_in_path('a/b/c.bak') == 'a/b/c.bak'


def test_what_is_passed_over_is_told_once_for_each_name(warnings: list[str]) -> None:
  leftovers.report('x', [])
  assert warnings == []
  leftovers.report('x', ['a/Thumbs.db', 'b/Thumbs.db', 'b/Thumbs.db', 'Icon\r', '@eaDir'])
  (line,) = warnings
  assert line.startswith('x: hidden files and leftovers of systems')
  assert "'Thumbs.db' (2 times)" in line
  assert "'@eaDir'" in line
  assert len(line.splitlines()) == 1
  leftovers.report('x', [f'.{number}' for number in range(20)])
  assert warnings[1].endswith('and 12 other names')
