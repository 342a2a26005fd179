"""The miniImageNet converter on small files of the true structure."""

from __future__ import annotations

import collections
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.converters import miniimagenet
from hypertransformer.errors import InputError
from hypertransformer.files import writing

SIDE, SAMPLES = 4, 3
RELEASE = miniimagenet.Release((('train', 3), ('val', 1), ('test', 2)), samples=SAMPLES, side=SIDE)
Content = dict[str, Any]
CACHE = 'mini-imagenet-cache-{}.pkl'


def _split(seed: int, classes: int, extra: int = 2) -> tuple[np.ndarray, dict[str, list[int]]]:
  """Images, and indices of classes that are neither in order nor next to each other; `extra` images
  have no class.
  """
  rng = np.random.default_rng(seed)
  count = classes * SAMPLES + extra
  images = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
  order = rng.permutation(count)[: classes * SAMPLES].reshape(classes, SAMPLES)
  # Names fall, so that the stored order is not the sorted one.
  return images, {f'n{9 - cls:08d}': indices.tolist() for cls, indices in enumerate(order)}


SPLITS = {name: _split(seed, classes) for seed, (name, classes) in enumerate(RELEASE.splits)}
EXPECTED = np.stack(
  [images[indices] for images, classes in SPLITS.values() for indices in classes.values()]
)


def _contents() -> dict[str, Content]:
  return {
    name: {'image_data': images, 'class_dict': classes}
    for name, (images, classes) in SPLITS.items()
  }


def _write(
  folder: pathlib.Path,
  contents: dict[str, Content],
  name: str = CACHE,
  dump: Callable[[Any], bytes] = pickle.dumps,
) -> None:
  for split, content in contents.items():
    (folder / name.format(split)).write_bytes(dump(content))


def _convert(folder: pathlib.Path) -> np.ndarray:
  miniimagenet.convert(folder, folder / 'out' / 'miniimagenet.npy', RELEASE)
  assert os.listdir(folder / 'out') == ['miniimagenet.npy']
  return np.load(folder / 'out' / 'miniimagenet.npy')


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_image_data_and_class_dict(protocol: int, tmp_path: pathlib.Path) -> None:
  _write(tmp_path, _contents(), dump=lambda content: pickle.dumps(content, protocol))
  images = _convert(tmp_path)
  assert images.dtype == np.uint8
  np.testing.assert_array_equal(images, EXPECTED)


def test_files_of_python_2(tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]) -> None:
  _write(tmp_path, _contents(), dump=python_2_pickle)
  np.testing.assert_array_equal(_convert(tmp_path), EXPECTED)


@pytest.mark.parametrize('spelling', [b'numpy.core.', b'numpy._core.'])
def test_both_spellings_of_numpy(spelling: bytes, tmp_path: pathlib.Path) -> None:
  _write(
    tmp_path,
    _contents(),
    dump=lambda content: (
      pickle.dumps(content, 2)
      .replace(b'numpy._core.', b'numpy.core.')
      .replace(b'numpy.core.', spelling)
    ),
  )
  np.testing.assert_array_equal(_convert(tmp_path), EXPECTED)


def _as_arrays(classes: dict[str, list[int]]) -> Any:
  return collections.OrderedDict(
    (name, np.array(indices, np.int32)) for name, indices in classes.items()
  )


def _as_default_dict(classes: dict[str, list[int]]) -> Any:
  return collections.defaultdict(list, {name: tuple(indices) for name, indices in classes.items()})


@pytest.mark.parametrize('change', [_as_arrays, _as_default_dict])
@pytest.mark.parametrize('protocol', [2, 5])
def test_other_dicts_and_indices(
  change: Callable[[Any], Any], protocol: int, tmp_path: pathlib.Path
) -> None:
  contents = _contents()
  for content in contents.values():
    content['class_dict'] = change(content['class_dict'])
  _write(tmp_path, contents, dump=lambda content: pickle.dumps(content, protocol))
  np.testing.assert_array_equal(_convert(tmp_path), EXPECTED)


def test_ranges_as_indices(tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]) -> None:
  contents = _contents()
  contents['train']['class_dict'] = {'b': range(6, 9), 'a': range(3), 'c': range(3, 6)}
  for dump in (pickle.dumps, python_2_pickle):
    _write(tmp_path, contents, dump=dump)
    images = SPLITS['train'][0]
    np.testing.assert_array_equal(_convert(tmp_path)[:3], [images[6:9], images[:3], images[3:6]])


LABELLED = 'miniImageNet_category_split_{}.pickle'
LABELLED_NAMES = {'train': 'train_phase_train', 'val': 'val', 'test': 'test'}


def _labelled(
  kind: Callable[[list[int]], Any], as_list: bool
) -> tuple[dict[str, Content], np.ndarray]:
  """Contents of the other layout, labels counted on from split to split, and what must come of it."""
  contents, expected, first = {}, [], 0
  for seed, (name, classes) in enumerate(RELEASE.splits):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (classes * SAMPLES, SIDE, SIDE, 3), np.uint8)
    labels = rng.permutation(np.repeat(np.arange(first, first + classes), SAMPLES))
    expected += [images[labels == label] for label in range(first, first + classes)]
    contents[LABELLED_NAMES[name]] = {
      'data': list(images) if as_list else images,
      'labels': kind(labels.tolist()),
    }
    first += classes
  return contents, np.stack(expected)


@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize(
  'kind',
  [
    list,
    tuple,
    np.array,
    lambda labels: [f'n{label:04d}' for label in labels],
    lambda labels: list(np.array(labels)),
    lambda labels: [b'n%04d' % label for label in labels],
    lambda labels: np.array([f'n{label:04d}' for label in labels]),
  ],
  ids=['list', 'tuple', 'array', 'names', 'scalars', 'bytes', 'array of names'],
)
def test_data_and_labels(
  kind: Callable[[list[int]], Any], as_list: bool, tmp_path: pathlib.Path
) -> None:
  contents, expected = _labelled(kind, as_list)
  _write(tmp_path, contents, LABELLED)
  np.testing.assert_array_equal(_convert(tmp_path), expected)


def test_data_and_labels_of_python_2(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  contents, expected = _labelled(list, as_list=False)
  _write(tmp_path, contents, LABELLED, python_2_pickle)
  np.testing.assert_array_equal(_convert(tmp_path), expected)


def test_keys_as_bytes_and_a_name_of_another_package(tmp_path: pathlib.Path) -> None:
  contents = {
    name: {key.encode(): value for key, value in content.items()}
    for name, content in _contents().items()
  }
  contents['validation'] = contents.pop('val')
  _write(tmp_path, contents)
  np.testing.assert_array_equal(_convert(tmp_path), EXPECTED)


Change = Callable[[Content], Content]


def _with(**parts: Any) -> Change:
  return lambda content: {**content, **parts}


def _classes(**changed: Any) -> Change:
  """Changes the indices of class `a`, `b` or `c`."""
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
def test_bad_contents(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  contents = _contents()
  contents['train'] = change(contents['train'])
  _write(tmp_path, contents)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=f'mini-imagenet-cache-train.pkl.*{found}'):
    _convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_a_late_error_leaves_nothing(tmp_path: pathlib.Path) -> None:
  """The first splits are written by the time the last one turns out to be cut."""
  _write(tmp_path, _contents())
  last = tmp_path / CACHE.format('test')
  last.write_bytes(last.read_bytes()[:-20])
  (tmp_path / 'out').mkdir()
  with pytest.raises(
    InputError, match=r'cache-test\.pkl is not a whole pickle .*make or download it again'
  ):
    _convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def test_missing_file_names_what_was_looked_for(tmp_path: pathlib.Path) -> None:
  contents = _contents()
  del contents['val']
  _write(tmp_path, contents)
  with pytest.raises(
    InputError,
    match=r'holds no file of the val split; looked for mini-imagenet-cache-val\.pkl and '
    r'mini-imagenet-cache-validation\.pkl and miniImageNet_category_split_val\.pickle',
  ):
    _convert(tmp_path)
  assert not (tmp_path / 'out').exists()


def test_web_page_in_any_split_comes_first(tmp_path: pathlib.Path) -> None:
  (tmp_path / CACHE.format('train')).write_bytes(b'not even a pickle')
  for split in ('val', 'test'):
    (tmp_path / CACHE.format(split)).write_bytes(
      b'<!DOCTYPE html><title>Google Drive - Quota exceeded'
    )
  with pytest.raises(InputError, match=r'cache-val\.pkl is a web page, not a pickle'):
    _convert(tmp_path)


def test_unreadable_file(tmp_path: pathlib.Path) -> None:
  _write(tmp_path, _contents())
  path = tmp_path / CACHE.format('train')
  path.unlink()
  path.mkdir()
  with pytest.raises(InputError, match=r'cache-train\.pkl cannot be read \(Is a directory\)'):
    _convert(tmp_path)


def test_full_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  _write(tmp_path, _contents())
  monkeypatch.setattr(writing.shutil, 'disk_usage', lambda path: _Usage(5))
  with pytest.raises(
    InputError, match=r'miniimagenet\.npy needs .* GB, but .* has 0\.00 GB free; make room'
  ):
    _convert(tmp_path)
  assert not (tmp_path / 'out').exists()


class _Usage:
  def __init__(self, free: int) -> None:
    self.free = free


def test_official_counts() -> None:
  assert miniimagenet.OFFICIAL.shape == (100, 600, 84, 84, 3)
  assert miniimagenet.counts() == 'train 64 classes, val 16 classes, test 20 classes'
