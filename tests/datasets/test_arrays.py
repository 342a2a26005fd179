"""Reading datasets of every layout, the view by class, and what is said about bad files."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from absl import logging

from hypertransformer.datasets import arrays, layouts, specs
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 3, 5, 6, 2), dtype=np.uint8)  # classes, samples, H, W, C
RAGGED = [RNG.integers(0, 256, (count, 5, 6, 3), dtype=np.uint8) for count in (2, 4, 1, 3, 2)]


def _by_class(found: arrays.ClassArrays) -> list[np.ndarray]:
  return [
    found.gather(found.rows(cls, range(found.sizes[cls]))) for cls in range(found.num_classes)
  ]


def _save_chunk(path: pathlib.Path, classes: list[np.ndarray]) -> None:
  chunk = np.empty(len(classes), object)
  chunk[:] = classes
  np.save(path, chunk, allow_pickle=True)


def _assert_classes(found: arrays.ClassArrays, expected: list[np.ndarray]) -> None:
  assert found.num_classes == len(expected)
  for got, want in zip(_by_class(found), expected, strict=True):
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.uint8


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The warnings that are logged."""
  said: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *args: said.append(text % args))
  return said


def test_single_file_is_memory_mapped(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  found = folder_lib.load('x', str(tmp_path))
  assert isinstance(found.images, np.memmap)
  assert found.images.shape == (12, 5, 6, 2)
  assert found.image_shape == (5, 6, 2)
  assert found.name == 'x'
  _assert_classes(found, list(IMAGES))


def test_single_file_without_channels(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', IMAGES[..., 0])
  _assert_classes(folder_lib.load('x', str(tmp_path)), list(IMAGES[..., :1]))
  assert not warnings


def test_a_flat_array_by_mistake_is_warned_of(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', np.zeros((9, 5, 6, 3), np.uint8))
  folder_lib.load('x', str(tmp_path))
  assert any('images are 3 wide' in text for text in warnings)


def test_fortran_order(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', np.asfortranarray(IMAGES))
  _assert_classes(folder_lib.load('x', str(tmp_path)), list(IMAGES))


@pytest.mark.parametrize(
  ('stored', 'expected'),
  [
    (IMAGES > 99, np.where(IMAGES > 99, 255, 0)),
    (IMAGES.astype(np.float32), IMAGES),
    (IMAGES.astype('>f8') * 0.99 + 0.3, np.round(IMAGES * 0.99 + 0.3)),
    (np.full((1, 2, 3, 3, 1), 254.6, np.float16), np.full((1, 2, 3, 3, 1), 255)),
  ],
)
def test_other_dtypes(
  stored: np.ndarray, expected: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(layouts, '_BLOCK_BYTES', 1500)  # several blocks, the last one shorter
  np.save(tmp_path / 'x.npy', stored)
  _assert_classes(folder_lib.load('x', str(tmp_path)), list(expected))


def _flat_folder(folder: pathlib.Path, images: np.ndarray, sizes: np.ndarray) -> None:
  folder.mkdir()
  np.save(folder / 'images.npy', images)
  np.save(folder / 'class_sizes.npy', sizes)


def test_flat_folder_is_memory_mapped(tmp_path: pathlib.Path) -> None:
  _flat_folder(tmp_path / 'x', np.concatenate(RAGGED), np.array([len(part) for part in RAGGED]))
  found = folder_lib.load('x', str(tmp_path))
  assert isinstance(found.images, np.memmap)
  assert found.starts.tolist() == [0, 2, 6, 7, 10]
  assert found.starts.dtype == found.sizes.dtype == np.int64
  _assert_classes(found, RAGGED)


def test_chunks_in_the_order_of_their_names(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').mkdir()
  _save_chunk(tmp_path / 'x' / 'part_b.npy', RAGGED[3:])
  _save_chunk(tmp_path / 'x' / 'part_a.npy', RAGGED[:3])
  (tmp_path / 'x' / '.part_0.npy.123.part').write_bytes(b'left behind')
  _assert_classes(folder_lib.load('x', str(tmp_path)), RAGGED)


def test_chunks_of_other_forms(tmp_path: pathlib.Path) -> None:
  folder = tmp_path / 'x'
  folder.mkdir()
  np.save(folder / '1.npy', IMAGES)  # what np.save makes of a list of equally large classes
  inside = np.empty((), object)
  inside[()] = [IMAGES[0], IMAGES[1, :2]]
  np.save(folder / '2.npy', inside, allow_pickle=True)
  single = np.empty(2, object)
  single[:] = list(IMAGES[2, :2])
  _save_chunk(folder / '3.npy', [single, IMAGES[3].astype(np.float32)])
  _assert_classes(
    folder_lib.load('x', str(tmp_path)),
    [*IMAGES, IMAGES[0], IMAGES[1, :2], IMAGES[2, :2], IMAGES[3]],
  )


def test_rows_and_gather(tmp_path: pathlib.Path) -> None:
  _flat_folder(tmp_path / 'x', np.concatenate(RAGGED), np.array([len(part) for part in RAGGED]))
  found = folder_lib.load('x', str(tmp_path))
  rows = found.rows(1, np.array([3, 0]))
  assert rows.tolist() == [5, 2]
  np.testing.assert_array_equal(found.gather(rows), RAGGED[1][[3, 0]])
  assert found.gather([]).shape == (0, 5, 6, 3)
  for samples in ([4], [-1], [0, 9]):
    with pytest.raises(IndexError, match=r'class 1 has samples 0\.\.3'):
      found.rows(1, samples)


def test_shuffled_permutes_classes_without_copying(tmp_path: pathlib.Path) -> None:
  _flat_folder(tmp_path / 'x', np.concatenate(RAGGED), np.array([len(part) for part in RAGGED]))
  found = folder_lib.load('x', str(tmp_path))
  shuffled = found.shuffled(2022)
  order = specs.shuffled_classes(5, 2022)
  assert order != list(range(5))
  assert shuffled.images is found.images
  _assert_classes(shuffled, [RAGGED[old] for old in order])
  assert found.shuffled(0) is found
  assert found.shuffled(-1) is found


@pytest.fixture
def large(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
  """The images of the folder x, in memory; files count as large."""
  if not hasattr(os, 'preadv'):
    pytest.skip('this system has no preadv; large files are read through the memory map')
  monkeypatch.setattr(arrays, 'LARGE_BYTES', 0)
  images = np.concatenate(RAGGED)
  _flat_folder(tmp_path / 'x', images, np.array([len(part) for part in RAGGED]))
  return images


def test_a_large_file_is_read_by_rows(
  large: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  read: list[list[int]] = []
  preads = arrays._File.read
  monkeypatch.setattr(
    arrays._File, 'read', lambda self, rows: read.append(rows.tolist()) or preads(self, rows)
  )
  found = folder_lib.load('x', str(tmp_path))
  _assert_classes(found, RAGGED)
  order = specs.shuffled_classes(5, 2022)
  _assert_classes(found.shuffled(2022), [RAGGED[old] for old in order])
  np.testing.assert_array_equal(found.gather([11, 0, 11]), large[[11, 0, 11]])
  assert read[-1] == [11, 0, 11]
  assert found.gather([]).shape == (0, 5, 6, 3)
  for rows in ([12], [3, -1]):
    with pytest.raises(IndexError, match=r'images\.npy has rows 0\.\.11, asked for'):
      found.gather(rows)


@pytest.mark.usefixtures('large')
def test_a_large_file_that_is_cut_meanwhile(tmp_path: pathlib.Path) -> None:
  found = folder_lib.load('x', str(tmp_path))
  path = tmp_path / 'x' / 'images.npy'
  os.truncate(path, path.stat().st_size - 1)
  np.testing.assert_array_equal(found.gather([10]), RAGGED[4][:1])
  with pytest.raises(InputError, match=r'images\.npy has become shorter'):
    found.gather([11])


@pytest.mark.usefixtures('large')
def test_arrays_without_a_file_of_their_own_are_indexed(tmp_path: pathlib.Path) -> None:
  """A copy, a part, another order and plain memory: all right, though not by rows of a file."""
  images = folder_lib.load('x', str(tmp_path)).images
  np.save(tmp_path / 'f.npy', np.asfortranarray(IMAGES))
  for part in (images[2:5], images + np.uint8(1), np.array(images), images[:, ::2]):
    found = folder_lib.of_images('part', (part, np.array([len(part)])))
    np.testing.assert_array_equal(found.gather([1, 0]), np.array(part)[[1, 0]])
  _assert_classes(folder_lib.load('f', str(tmp_path)), list(IMAGES))


def test_resident_memory_stays_small(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  statm = pathlib.Path('/proc/self/statm')
  if not statm.exists() or not hasattr(os, 'preadv'):
    pytest.skip('resident memory is looked at on Linux only')
  monkeypatch.setattr(arrays, 'LARGE_BYTES', 1 << 24)
  images = np.lib.format.open_memmap(
    tmp_path / 'x.npy', mode='w+', dtype=np.uint8, shape=(20, 50, 256, 256, 3)
  )  # 197 MB, sparse on disk
  images[7, 3] = 9
  images.flush()
  del images
  found = folder_lib.load('x', str(tmp_path))

  def resident() -> int:
    return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')

  before = resident()
  for cls in range(20):
    for start in range(0, 50, 10):
      found.gather(found.rows(cls, range(start, start + 10)))
  assert resident() - before < 30e6
  assert (found.gather(found.rows(7, [3])) == 9).all()


def _write(content: bytes) -> Callable[[pathlib.Path], None]:
  return lambda root: (root / 'x.npy').write_bytes(content) and None


def _store(array: np.ndarray) -> Callable[[pathlib.Path], None]:
  return lambda root: np.save(root / 'x.npy', array, allow_pickle=True)


def _folder(images: np.ndarray, sizes: np.ndarray) -> Callable[[pathlib.Path], None]:
  return lambda root: _flat_folder(root / 'x', images, sizes)


def _chunk(*classes: object) -> Callable[[pathlib.Path], None]:
  def make(root: pathlib.Path) -> None:
    (root / 'x').mkdir()
    _save_chunk(root / 'x' / '1.npy', list(classes))  # type: ignore[arg-type]

  return make


def _truncated(root: pathlib.Path) -> None:
  np.save(root / 'x.npy', IMAGES)
  (root / 'x.npy').write_bytes((root / 'x.npy').read_bytes()[:-1])


def _archive(root: pathlib.Path) -> None:
  np.savez(root / 'x.npz', a=IMAGES)
  (root / 'x.npz').rename(root / 'x.npy')


def _half_folder(root: pathlib.Path) -> None:
  (root / 'x').mkdir()
  np.save(root / 'x' / 'images.npy', IMAGES[0])


def _bare(shape: tuple[int, ...], dtype: object, value: float = 2.0) -> np.ndarray:
  return np.full(shape, value, dtype)  # type: ignore[call-overload]


@pytest.mark.parametrize(
  ('make', 'found'),
  [
    (
      lambda root: None,
      r"dataset 'x' is not there: looked for .*x\.npy and the folder .*x; make it from images with "
      r'python utils/cache_image_folder\.py, or put x\.npy \[classes, samples, H, W, C\] there',
    ),
    (_write(b'<html><body>Not found'), r'x\.npy is a web page'),
    (_write(b''), r'x\.npy is an empty file'),
    (_write(b'hello, this is text'), r'x\.npy is not a NumPy \.npy file'),
    (_archive, r'x\.npy is not a NumPy \.npy file'),
    (_truncated, r'x\.npy is truncated: uint8 \[4, 3, 5, 6, 2\] needs 720 bytes, .* has 719'),
    (_store(_bare((3, 4, 5), np.uint8)), r'uint8 \[3, 4, 5\]; expected \[classes, samples'),
    (_store(_bare((1,) * 6, np.uint8)), r'expected \[classes, samples'),
    (_store(_bare((3, 0, 5, 5, 1), np.uint8)), r'an empty array \(uint8 \[3, 0, 5, 5, 1\]\)'),
    (_store(_bare((3, 2, 5, 5), np.int64)), 'holds int64; expected uint8 0..255, bool, or float'),
    (_store(np.array(['a'])), 'expected'),
    (_store(np.array([None, 1], object)), 'holds Python objects'),
    (_store(_bare((3, 2, 5, 5), np.float32, np.nan)), 'NaN or infinite'),
    (_store(_bare((3, 2, 5, 5), np.float32, np.inf)), 'NaN or infinite'),
    (_store(_bare((3, 2, 5, 5), np.float32, 255.5)), r'from 255\.5 to 255\.5; expected 0\.\.255'),
    (_store(_bare((3, 2, 5, 5), np.float32, -0.1)), r'expected 0\.\.255'),
    (_store(_bare((3, 2, 5, 5), np.float32, 1)), r'looks like 0\.\.1'),
    (_folder(IMAGES, np.array([4])), r'images\.npy holds uint8 .*expected uint8 \[all images'),
    (_folder(IMAGES[0].astype(np.float32), np.array([3])), r'images\.npy holds float32'),
    (_folder(IMAGES[0], np.array([2])), r'sums to 2 images, but .*images\.npy holds 3'),
    (_folder(IMAGES[0], np.array([3, 0])), r'class_sizes\.npy .*at least 1'),
    (_folder(IMAGES[0], np.array([[3]])), r'class_sizes\.npy holds int64 \[1, 1\]'),
    (_folder(IMAGES[0], np.array([3.0])), r'class_sizes\.npy holds float64'),
    (_half_folder, r'images\.npy is there but .*class_sizes\.npy is not'),
    (lambda root: (root / 'x').mkdir(), r'holds no \.npy files'),
    (
      _chunk(IMAGES[0], np.zeros((2, 9, 9, 2), np.uint8)),
      r'1\.npy: class 1 has images of \[9, 9, 2\], earlier ones \[5, 6, 2\]',
    ),
    (_chunk(IMAGES[0], IMAGES[0, 0, 0]), r'1\.npy: entry 1 is uint8 \[6, 2\]'),
    (_chunk(IMAGES[0], IMAGES[0, :0]), r'1\.npy: entry 1 is uint8 \[0, 5, 6, 2\]'),
    (_chunk(IMAGES[0], [IMAGES[0, 0], IMAGES[0, 0, 0]]), r'1\.npy: entry 1 is not one array'),
    (_chunk(IMAGES[0], IMAGES[0].astype(np.int32)), r'1\.npy: entry 1 holds int32'),
    (_chunk(IMAGES[0], 'text'), r'1\.npy: entry 1 is'),
    (_chunk(IMAGES[0], pathlib.PurePosixPath('a')), r'1\.npy is refused: it wants to use pathlib'),
  ],
)
def test_bad_files(
  make: Callable[[pathlib.Path], None], found: str, tmp_path: pathlib.Path
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    folder_lib.load('x', str(tmp_path))


@pytest.mark.parametrize(
  ('name', 'converter'),
  [
    ('omniglot', 'utils/cache_omniglot.py'),
    ('strokes', 'utils/make_strokes.py'),
    ('miniimagenet', 'utils/cache_miniimagenet.py'),
    ('tieredimagenet', 'utils/cache_tieredimagenet.py'),
    ('photos', 'utils/cache_image_folder.py'),
  ],
)
def test_missing_dataset_names_its_converter(
  name: str, converter: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=rf'{name}\.npy and the folder .*make it .*{converter}'):
    folder_lib.load(name, str(tmp_path))


def test_missing_folder(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'the data folder .*nowhere is not there'):
    folder_lib.load('omniglot', str(tmp_path / 'nowhere'))
  with pytest.raises(
    InputError, match='is not there: no folder of data is given, expected --data_numpy_dir'
  ):
    folder_lib.load('omniglot', '')


def test_a_subset_of_a_known_dataset_is_warned_of(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  np.save(tmp_path / 'kmnist.npy', IMAGES)
  assert folder_lib.load('kmnist', str(tmp_path)).num_classes == 4
  assert warnings == ['dataset kmnist has 4 classes; the complete one has 10']


def test_file_before_folder(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  _flat_folder(tmp_path / 'x', np.concatenate(RAGGED), np.array([len(part) for part in RAGGED]))
  assert folder_lib.load('x', str(tmp_path)).num_classes == 4
  assert warnings == [
    f'{tmp_path / "x.npy"} and the folder {tmp_path / "x"} are both there: the file is read, the '
    'folder is not; remove the one that is out of date'
  ]


def test_select(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  found = folder_lib.load('x', str(tmp_path))
  assert folder_lib.select(found, (3, 0), 1).tolist() == [3, 0]
  assert folder_lib.select(found, None, 3).tolist() == [0, 1, 2]
  with pytest.raises(InputError, match=r"labels 2-4 of dataset 'x' .* the classes 0-3"):
    folder_lib.select(found, (2, 4), 1)
  with pytest.raises(InputError, match="no classes of dataset 'x'"):
    folder_lib.select(found, (), 1)
  for use_labels in (5, 0):
    with pytest.raises(InputError, match=f"use_labels is {use_labels}, but dataset 'x' has 4"):
      folder_lib.select(found, None, use_labels)
