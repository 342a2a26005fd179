"""What the miniImageNet converter says about files that are missing, broken or wrong."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_miniimagenet import CACHE, Content, convert, make_contents, write

from hypertransformer.data import files
from hypertransformer.errors import InputError

# A function that spoils what the file of a split holds.
Change = Callable[[Content], Content]


def _with(**parts: Any) -> Change:
  """Replaces entries of the dict."""
  return lambda content: {**content, **parts}


def _classes(**changed: Any) -> Change:
  """Makes classes `a`, `b` and `c`, and changes the indices of some, or adds a class."""
  return _with(class_dict={'a': [0, 1, 2], 'b': [3, 4, 5], 'c': [6, 7, 8], **changed})


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (_classes(b=[3, 4]), 'class 1 has 2 images; expected 3'),
    (_classes(b=[3, 4, 5, 6]), 'class 1 has 4 images; expected 3'),
    (
      _classes(c=[6, 7, 11]),
      'class 2 has the images 6 to 11; expected indices 0 to 10, as the file holds 11 images',
    ),
    (_classes(c=[-1, 7, 8]), 'class 2 has the images -1 to 8; expected indices 0 to 10'),
    (_classes(c=[6, 7, 5]), 'an image of class 2 is named twice'),
    (_classes(c=[6, 7, 7]), 'an image of class 2 is named twice'),
    (_classes(d=[9, 10, 2]), 'holds 4 classes; expected 3'),
    (_classes(b=[3, 4, 5.5]), "'class_dict' of class 'b' holds other things than numbers"),
    (_classes(b=[3, 4, 10**40]), "'class_dict' of class 'b' holds a number beyond 64 bits"),
    (_classes(b=range(10**6)), 'class 1 has 1000000 images; expected 3'),
    (_classes(b='abc'), "'class_dict' of class 'b' is a str; expected a list or array"),
    (
      _classes(b=np.zeros((3, 1), int)),
      r"'class_dict' of class 'b' is int64 \[3, 1\]; expected a list or array \[n\]",
    ),
    (_with(class_dict=[[0, 1, 2]]), "'class_dict' is a list; expected a dict"),
    (
      _with(image_data=np.zeros((9, 5, 4, 3), np.uint8)),
      r"'image_data' is uint8 \[9, 5, 4, 3\]; expected uint8 \[n, 4, 4, 3\]",
    ),
    (
      _with(image_data=np.zeros((9, 4, 4, 3))),
      r"'image_data' is float64 \[9, 4, 4, 3\]; expected uint8",
    ),
    (_with(image_data='x'), "'image_data' is a str; expected uint8"),
    (
      _with(image_data=[np.zeros((4, 4, 3), np.uint8), [0]]),
      "'image_data': entry 1 is a list; expected uint8",
    ),
    (
      lambda content: {'images': 1, 'labels': 2},
      "holds a dict of 'images', 'labels'; expected a dict of 'image_data'",
    ),
    (lambda content: {}, "holds a dict of none; expected a dict of 'image_data'"),
    (lambda content: [1], "holds a list; expected a dict of 'image_data'"),
    (
      lambda content: {'data': content['image_data'], 'labels': [1, 2]},
      "holds 2 'labels' for 11 images in 'data'",
    ),
    (
      lambda content: {'data': content['image_data'], 'labels': [1, 'a'] * 9},
      "'labels' are not of one kind",
    ),
    (
      lambda content: {'data': content['image_data'][:9], 'labels': [0, 1, 2, 3, 0, 1, 2, 3, 0]},
      'holds 4 classes; expected 3',
    ),
    (
      lambda content: {'data': content['image_data'][:9], 'labels': [0, 1, 2, 0, 1, 2, 0, 1, 1]},
      'class 1 has 4 images; expected 3',
    ),
  ],
)
def test_bad_contents_are_refused(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  contents['train'] = change(contents['train'])
  write(tmp_path, contents)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=f'mini-imagenet-cache-train.pkl.*{found}'):
    convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_a_late_error_leaves_nothing(tmp_path: pathlib.Path) -> None:
  """The first splits are written by the time the last one turns out to be cut."""
  write(tmp_path, make_contents())
  last = tmp_path / CACHE.format('test')
  last.write_bytes(last.read_bytes()[:-20])
  (tmp_path / 'out').mkdir()
  with pytest.raises(
    InputError, match=r'cache-test\.pkl is not a whole pickle .*make or download it again'
  ):
    convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_a_missing_file_says_what_was_looked_for(tmp_path: pathlib.Path) -> None:
  contents = make_contents()
  del contents['val']
  write(tmp_path, contents)
  with pytest.raises(
    InputError,
    match=r'holds no file of the val split; looked for mini-imagenet-cache-val\.pkl and '
    r'mini-imagenet-cache-validation\.pkl and miniImageNet_category_split_val\.pickle',
  ):
    convert(tmp_path)
  assert not (tmp_path / 'out').exists()


def test_a_web_page_in_any_split_is_found_first(tmp_path: pathlib.Path) -> None:
  (tmp_path / CACHE.format('train')).write_bytes(b'not even a pickle')
  for split in ('val', 'test'):
    (tmp_path / CACHE.format(split)).write_bytes(
      b'<!DOCTYPE html><title>Google Drive - Quota exceeded'
    )
  with pytest.raises(InputError, match=r'cache-val\.pkl is a web page, not a pickle'):
    convert(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: pathlib.Path) -> None:
  write(tmp_path, make_contents())
  path = tmp_path / CACHE.format('train')
  path.unlink()
  path.mkdir()
  with pytest.raises(InputError, match=r'cache-train\.pkl .*(is a folder|Is a directory)'):
    convert(tmp_path)


def test_a_full_disk_is_noticed_before_writing(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  write(tmp_path, make_contents())
  monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: _Usage(5))
  with pytest.raises(
    InputError, match=r'miniimagenet\.npy needs .* GB, but .* has 0\.00 GB free; make room'
  ):
    convert(tmp_path)
  assert not (tmp_path / 'out').exists()


class _Usage:
  """The room on a disk, as shutil tells it."""

  def __init__(self, free: int) -> None:
    self.free = free
