"""The four ways to tell the split and class of images, and what is said about mistakes in them."""

from __future__ import annotations

import pathlib
import pickle
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hypertransformer.converters import image_sources
from hypertransformer.converters.image_sources import Split
from hypertransformer.errors import InputError

# For each split, the images of each class by their paths.
Found = list[tuple[str, dict[str, list[str]]]]


def _touch(root: pathlib.Path, *files: str) -> pathlib.Path:
  """Makes files, and the folders that they are in, and returns the root of all."""
  for file in files:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(b'x')
  return root


def _names(root: pathlib.Path, splits: Sequence[Split]) -> Found:
  return [
    (
      split.name,
      {
        cls.name: [pathlib.Path(str(image)).relative_to(root).as_posix() for image in cls.images]
        for cls in split.classes
      },
    )
    for split in splits
  ]


def _lists(root: pathlib.Path, **texts: str) -> list[pathlib.Path]:
  """Writes lists of classes, and returns their paths."""
  for name, text in texts.items():
    (root / f'{name}.txt').write_text(text)
  return [root / f'{name}.txt' for name in texts]


def test_each_folder_is_a_class(tmp_path: pathlib.Path) -> None:
  _touch(
    tmp_path,
    'b/2.png',
    'b/1.jpg',
    'a/x',
    'b/.hidden',
    'b/Thumbs.db',
    '.git/x',
    '__MACOSX/y',
    'train/n.png',
  )
  splits = image_sources.from_folders(tmp_path)  # a class may well be called train
  assert _names(tmp_path, splits) == [
    ('all', {'a': ['a/x'], 'b': ['b/1.jpg', 'b/2.png'], 'train': ['train/n.png']})
  ]
  assert splits[0].num_images == 4


def test_folders_of_splits_are_in_the_order_train_val_test(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  _touch(tmp_path, 'test/a/1', 'train/c/1', 'train/b/1', 'val/d/1', 'readme.txt')
  assert _names(tmp_path, image_sources.from_folders(tmp_path)) == [
    ('train', {'b': ['train/b/1'], 'c': ['train/c/1']}),
    ('val', {'d': ['val/d/1']}),
    ('test', {'a': ['test/a/1']}),
  ]
  assert '1 files beside the folders are left out' in warnings[0]


def test_images_may_be_in_a_single_folder_of_the_class(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, 'a/images/1', 'a/images/2')
  assert _names(tmp_path, image_sources.from_folders(tmp_path)) == [
    ('all', {'a': ['a/images/1', 'a/images/2']})
  ]


def test_links_to_classes_are_followed(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, 'elsewhere/1', 'data/a/1')
  (tmp_path / 'data' / 'b').symlink_to(tmp_path / 'elsewhere')
  assert _names(tmp_path, image_sources.from_folders(tmp_path / 'data'))[0][1]['b'] == ['data/b/1']


def _link(link: str, target: str) -> Callable[[pathlib.Path], None]:
  def make(root: pathlib.Path) -> None:
    _touch(root, 'a/1')
    (root / link).symlink_to(root / target)

  return make


def _made(*files: str) -> Callable[[pathlib.Path], None]:
  return lambda root: _touch(root, *files) and None


def _empty_class(root: pathlib.Path) -> None:
  _touch(root, 'a/1', 'b/.hidden')


@pytest.mark.parametrize(
  ('make', 'found'),
  [
    (lambda root: None, 'holds no folders; expected a folder of images for each class'),
    (_made('1.png', '2.png'), 'holds no folders'),
    (_made('train/1.png', 'test/2.png'), 'train holds no folders'),
    (_empty_class, r'the class folder .*/b holds no images'),
    (
      _made('a/b/1', 'a/c/1'),
      r"the class folder .*/a holds the folder 'b' beside others; .*--splits",
    ),
    (_made('a/b/1', 'a/1'), r"the class folder .*/a holds the folder 'b' beside images"),
    (_made('train/a/1', 'test/a/2'), "the class 'a' is in two splits, train and test"),
    (_link('a/loop', 'a'), 'a/loop is a link that leads back to a folder above it'),
    (_link('loop', '.'), 'loop is a link that leads back'),
    (_link('a/circle', 'a/circle'), 'a/circle is a broken link, or one in a circle'),
    (_link('a/2', 'gone'), 'a/2 is a broken link'),
  ],
)
def test_folders_that_cannot_be_used_are_errors(
  make: Callable[[pathlib.Path], None], found: str, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    image_sources.from_folders(tmp_path)


def test_links_in_a_circle_are_an_error(tmp_path: pathlib.Path) -> None:
  _touch(tmp_path, 'a/.x', 'b/.x')
  (tmp_path / 'a' / 'link').symlink_to(tmp_path / 'b')
  (tmp_path / 'b' / 'link').symlink_to(tmp_path / 'a')
  with pytest.raises(InputError, match='link'):
    image_sources.from_folders(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'nowhere cannot be read \(No such file or directory\)'):
    image_sources.from_folders(tmp_path / 'nowhere')


def test_lists_name_the_classes_of_each_split(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  data = _touch(tmp_path / 'data', 'a/1', 'b/1', 'c/1', 'group/d/1', 'e/1')
  lists = _lists(tmp_path, train='c\r\ngroup/d\n\n', val='b', test='\ufeffa\n')
  assert _names(data, image_sources.from_lists(data, lists)) == [
    ('train', {'c': ['c/1'], 'group/d': ['group/d/1']}),
    ('val', {'b': ['b/1']}),
    ('test', {'a': ['a/1']}),
  ]
  assert warnings == [f'{data}: 1 folders (e, ...) are in no split and left out']


@pytest.mark.parametrize(
  ('texts', 'found'),
  [
    ({'train': 'a\nz\n'}, r"train\.txt, line 2: .* has no folder 'z'"),
    ({'train': 'a\n\na\n'}, r"train\.txt, line 3: the class 'a' is listed twice"),
    ({'train': 'a\n../../etc\n'}, r"train\.txt, line 2: '\.\./\.\./etc' leads outside"),
    ({'train': '/etc'}, r"line 1: '/etc' leads outside"),
    ({'train': 'a', 'test': 'a'}, "the class 'a' is in two splits, train and test"),
    ({'train': 'a', 'test': '\n'}, "the split 'test' has no classes"),
    ({'train': '<html>'}, r'train\.txt is a web page, not a list of class names'),
  ],
)
def test_lists_that_cannot_be_used_are_errors(
  texts: dict[str, str], found: str, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  data = _touch(tmp_path / 'data', 'a/1')
  with pytest.raises(InputError, match=found):
    image_sources.from_lists(data, _lists(tmp_path, **texts))


def test_tables_name_the_images_of_each_split(tmp_path: pathlib.Path) -> None:
  """Images keep the order of the table, classes are sorted, and there may be more columns."""
  data = _touch(tmp_path / 'images', 'b1.jpg', 'b0.jpg', 'a,1.jpg', 'sub/c.jpg')
  (tmp_path / 'train.csv').write_text('\ufefffilename,label\nb1.jpg,b\n"a,1.jpg",a\nb0.jpg,b\n')
  (tmp_path / 'test.csv').write_text('x,label,filename\r\n1,c,sub/c.jpg\r\n')
  splits = image_sources.from_csvs(data, [tmp_path / 'train.csv', tmp_path / 'test.csv'])
  assert _names(data, splits) == [
    ('train', {'a': ['a,1.jpg'], 'b': ['b1.jpg', 'b0.jpg']}),
    ('test', {'c': ['sub/c.jpg']}),
  ]


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('a.jpg,a\n', r"train\.csv: the first line is 'a\.jpg,a'; expected the columns filename,label"),
    (
      'filename,label\na.jpg,a\nz.jpg,a\ny.jpg,a\n',
      r"line 3: 'z\.jpg' is not a file in .* \(and 1 further",
    ),
    ('filename,label\na.jpg,a\na.jpg,b\n', r"line 3: 'a\.jpg' is named before"),
    ('filename,label\na.jpg\n', 'line 2: the file name or the label is missing'),
    ('filename,label\n../train.csv,a\n', r"line 2: '\.\./train\.csv' leads outside"),
    ('filename,label\n"a.jpg,a\n', r'train\.csv, line 2: '),
    ('filename,label\n', "the split 'train' has no classes"),
    ('', r'train\.csv is an empty file'),
  ],
)
def test_tables_that_cannot_be_used_are_errors(
  text: str, found: str, tmp_path: pathlib.Path
) -> None:
  data = _touch(tmp_path / 'images', 'a.jpg')
  (tmp_path / 'train.csv').write_text(text)
  with pytest.raises(InputError, match=found):
    image_sources.from_csvs(data, [tmp_path / 'train.csv'])


def test_tables_that_are_no_text_or_have_the_same_name_are_errors(tmp_path: pathlib.Path) -> None:
  table = tmp_path / 'a.csv'
  table.write_bytes(b'filename,label\n\xff\xfe,a\n')
  with pytest.raises(InputError, match=r'a\.csv is not text in UTF-8'):
    image_sources.from_csvs(tmp_path, [table])
  _touch(tmp_path, 'x', 'sub/y')
  table.write_text('filename,label\nx,a\n')
  (tmp_path / 'sub' / 'a.csv').write_text('filename,label\nsub/y,b\n')
  with pytest.raises(InputError, match="two splits are called 'a'"):
    image_sources.from_csvs(tmp_path, [table, tmp_path / 'sub' / 'a.csv'])


@pytest.mark.parametrize('protocol', [2, 4])
def test_pickles_hold_the_pixels_of_each_split(protocol: int, tmp_path: pathlib.Path) -> None:
  images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
  labels = [7, 10, 2, 7, 2, 7]
  (tmp_path / 'X_train.pickle').write_bytes(
    pickle.dumps({'data': images, 'labels': labels}, protocol)
  )
  (tmp_path / 'Y.pickle').write_bytes(
    pickle.dumps({b'data': 255 - images, b'labels': np.array(labels)}, protocol)
  )
  split, of_python_2 = image_sources.from_pickles(
    [tmp_path / 'X_train.pickle', tmp_path / 'Y.pickle']
  )
  assert [cls.name for cls in of_python_2.classes] == ['Y/2', 'Y/7', 'Y/10']
  assert [cls.name for cls in split.classes] == ['X_train/2', 'X_train/7', 'X_train/10']
  for cls, rows in zip(split.classes, ([2, 4], [0, 3, 5], [1]), strict=True):
    np.testing.assert_array_equal(cls.images, images[rows])


PIXELS = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
  ('content', 'found'),
  [
    ([1, 2], 'holds a list; expected a dict with the entries data and labels'),
    (
      {'data': PIXELS},
      "holds a dict with 'data'; expected a dict with the entries data and labels",
    ),
    (
      {'data': PIXELS.astype(np.float32), 'labels': [0, 1]},
      r'data is float32 \[2, 4, 4, 3\]; expected uint8',
    ),
    ({'data': PIXELS[..., 0], 'labels': [0, 1]}, r'data is uint8 \[2, 4, 4\]'),
    ({'data': PIXELS, 'labels': [0, 1, 2]}, 'has 3 labels for 2 images; expected one for each'),
    ({'data': PIXELS, 'labels': ['a', 'b']}, 'labels of .* holds other things than numbers'),
    (pathlib.PurePosixPath('a'), 'is refused: it wants to use pathlib'),
  ],
)
def test_pickles_that_cannot_be_used_are_errors(
  content: object, found: str, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'x.pickle').write_bytes(pickle.dumps(content))
  with pytest.raises(InputError, match=found):
    image_sources.from_pickles([tmp_path / 'x.pickle'])


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (
      b'PK\x03\x04' + bytes(60),
      'is a zip archive, as .zip and .npz files are, not a pickle; unpack',
    ),
    (b'\x93NUMPY' + bytes(60), r'is a NumPy \.npy file, not a pickle'),
    (b'\x89HDF' + bytes(60), 'is an HDF5 file .*, not a pickle'),
    (b'\x1f\x8b' + bytes(60), 'is compressed by gzip, not a pickle; unpack it'),
    (b'version https://git-lfs.github.com/spec/v1\n', '.*Git LFS'),
  ],
)
def test_other_files_in_place_of_pickles_are_named(
  data: bytes, found: str, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'x.pickle').write_bytes(data)
  with pytest.raises(InputError, match=rf'x\.pickle {found}'):
    image_sources.from_pickles([tmp_path / 'x.pickle'])


def test_a_pickle_under_two_names_is_an_error(tmp_path: pathlib.Path) -> None:
  """Also if the order of its images is another one."""
  images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
  for name, order in (('train', [0, 1, 2, 3]), ('test', [1, 0, 3, 2])):
    content = {'data': images[order], 'labels': [0, 0, 1, 1]}
    (tmp_path / f'{name}.pickle').write_bytes(pickle.dumps(content))
  with pytest.raises(
    InputError, match="the class 'test/0' of test has the same images as 'train/0'"
  ):
    image_sources.from_pickles([tmp_path / 'train.pickle', tmp_path / 'test.pickle'])
