"""Trees of images from strangers: spellings, leftovers, links, splits of other names."""

from __future__ import annotations

import os
import pathlib
import unicodedata

import pytest

from hypertransformer.converters import image_sources
from hypertransformer.converters.image_tree import ImageTree
from hypertransformer.errors import InputError

COMPOSED = unicodedata.normalize('NFC', 'Käfer')
DECOMPOSED = unicodedata.normalize('NFD', 'Käfer')


def _touch(root: pathlib.Path, *files: str) -> pathlib.Path:
  """Makes files, and the folders that they are in, and returns the root of all."""
  for file in files:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(b'x')
  return root


def _table(root: pathlib.Path, text: str, name: str = 'train') -> pathlib.Path:
  (root / f'{name}.csv').write_text(text, 'utf-8')
  return root / f'{name}.csv'


def _classes(splits: list[image_sources.Split]) -> list[list[tuple[str, int]]]:
  """The name and the number of images of each class of each split."""
  return [[(cls.name, len(cls.images)) for cls in split.classes] for split in splits]


def test_folders_of_numbers_are_in_the_order_of_numbers(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, *(f'{number}/{number}.png' for number in range(12)))
  (found,) = _classes(image_sources.from_folders(tmp_path))
  assert [name for name, _ in found] == [str(number) for number in range(12)]


def test_images_of_a_class_are_in_the_order_of_numbers(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, *(f'a/x{number}.png' for number in range(12)))
  (split,) = image_sources.from_folders(tmp_path)
  names = [os.path.basename(str(image)) for image in split.classes[0].images]
  assert names == [f'x{number}.png' for number in range(12)]


def test_leftovers_are_no_classes_and_no_images(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  for folder in ('', 'train', 'train/b', 'test', 'test/c'):
    _touch(tmp_path / folder, '@eaDir/x/SYNO.jpg', '#recycle/y.jpg', '.DS_Store', 'Icon\r')
    _touch(tmp_path / folder, '._x.jpg', '__MACOSX/._x.jpg', 'x.jpg:Zone.Identifier')
  _touch(tmp_path, 'train/b/1.jpg', 'train/b/1.jpg~', 'test/c/2.jpg', 'lost+found/3')
  assert _classes(image_sources.from_folders(tmp_path)) == [[('b', 1)], [('c', 1)]]
  (line,) = warnings
  assert "'@eaDir' (5 times)" in line
  assert len(line.splitlines()) == 1


def test_leftovers_in_lists_and_tables_are_passed_over(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  data = _touch(tmp_path / 'data', 'a/1.jpg', 'a/._1.jpg', '@eaDir/2.jpg', 'a/.hidden.jpg')
  text = 'filename,label\na/1.jpg,a\na/._1.jpg,a\n@eaDir/2.jpg,b\na/.hidden.jpg,a\n'
  assert _classes(image_sources.from_csvs(data, [_table(tmp_path, text)])) == [[('a', 2)]]
  assert "'._1.jpg'" in warnings[0]
  (tmp_path / 'train.txt').write_text('@eaDir\na\n')
  assert _classes(image_sources.from_lists(data, [tmp_path / 'train.txt'])) == [[('a', 1)]]


@pytest.mark.parametrize('other', ['cat ', ' cat', 'cat\t', '\u200bcat'])
def test_folders_of_one_name_are_one_class(
  other: str, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  _touch(tmp_path, 'cat/1', f'{other}/2', f'{COMPOSED}/3', f'{DECOMPOSED}/4')
  assert _classes(image_sources.from_folders(tmp_path)) == [[(COMPOSED, 2), ('cat', 2)]]
  assert sum('another spelling' in line for line in warnings) == 2


@pytest.mark.parametrize(('one', 'other'), [('cat', 'cat '), (COMPOSED, DECOMPOSED)])
def test_one_class_in_two_splits_is_an_error(one: str, other: str, tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, f'train/{one}/1', f'test/{other}/2')
  with pytest.raises(InputError, match=rf"the class '{one}' is in two splits, train and test"):
    image_sources.from_folders(tmp_path)
  (tmp_path / 'a.txt').write_text(one)
  (tmp_path / 'b.txt').write_text(f'{other}/\n')
  with pytest.raises(InputError, match='is in two splits, a and b'):
    image_sources.from_lists(
      _touch(tmp_path / 'data', f'{one}/1'), [tmp_path / 'a.txt', tmp_path / 'b.txt']
    )


def test_a_list_finds_folders_in_any_spelling(tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', f'{DECOMPOSED}/1', 'group/cat/2', 'group /cat /3', 'dog /4')
  (tmp_path / 'train.txt').write_text(f'{COMPOSED}\ngroup/cat/\n./dog\n{data}/x/../dog')
  with pytest.raises(InputError, match=r"line 4: the class 'dog' is listed twice"):
    image_sources.from_lists(data, [tmp_path / 'train.txt'])
  (tmp_path / 'train.txt').write_text(f'{COMPOSED}\ngroup/cat/\n./dog\n')
  assert _classes(image_sources.from_lists(data, [tmp_path / 'train.txt'])) == [
    [(COMPOSED, 1), ('dog', 1), ('group/cat', 2)]
  ]


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_one_image_in_two_splits_is_an_error(link: object, tmp_path: pathlib.Path) -> None:
  assert callable(link)
  _touch(tmp_path, 'train/a/1.png', 'test/b/2.png')
  link(tmp_path / 'train' / 'a' / '1.png', tmp_path / 'test' / 'b' / '3.png')
  with pytest.raises(InputError, match=r'test/b/3\.png of test is .*train/a/1\.png of train, the'):
    image_sources.from_folders(tmp_path)


def test_one_image_under_two_names_in_tables_is_an_error(tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', 'a.jpg', 'b/c.jpg')
  first = _table(tmp_path, 'filename,label\na.jpg,a\n')
  for name in ('./a.jpg', 'b/../a.jpg', ' a.jpg', f'{data}/a.jpg', './/a.jpg'):
    other = _table(tmp_path, f'filename,label\n{name},b\n', 'test')
    with pytest.raises(
      InputError, match=r'test\.csv, line 2: .* is named before already \(.*train'
    ):
      image_sources.from_csvs(data, [first, other])
  other = _table(tmp_path, 'filename,label\nb/c.jpg,a/\n', 'test')
  with pytest.raises(InputError, match="the class 'a' is in two splits, train and test"):
    image_sources.from_csvs(data, [first, other])


def test_a_table_finds_an_image_in_the_other_form_of_unicode(tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', f'{DECOMPOSED}/{DECOMPOSED}.jpg')
  table = _table(tmp_path, f'filename,label\n{COMPOSED}/{COMPOSED}.jpg,{DECOMPOSED}\n')
  assert _classes(image_sources.from_csvs(data, [table])) == [[(COMPOSED, 1)]]


def test_links_out_of_the_tree_are_followed_and_told(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  _touch(tmp_path, 'elsewhere/1', 'data/a/1', 'other.png')
  (tmp_path / 'data' / 'b').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'data' / 'a' / '2').symlink_to('1')
  (tmp_path / 'data' / 'a' / '3').symlink_to('../../other.png')
  assert _classes(image_sources.from_folders(tmp_path / 'data')) == [[('a', 3), ('b', 1)]]
  (line,) = warnings
  assert line.startswith(f'{tmp_path / "data"}: 2 links lead out of the folder and are followed (')
  table = _table(tmp_path, 'filename,label\na/1,a\na/2,a\na/3,a\nb/1,b\n')
  assert _classes(image_sources.from_csvs(tmp_path / 'data', [table])) == [[('a', 3), ('b', 1)]]
  assert ': 2 links lead out of the folder' in warnings[1]


@pytest.mark.parametrize(
  'names',
  [
    ('Train', 'Test'),
    ('base', 'val', 'novel'),
    ('training', 'testing'),
    ('TRAIN', 'VAL', 'TEST'),
    ('train', 'test', 'extra'),
    ('val', 'test'),
    ('images_background', 'images_evaluation'),
    ('train ', 'test'),
  ],
)
def test_splits_of_other_names_are_explained(
  names: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
  for number, name in enumerate(names):
    _touch(tmp_path, f'{name}/class {number}/1.png')
  with pytest.raises(InputError, match='look like splits; expected the names train, val and test'):
    image_sources.from_folders(tmp_path)


def test_classes_may_be_called_like_splits(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, 'Train/1.png', 'Test/1.png', 'base/1.png')
  (found,) = _classes(image_sources.from_folders(tmp_path))
  assert [name for name, _ in found] == ['Test', 'Train', 'base']


def test_classes_that_differ_in_case_are_two_with_a_warning(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  data = _touch(tmp_path / 'data', '1', '2')
  table = _table(tmp_path, 'filename,label\n1,Cat\n2,cat\n')
  assert _classes(image_sources.from_csvs(data, [table])) == [[('Cat', 1), ('cat', 1)]]
  assert warnings == ["'Cat' and 'cat' are taken as two classes"]


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (b'PK\x03\x04', r'data\.zip is a zip archive, .*, not a folder of images; unpack it'),
    (b'x', r'data\.zip is a file; expected a folder of images'),
  ],
)
def test_a_file_in_place_of_the_folder_is_an_error(
  data: bytes, found: str, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'data.zip').write_bytes(data)
  for source in (
    lambda root: image_sources.from_folders(root),
    lambda root: image_sources.from_csvs(root, []),
    lambda root: image_sources.from_lists(root, []),
  ):
    with pytest.raises(InputError, match=found):
      source(tmp_path / 'data.zip')


@pytest.mark.parametrize('name', ['/etc/hostname', '../x', 'a/../../x', '//etc/x', '..'])
def test_names_that_lead_outside_are_refused(name: str, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'x, line 1: .* leads outside --input_path'):
    ImageTree(tmp_path).relative(name, 'x, line 1')


def test_names_that_lead_inside_are_plain(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'link').symlink_to(tmp_path)
  for name in ('a/b', './a//b', 'c/../a/b', f'{tmp_path}/a/b'):
    assert ImageTree(tmp_path).relative(name, '') == 'a/b'
  for name in (f'{tmp_path}/link/a/b', f'{tmp_path}/a/b'):
    assert ImageTree(tmp_path / 'link').relative(name, '') == 'a/b'
