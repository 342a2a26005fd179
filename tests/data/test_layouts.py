"""Datasets of every layout on disk: what is read of them, and what is said about bad files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from example_files import IMAGES, RAGGED, assert_classes, save_chunk, save_flat

from hypertransformer.data import folder as folder_lib
from hypertransformer.data import layouts
from hypertransformer.errors import InputError


def test_a_file_is_memory_mapped(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', IMAGES)
  found = folder_lib.load('x', str(tmp_path))
  assert isinstance(found.images, np.memmap)
  assert found.images.shape == (12, 5, 6, 2)
  assert found.image_shape == (5, 6, 2)
  assert found.name == 'x'
  assert_classes(found, list(IMAGES))


def test_a_file_without_channels_gets_one(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', IMAGES[..., 0])
  assert_classes(folder_lib.load('x', str(tmp_path)), list(IMAGES[..., :1]))
  assert not warnings


def test_channels_in_place_of_samples_are_warned_of(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  np.save(tmp_path / 'x.npy', np.full((9, 3, 6, 6), 9, np.uint8))
  assert folder_lib.load('x', str(tmp_path)).sizes.tolist() == [3] * 9
  assert any('so classes have 3 images; if these are the channels' in text for text in warnings)


def test_chunks_stay_in_the_order_of_the_original(
  tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  (tmp_path / 'x').mkdir()
  for number, part in ((1, 0), (10, 1), (2, 2)):
    save_chunk(tmp_path / 'x' / f'chunk_{number}.npy', [RAGGED[part]])
  assert_classes(folder_lib.load('x', str(tmp_path)), RAGGED[:3])
  (text,) = warnings
  assert 'so chunk_10.npy comes before chunk_2.npy and classes are numbered so' in text


@pytest.mark.parametrize('names', [('01', '02', '10'), ('a1b2', 'a1b3', 'a2'), ('x', 'y'), ('7',)])
def test_of_the_usual_order_nothing_is_said(
  names: tuple[str, ...], tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  (tmp_path / 'x').mkdir()
  for name in names:
    save_chunk(tmp_path / 'x' / f'{name}.npy', [RAGGED[0]])
  folder_lib.load('x', str(tmp_path))
  assert warnings == []


def test_a_file_in_fortran_order_is_read(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', np.asfortranarray(IMAGES))
  assert_classes(folder_lib.load('x', str(tmp_path)), list(IMAGES))


@pytest.mark.parametrize(
  ('stored', 'expected'),
  [
    (IMAGES > 99, np.where(IMAGES > 99, 255, 0)),
    (IMAGES.astype(np.float32), IMAGES),
    (IMAGES.astype('>f8') * 0.99 + 0.3, np.round(IMAGES * 0.99 + 0.3)),
    (np.full((1, 2, 3, 3, 1), 254.6, np.float16), np.full((1, 2, 3, 3, 1), 255)),
  ],
)
def test_bools_and_floats_become_uint8(
  stored: np.ndarray, expected: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(layouts, '_BLOCK_BYTES', 1500)  # several blocks, the last one shorter
  np.save(tmp_path / 'x.npy', stored)
  assert_classes(folder_lib.load('x', str(tmp_path)), list(expected))


def test_a_folder_of_this_project_is_memory_mapped(ragged_folder: pathlib.Path) -> None:
  found = folder_lib.load('x', str(ragged_folder))
  assert isinstance(found.images, np.memmap)
  assert found.starts.tolist() == [0, 2, 6, 7, 10]
  assert found.starts.dtype == found.sizes.dtype == np.int64
  assert_classes(found, RAGGED)


def test_chunks_are_read_in_the_order_of_their_names(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').mkdir()
  save_chunk(tmp_path / 'x' / 'part_b.npy', RAGGED[3:])
  save_chunk(tmp_path / 'x' / 'part_a.npy', RAGGED[:3])
  (tmp_path / 'x' / '.part_0.npy.123.part').write_bytes(b'left behind')
  assert_classes(folder_lib.load('x', str(tmp_path)), RAGGED)


def test_chunks_may_have_other_forms(tmp_path: pathlib.Path) -> None:
  folder = tmp_path / 'x'
  folder.mkdir()
  np.save(folder / '1.npy', IMAGES)  # what np.save makes of a list of equally large classes
  inside = np.empty((), object)
  inside[()] = [IMAGES[0], IMAGES[1, :2]]
  np.save(folder / '2.npy', inside, allow_pickle=True)
  single = np.empty(2, object)
  single[:] = list(IMAGES[2, :2])
  save_chunk(folder / '3.npy', [single, IMAGES[3].astype(np.float32)])
  assert_classes(
    folder_lib.load('x', str(tmp_path)),
    [*IMAGES, IMAGES[0], IMAGES[1, :2], IMAGES[2, :2], IMAGES[3]],
  )


# Each of these functions gives one that makes a bad dataset x in a data folder.


def _write(content: bytes) -> Callable[[pathlib.Path], None]:
  return lambda root: (root / 'x.npy').write_bytes(content) and None


def _store(array: np.ndarray) -> Callable[[pathlib.Path], None]:
  return lambda root: np.save(root / 'x.npy', array, allow_pickle=True)


def _folder(images: np.ndarray, sizes: np.ndarray) -> Callable[[pathlib.Path], None]:
  return lambda root: save_flat(root / 'x', images, sizes)


def _chunk(*classes: object) -> Callable[[pathlib.Path], None]:
  def make(root: pathlib.Path) -> None:
    (root / 'x').mkdir()
    save_chunk(root / 'x' / '1.npy', classes)

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
    (_store(_bare((9, 5, 6, 3), np.uint8)), r'images of 6 x 3 pixels; if one of these is the ch'),
    (_folder(IMAGES[0, ..., :1] // 128, np.array([3])), r'images\.npy .*0 to 1; .*multiply by 255'),
    (_chunk(IMAGES[0] // 128, IMAGES[1] // 128), r'x holds values from 0 to 1; .*multiply by 255'),
    (_chunk(IMAGES[0], IMAGES[1] / 255.0), r'1\.npy: entry 1 .*looks like 0\.\.1'),
    (_folder(_bare((60, 1, 28, 28), np.uint8, 9), np.array([60])), r'np\.moveaxis\(array, 1, -1\)'),
    (_chunk(_bare((60, 1, 28, 28), np.uint8, 9)), r'entry 0 .*np\.moveaxis\(array, 1, -1\)'),
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
def test_a_bad_file_is_named_and_explained(
  make: Callable[[pathlib.Path], None], found: str, tmp_path: pathlib.Path
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    folder_lib.load('x', str(tmp_path))


@pytest.mark.parametrize(
  'images', [['x' * 1000, *['y'] * 1000], [[0, 1], [2, 3]], range(10**6), 'x', None, {1: 2}]
)
def test_a_class_of_a_chunk_that_is_no_array_is_an_error(
  images: Any, tmp_path: pathlib.Path
) -> None:
  chunk = np.empty(2, object)
  chunk[0], chunk[1] = IMAGES[0], images
  (tmp_path / 'photos').mkdir()
  np.save(tmp_path / 'photos' / '0.npy', chunk, allow_pickle=True)
  with pytest.raises(
    InputError, match=rf'0\.npy: entry 1 is a {type(images).__name__}; expected an array'
  ):
    folder_lib.load('photos', str(tmp_path))


def test_pixels_of_uint8_are_not_copied() -> None:
  assert layouts.to_uint8(IMAGES, 'x') is IMAGES
