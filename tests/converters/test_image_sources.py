"""The four ways to tell the split and class of images, and the mistakes in them."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.converters import image_sources
from hypertransformer.converters.image_sources import Splits
from hypertransformer.errors import InputError

# For each split, the paths of the images of each class.
Found = dict[str, dict[str, list[str]]]
COMPOSED = unicodedata.normalize('NFC', 'Käfer')
DECOMPOSED = unicodedata.normalize('NFD', 'Käfer')
HEAD = 'filename,label\n'


def _touch(root: pathlib.Path, *files: str) -> pathlib.Path:
  """Make files, and the folders that they are in, and return the root of all."""
  for file in files:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(b'x')
  return root


def _names(root: pathlib.Path, splits: Splits) -> Found:
  return {
    split: {name: [os.path.relpath(str(image), root) for image in images]
            for name, images in classes.items()}
    for split, classes in splits.items()
  }  # fmt: skip


def _written(root: pathlib.Path, suffix: str, **texts: str) -> list[pathlib.Path]:
  """Write lists or tables, and return their paths."""
  for name, text in texts.items():
    (root / f'{name}.{suffix}').write_text(text, 'utf-8')
  return [root / f'{name}.{suffix}' for name in texts]


def _from_folders(root: pathlib.Path) -> Found:
  return _names(root, image_sources.from_folders(root))


def _from_lists(root: pathlib.Path, **texts: str) -> Found:
  lists = _written(root.parent, 'txt', **texts)
  return _names(root, image_sources.from_lists(root, lists))


def _from_csvs(root: pathlib.Path, **texts: str) -> Found:
  tables = _written(root.parent, 'csv', **texts)
  return _names(root, image_sources.from_csvs(root, tables))


def test_each_folder_is_a_class_in_natural_order(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, '10/x10.png', '10/x9.jpg', '2/images/1', 'train/n.png')
  assert _from_folders(tmp_path) == {
    'all': {'2': ['2/images/1'], '10': ['10/x9.jpg', '10/x10.png'], 'train': ['train/n.png']}
  }
  assert list(_from_folders(tmp_path)['all']) == ['2', '10', 'train']


def test_folders_of_splits_are_in_the_order_train_val_test(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  _touch(tmp_path, 'test/a/1', 'train/c/1', 'train/b/1', 'val/d/1', 'readme.txt')
  found = _from_folders(tmp_path)
  assert list(found) == ['train', 'val', 'test']
  assert found['train'] == {'b': ['train/b/1'], 'c': ['train/c/1']}
  assert ' 1 files' in warnings[0]


def test_leftovers_are_no_classes_and_no_images(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  data = _touch(tmp_path / 'data', 'train/b/1.jpg', 'test/c/2.jpg', 'lost+found/3')
  for folder in ('', 'train', 'train/b', 'test', 'test/c'):
    _touch(data / folder, '@eaDir/x/SYNO.jpg', '#recycle/y.jpg', '.DS_Store', 'Icon\r')
    _touch(data / folder, '._x.jpg', '__MACOSX/._x.jpg', 'x.jpg:Zone.Identifier')
  os.mkfifo(data / 'train' / 'b' / 'pipe')
  expected = {'train': {'b': ['train/b/1.jpg']}, 'test': {'c': ['test/c/2.jpg']}}
  assert _from_folders(data) == expected
  (line,) = warnings
  assert '@eaDir (5)' in line
  assert len(line.splitlines()) == 1
  table = HEAD + 'train/b/1.jpg,b\ntrain/b/._x.jpg,a\n@eaDir/x/SYNO.jpg,@eaDir\n'
  assert _from_csvs(data, train=table) == {'train': {'b': ['train/b/1.jpg']}}
  assert _from_lists(data, train='@eaDir/x\ntrain/b\n') == {'train': {'train/b': ['train/b/1.jpg']}}


@pytest.mark.parametrize('other', ['cat ', ' cat', 'cat\t', '\u200bcat'])
def test_folders_of_one_name_are_one_class(other: str, tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, 'cat/1', f'{other}/2', f'{COMPOSED}/3', f'{DECOMPOSED}/4')
  (found,) = _from_folders(tmp_path).values()
  assert {name: len(images) for name, images in found.items()} == {COMPOSED: 2, 'cat': 2}


@pytest.mark.parametrize(('one', 'other'), [('cat', 'cat '), (COMPOSED, DECOMPOSED), ('c', './c/')])
def test_one_class_in_two_splits_is_an_error(one: str, other: str, tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', f'train/{one}/1', f'test/{other}/2')
  _touch(data / 'train', f'{one}/1', 'x')
  with pytest.raises(InputError, match=r'test and .* of train are the same'):
    _from_folders(data)
  with pytest.raises(InputError, match=r'test and .* of train are the same'):
    _from_lists(data, train=f'train/{one}/', test=f'./train//{one}\n')
  with pytest.raises(InputError, match=r'test and .* of train are the same'):
    _from_csvs(data, train=f'{HEAD}train/{one}/1,{one}\n', test=f'{HEAD}train/x,{other}\n')


@pytest.mark.parametrize(
  ('one', 'other'), [('2', '2.0'), ('2.50', '2.5'), ('007', '7'), ('g/+3', 'g/3.')]
)
@pytest.mark.parametrize('tables', [1, 2])
def test_one_number_in_two_spellings_is_an_error(
  tables: int, one: str, other: str, tmp_path: pathlib.Path
) -> None:
  data = _touch(tmp_path / 'data', '1', '2')
  rows = f'1,{one}\n', f'2,{other}\n'
  texts = {'t': HEAD + ''.join(rows)} if tables == 1 else {'t': HEAD + rows[0], 'u': HEAD + rows[1]}
  with pytest.raises(
    InputError, match=f"'{re.escape(one)}' and '{re.escape(other)}' are one number"
  ):
    _from_csvs(data, **texts)


@pytest.mark.parametrize('name', ['split', 'is_train'])
def test_columns_that_are_ignored_are_named(
  name: str, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  data = _touch(tmp_path / 'data', '1', '2')
  _from_csvs(data, t=f',Filename,{name},label\n0,1,train,a\n1,2,test,b\n')
  (line,) = warnings
  assert f'the columns {name} are ignored' in line


def test_files_beside_a_folder_of_images_are_skipped(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  """As in Tiny ImageNet."""
  _touch(tmp_path, 'n01/images/1.JPEG', 'n01/n01_boxes.txt', 'n02/images/2.JPEG')
  assert _from_folders(tmp_path) == {
    'all': {'n01': ['n01/images/1.JPEG'], 'n02': ['n02/images/2.JPEG']}
  }
  (line,) = warnings
  assert 'n01: skipped 1 files' in line


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_one_image_in_two_splits_is_an_error(
  link: Callable[[pathlib.Path, pathlib.Path], None], tmp_path: pathlib.Path
) -> None:
  _touch(tmp_path, 'train/a/1.png', 'test/b/2.png')
  link(tmp_path / 'train' / 'a' / '1.png', tmp_path / 'test' / 'b' / '3.png')
  with pytest.raises(
    InputError, match=r'test/b/3\.png of test and .*train/a/1\.png of train are the same'
  ):
    _from_folders(tmp_path)


def test_links_are_followed(tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', 'a/1')
  _touch(tmp_path, 'elsewhere/1', 'other.png')
  (data / 'b').symlink_to(tmp_path / 'elsewhere')
  (data / 'a' / '2').symlink_to('1')
  (data / 'a' / '3').symlink_to('../../other.png')
  expected = {'a': ['a/1', 'a/2', 'a/3'], 'b': ['b/1']}
  assert _from_folders(data) == {'all': expected}
  assert _from_csvs(data, train=f'{HEAD}a/1,a\na/2,a\na/3,a\nb/1,b\n') == {'train': expected}


def test_splits_of_other_names_are_explained(tmp_path: pathlib.Path) -> None:
  for name in ('Train/a', 'Train/b', 'Test/c'):
    _touch(tmp_path, f'{name}/1.png')
  with pytest.raises(InputError, match=r'Train.* contains the folder .*train, val and test'):
    _from_folders(tmp_path)


def test_classes_may_be_called_like_splits_and_differ_in_case(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  _touch(tmp_path, 'Train/1.png', 'Test/1.png', 'base/1.png', 'Base/2.png')
  assert list(_from_folders(tmp_path)['all']) == ['Base', 'Test', 'Train', 'base']
  assert warnings == ["'Base' and 'base' are two classes"]


def _link(link: str, target: str) -> Callable[[pathlib.Path], None]:
  return lambda root: (_touch(root, 'a/1') / link).symlink_to(root / target)


def _made(*files: str) -> Callable[[pathlib.Path], Any]:
  return lambda root: _touch(root, *files)


@pytest.mark.parametrize(
  ('make', 'found'),
  [
    (_made('.x'), 'contains no folders'),
    (_made('train/1.png', 'test/2.png'), 'train contains no folders'),
    (_made('a/1', 'b/.hidden'), 'class folder .*/b contains no images'),
    (_made('a/b/1', 'a/c/1'), "class folder .*/a contains the folder 'b'.*--splits"),
    (_link('a/loop', 'a'), "'loop'"),
    (_link('loop', '.'), '/loop contains'),
  ],
)
def test_folders_that_cannot_be_used_are_errors(
  make: Callable[[pathlib.Path], Any], found: str, tmp_path: pathlib.Path
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    _from_folders(tmp_path)


def test_lists_name_the_classes_of_each_split(tmp_path: pathlib.Path) -> None:
  data = _touch(tmp_path / 'data', 'b/1', 'c/1', 'group/d/1', f'{DECOMPOSED}/1')
  lists = {'train': f'c\r\n./group//d/\n\n{data}/x/../b', 'test': f'\ufeff{DECOMPOSED}\n'}
  assert _from_lists(data, **lists) == {
    'train': {'b': ['b/1'], 'c': ['c/1'], 'group/d': ['group/d/1']},
    'test': {COMPOSED: [f'{DECOMPOSED}/1']},
  }


@pytest.mark.parametrize(
  ('texts', 'found'),
  [
    ({'train': 'a\nz\n'}, r"train\.txt, line 2: 'z'"),
    ({'train': 'a\n../../etc\n'}, r"train\.txt, line 2: '\.\./\.\./etc' .*--input_path"),
    ({'train': '/etc'}, r"line 1: '/etc' .*--input_path"),
    ({'train': '.'}, "class folder .* contains the folder 'a'"),
    ({'train': 'a', 'test': '\n'}, "'test' has no classes"),
  ],
)
def test_lists_that_cannot_be_used_are_errors(
  texts: dict[str, str], found: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=found):
    _from_lists(_touch(tmp_path / 'data', 'a/1', 'b/1'), **texts)


def test_tables_name_the_images_of_each_split(tmp_path: pathlib.Path) -> None:
  """Images keep the order of the table, classes are sorted, and there may be more columns."""
  data = _touch(tmp_path / 'data', 'b1.jpg', 'b0.jpg', 'a,1.jpg', 'sub/c.jpg', 'd.jpg')
  _touch(data, f'{DECOMPOSED}/{DECOMPOSED}.jpg')
  (tmp_path / 'link').symlink_to(data)
  tables = {
    'train': f'\ufeffFilename, label ,x\nb1.jpg,b,1\n"a,1.jpg",a,2\n{tmp_path}/link/b0.jpg, b ,3\n',
    'val': f'{HEAD} d.jpg,d\n{DECOMPOSED}/{DECOMPOSED}.jpg,{DECOMPOSED}\n',
    'test': f'x,label,filename\r\n1,c,{tmp_path}/link/./sub//c.jpg\r\n',
  }
  assert _from_csvs(tmp_path / 'link', **tables) == {
    'train': {'a': ['a,1.jpg'], 'b': ['b1.jpg', 'b0.jpg']},
    'val': {COMPOSED: [f'{DECOMPOSED}/{DECOMPOSED}.jpg'], 'd': ['d.jpg']},
    'test': {'c': ['sub/c.jpg']},
  }


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('a.jpg,a\n', r'train\.csv: .*filename and label'),
    (f'{HEAD}a.jpg,a\nz.jpg,a\ny.jpg,a\n', r"train\.csv, line 3: 'z\.jpg' is not a file"),
    *((f'{HEAD}a.jpg,a\n{name},b\n', r'line 3: .* is named before \(.*train\.csv, line 2\)')
      for name in ('a.jpg', './a.jpg', 'b/../a.jpg', ' a.jpg', './/a.jpg')),
    *((f'{HEAD}{row}\n', 'line 2: the file name or the label is missing')
      for row in ('a.jpg', 'a.jpg, ', 'a.jpg,./', ' ,a')),
    *((f'{HEAD}{name},a\n', 'line 2: .* is outside of --input_path')
      for name in ('../train.csv', '/etc/hostname', 'a/../../train.csv', '//etc/x', '..')),
    (f'{HEAD}"a.jpg,a\n', r'train\.csv, line 2: '),
    (HEAD, "'train' has no classes"),
  ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_errors(
  text: str, found: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=found):
    _from_csvs(_touch(tmp_path / 'data', 'a.jpg'), train=text)


@pytest.mark.parametrize('protocol', [2, 4])
def test_pickles_hold_the_pixels_of_each_split(protocol: int, tmp_path: pathlib.Path) -> None:
  pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
  labels = [7, 10, 2, 7, 2, 7]
  for name, content in (
    ('X_train', {'data': pixels, 'labels': labels}),
    ('Y', {b'data': 255 - pixels, b'labels': np.array(labels)}),
  ):
    (tmp_path / f'{name}.pickle').write_bytes(pickle.dumps(content, protocol))
  found = image_sources.from_pickles([tmp_path / 'X_train.pickle', tmp_path / 'Y.pickle'])
  assert list(found['X_train']) == ['X_train/2', 'X_train/7', 'X_train/10']
  assert list(found['Y']) == ['Y/2', 'Y/7', 'Y/10']
  for images, rows in zip(found['X_train'].values(), ([2, 4], [0, 3, 5], [1]), strict=True):
    np.testing.assert_array_equal(images, pixels[rows])
