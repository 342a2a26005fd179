"""Datasets of every layout on disk, and the checks of their axes and values."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

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
  np.save(tmp_path / 'x.npy', IMAGES[:, :2, ..., 0])
  assert_classes(folder_lib.load('x', str(tmp_path)), list(IMAGES[:, :2, ..., :1]))
  assert not warnings
  np.save(tmp_path / 'x.npy', np.full((9, 3, 6, 6), 9, np.uint8))
  assert folder_lib.load('x', str(tmp_path)).sizes.tolist() == [3] * 9
  (text,) = warnings  # the second axis may be that of the channels
  assert '[9, 3, 6, 6]' in text


@pytest.mark.parametrize(
  ('stored', 'expected'),
  [
    (IMAGES > 99, np.where(IMAGES > 99, 255, 0)),
    (IMAGES.astype(np.int64), IMAGES),
    (IMAGES.astype(np.float32), IMAGES),
    (IMAGES.astype('>f8') * 0.99 + 0.3, np.round(IMAGES * 0.99 + 0.3)),
    (np.full((1, 2, 3, 3, 1), 254.6, np.float16), np.full((1, 2, 3, 3, 1), 255)),
    (IMAGES * (1.0000001 - 1e-9), IMAGES),
  ],
)
def test_other_numbers_become_uint8(
  stored: np.ndarray, expected: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(layouts, '_BLOCK_BYTES', 1500)  # several blocks, the last one shorter
  np.save(tmp_path / 'x.npy', stored)
  assert_classes(folder_lib.load('x', str(tmp_path)), list(expected))


@pytest.mark.parametrize(
  ('names', 'warned'),
  [
    (('chunk_1', 'chunk_10', 'chunk_2'), True),
    (('01', '02', '10'), False),
    (('a', 'b', 'c'), False),
  ],
)
def test_chunks_are_read_in_the_order_of_their_names_as_text(
  names: tuple[str, ...], warned: bool, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  (tmp_path / 'x').mkdir()
  for name, part in zip(reversed(names), reversed(RAGGED[:3]), strict=True):
    save_chunk(tmp_path / 'x' / f'{name}.npy', [part])
  (tmp_path / 'x' / '.chunk_0.npy.12ab.part').write_bytes(b'left behind')
  (tmp_path / 'x' / '.chunk_0.npy').write_bytes(b'hidden')
  assert_classes(folder_lib.load('x', str(tmp_path)), RAGGED[:3])
  assert len(warnings) == warned
  assert all('chunk_1.npy, chunk_10.npy, chunk_2.npy' in text for text in warnings)


def test_chunks_hold_any_number_of_classes(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').mkdir()
  np.save(tmp_path / 'x' / '1.npy', IMAGES)  # what np.save makes of a list of equally large classes
  save_chunk(tmp_path / 'x' / '2.npy', [IMAGES[0].astype(np.float32), IMAGES[1, :2]])
  assert_classes(folder_lib.load('x', str(tmp_path)), [*IMAGES, IMAGES[0], IMAGES[1, :2]])


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


def _half_folder(root: pathlib.Path) -> None:
  (root / 'x').mkdir()
  np.save(root / 'x' / 'images.npy', IMAGES[0])


def _bare(shape: tuple[int, ...], dtype: object, value: float = 2.0) -> np.ndarray:
  return np.full(shape, value, dtype)  # type: ignore[call-overload]


@pytest.mark.parametrize(
  ('make', 'found'),
  [
    (_write(b'hello, this is text'), r'x\.npy is not a whole'),
    (_truncated, r'x\.npy is not a whole'),
    (_store(_bare((3, 4, 5), np.uint8)), r'x\.npy .*uint8 \[3, 4, 5\]'),
    (_store(_bare((3, 2, 5, 5), np.complex64)), 'complex64'),
    (_store(np.array([None, 1], object)), r'x\.npy'),
    (_store(_bare((9, 5, 6, 3), np.uint8)), r'x\.npy has the shape .* 6 x 3'),
    (_folder(_bare((60, 1, 28, 28), np.uint8, 9), np.array([60])), r'images\.npy has the shape'),
    (_chunk(_bare((60, 1, 28, 28), np.uint8, 9)), r'1\.npy: entry 0 has the shape'),
    (_folder(IMAGES, np.array([4])), r'images\.npy holds uint8 \[4, 3'),
    (_folder(IMAGES[0].astype(np.float32), np.array([3])), r'images\.npy holds float32'),
    (_folder(IMAGES[0], np.array([1, 1])), r'class_sizes\.npy .* 3 images'),
    (_folder(IMAGES[0], np.array([3, 0])), r'class_sizes\.npy'),
    (_folder(IMAGES[0], np.array([2**62, 2**62, 2**63 + 3], np.uint64)), r'class_sizes\.npy'),
    (_half_folder, r'class_sizes\.npy'),
    (lambda root: (root / 'x').mkdir(), r'x has no \.npy files'),
    (_chunk('no array'), r'1\.npy: entry 0'),
    (_chunk(IMAGES[0], [IMAGES[1, 0]]), r'1\.npy: entry 1'),
    (_chunk(IMAGES[0], IMAGES[1, :, :, 1:]), r'1\.npy: entry 1 has images of \[5, 5, 2\]'),
    (_chunk(IMAGES[0], IMAGES[1, :0]), r'1\.npy: entry 1 is uint8 \[0, 5, 6, 2\]'),
    (_chunk(IMAGES[0], pathlib.PurePosixPath('a')), r'1\.npy is refused: .*pathlib'),
  ],
)
def test_a_bad_file_is_named_and_explained(
  make: Callable[[pathlib.Path], None], found: str, tmp_path: pathlib.Path
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    folder_lib.load('x', str(tmp_path))


@pytest.mark.parametrize(
  'shape',
  [
    (60, 20, 1, 28, 28),
    (60, 20, 28, 1, 28),
    (60, 1, 20, 28, 28),
    (3, 60, 20, 28, 28),
    (60, 20, 3, 28, 32),  # images that are not square
    (60, 20, 2, 28, 28),  # unusual numbers of channels
    (60, 20, 13, 64, 64),
    (60, 20, 28, 28, 28),
    (60, 1, 28, 28),
    (1200, 28, 3, 28),
    (3, 1200, 28, 28),
    (60, 20, 3, 28, 1),  # [classes, samples, H, W] with the channels as a side
  ],
)
def test_other_axes_are_refused(shape: tuple[int, ...]) -> None:
  with pytest.raises(InputError, match=r'^x has the shape \[.*np\.moveaxis'):
    layouts.check_axes(shape, 'x')


@pytest.mark.parametrize(
  'shape',
  [
    (60, 20, 28, 28, 1),
    (60, 20, 84, 84, 3),
    (60, 20, 60, 80, 4),
    (3, 3, 28, 28, 2),
    (60, 20, 64, 64, 13),
    (60, 20, 4, 4, 1),
  ],
)
def test_usual_axes_are_accepted(shape: tuple[int, ...]) -> None:
  layouts.check_axes(shape, 'x')


SCALE = np.linspace(0, 1, 2 * 3 * 16).reshape(2, 3, 4, 4, 1)


@pytest.mark.parametrize(
  ('images', 'found'),
  [
    (SCALE * 1.0000001, r'from 0 to 1\.0000001'),
    (SCALE * 2 - 1, 'from -1 to 1'),
    (SCALE * 255.5, r'from 0 to 255\.5'),
    (np.where(SCALE > 0.5, np.nan, 9), 'nan'),
    (np.where(SCALE > 0.5, np.inf, 9), 'inf'),
    ((SCALE > 0.5).astype(np.uint8), 'from 0 to 1'),
    (np.full((2, 3, 4, 4, 1), 0, np.uint8), 'from 0 to 0'),
    (np.full((2, 3, 4, 4, 1), 4095, np.uint16), 'to 4095'),
    (np.full((2, 3, 4, 4, 1), -1, np.int8), 'from -1'),
  ],
)
def test_another_scale_is_refused_in_every_layout(
  images: np.ndarray, found: str, tmp_path: pathlib.Path
) -> None:
  np.save(tmp_path / 'x.npy', images)
  (tmp_path / 'y').mkdir()
  save_chunk(tmp_path / 'y' / '1.npy', list(images))
  with pytest.raises(InputError, match=rf'x\.npy has values .*{found}.*255'):
    folder_lib.load('x', str(tmp_path))
  with pytest.raises(InputError, match=r'y.* has values .*255'):
    folder_lib.load('y', str(tmp_path))
  if images.dtype == np.uint8:
    save_flat(tmp_path / 'z', images[0], np.array([3]))
    with pytest.raises(InputError, match=r'z/images\.npy has values .*255'):
      folder_lib.load('z', str(tmp_path))
