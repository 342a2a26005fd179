"""Class names and their order, leftovers, path flags, and the output of converters."""

from __future__ import annotations

import os
import pathlib
import unicodedata

import numpy as np
import pytest

from hypertransformer.converters import classes
from hypertransformer.converters.classes import SplitChecks
from hypertransformer.data import class_list, files
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError


@pytest.mark.parametrize(
  ('name', 'canonical'),
  [
    *((f'{before}cat{after}', 'cat') for before in ('', ' ', './', '/', '\ufeff', '.// \u200b')
      for after in ('', ' ', '/', '//', '\r', '\xa0', '\u200b \ufeff')),
    *((unicodedata.normalize('NFD', name), name) for name in ('Käfer', 'é', 'が', '각')),
    *(('./birds//crow /', 'birds/crow'), ('polar  bear', 'polar bear'), ('Cat', 'Cat')),
    *(('..', '..'), (' ./ ', '')),
  ],
)  # fmt: skip
def test_spellings_of_one_name_are_one(name: str, canonical: str) -> None:
  assert classes.canonical(name) == canonical


def test_numbers_are_sorted_by_value() -> None:
  names = ['10', '2', '1', '0', '11', 'b10', 'b9', 'a', 'b', '02', 'b9c10', 'b9c9', '']
  assert sorted(names, key=classes.natural_key) == [
    *('', '0', '1', '02', '2', '10', '11', 'a', 'b', 'b9', 'b9c9', 'b9c10', 'b10')
  ]
  long = ['1' + '0' * 6000, '2', '1' + '0' * 5000]
  assert sorted(long, key=classes.natural_key) == [long[1], long[2], long[0]]


LEFTOVERS = (
  *('@eaDir', '#recycle', '#snapshot', '@Recycle', '@tmp', '__MACOSX', '$RECYCLE.BIN'),
  *('System Volume Information', 'lost+found', '.Trash-1000', '.ipynb_checkpoints', '__pycache__'),
  *('.git', '.@__thumb', '.DS_Store', '._cat.jpg', 'Thumbs.db', 'THUMBS.DB', 'desktop.ini'),
  *('Icon\r', 'cat.jpg:Zone.Identifier', 'cat.jpgZone.Identifier', 'cat.jpg\uf03aZone.Identifier'),
  *('cat.jpg:Zone.Identifier:$DATA', 'cat.jpg:com.dropbox.attrs', 'cat.jpg@SynoEAStream'),
  *('~$birds.docx', 'cat.jpg~', '#cat.jpg#', 'cat.jpg.bak', 'cat.jpg.part', '.cat.jpg.swp'),
)
KEPT = (
  *('cat', 'cat.jpg', 'icon', 'Icon.png', 'thumbs', 'Thumbs.db.png', '@home', '#1', '~cat', 'part'),
  *('cat.part.jpg', 'recycle', 'trash', 'zone identifier', 'lost and found', 'backup'),
)


@pytest.mark.parametrize('name', LEFTOVERS)
def test_leftovers_of_systems_are_recognised(name: str) -> None:
  assert classes.leftover_in(name) == name
  assert classes.leftover_in(f'./a/../{name}/b.png') == name


@pytest.mark.parametrize('name', KEPT)
def test_classes_and_images_are_not_leftovers(name: str) -> None:
  assert classes.leftover_in(f'./a/../{name}') is None


def test_the_same_images_in_two_splits_are_refused() -> None:
  images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
  checks = SplitChecks()
  checks.add_pixels('train', 'a', images)
  checks.add_pixels('test', 'b', images[:3])
  with pytest.raises(InputError, match=r"'c' of test .*'a' of train"):
    checks.add_pixels('test', 'c', images[::-1])


def test_an_output_path_is_a_dataset_or_the_folder_above_it(tmp_path: pathlib.Path) -> None:
  for text, default, expected in (
    *(('x', '', 'x'), ('x/', '', 'x'), ('x.npy', '', 'x.npy')),
    *(('x', 'y.npy', 'x/y.npy'), ('x.npy', 'y.npy', 'x.npy'), ('x', 'y', 'x/y'), ('y', 'y', 'y')),
  ):
    assert classes.output_path(f'{tmp_path}/{text}', default) == tmp_path / expected


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('photos', "photos .*'me.jpg'"),
    ('both', r'both\.npy would be read'),
    ('my set', "'my set' is not a dataset name"),
    ('a:b', 'is not a dataset name'),
    ('file', 'file is a file'),
    ('folder.npy', r'folder\.npy exists'),
    ('listed.npy', r'listed\.classes\.csv exists'),
  ],
)
def test_output_paths_that_cannot_be_used_are_errors(
  text: str, found: str, tmp_path: pathlib.Path
) -> None:
  for folder in ('photos', 'folder.npy', 'listed.classes.csv'):
    (tmp_path / folder).mkdir()
  for file in ('photos/me.jpg', 'both.npy', 'file'):
    (tmp_path / file).write_bytes(b'x')
  with pytest.raises(InputError, match=found):
    classes.output_path(str(tmp_path / text), overwrite=True)


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 2, 2, 1)
ENTRIES = [ClassEntry('train', 'a,b'), ClassEntry('test', 'Käfer')]


@pytest.mark.parametrize('stop', [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize('name', ['x.npy', 'x'])
def test_a_dataset_is_written_whole_or_not_at_all(
  name: str, stop: type[BaseException] | None, tmp_path: pathlib.Path
) -> None:
  images = IMAGES if name == 'x.npy' else IMAGES.reshape(6, 2, 2, 1)
  with classes.new_dataset(tmp_path / name) as (file, write_classes):
    np.save(file, images)
    write_classes(ENTRIES, [3, 3])
  before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
  found = folder_lib.load('x', str(tmp_path))
  np.testing.assert_array_equal(found.images, IMAGES.reshape(6, 2, 2, 1))
  listing = class_list.beside(tmp_path / name)
  assert class_list.read(listing, np.array([3, 3])) == ENTRIES
  if stop:
    with (  # noqa: PT012
      pytest.raises(stop),
      classes.new_dataset(tmp_path / name, overwrite=True) as (file, write_classes),
    ):
      file.write(b'half')
      write_classes(ENTRIES, [1, 1])
      raise stop
  assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before
  assert len(os.listdir(tmp_path)) == (2 if name == 'x.npy' else 1)


def test_a_kill_between_array_and_class_list_leaves_no_old_list(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path, listed = tmp_path / 'x.npy', []
  named = files.give_name

  def name(part: pathlib.Path, target: pathlib.Path, overwrite: bool) -> None:
    listed.append((target.name, class_list.beside(path).exists()))
    named(part, target, overwrite)

  for _ in range(2):
    with classes.new_dataset(path, overwrite=True) as (file, write_classes):
      np.save(file, IMAGES)
      write_classes(ENTRIES, [3, 3])
      monkeypatch.setattr(files, 'give_name', name)
  assert listed[-2] == ('x.npy', False)
  assert class_list.beside(path).exists()
