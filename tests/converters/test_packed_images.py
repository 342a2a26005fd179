"""Files that pack many images: .npz archives, and pickles of PNG files."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_tieredimagenet import (
  DATA,
  SIDE,
  Change,
  assert_refused,
  changed,
  encode_png,
  replaced,
  save_compressed,
  save_npz,
  save_pngs,
)

from hypertransformer.converters import packed_images, tieredimagenet
from hypertransformer.data import files
from hypertransformer.errors import InputError

VAL = DATA['val'][0]
FLIPPED_AT = 800  # within the image data of the archive


@pytest.mark.parametrize('save', [save_npz, save_compressed])
def test_an_archive_is_read_in_blocks(
  save: Callable[[pathlib.Path, np.ndarray], None],
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.setattr(packed_images, '_BLOCK_BYTES', 4 * SIDE * SIDE * 3)
  save(tmp_path / 'val', VAL)
  packed = packed_images.open_npz(tmp_path / 'val_images.npz', len(VAL), SIDE)
  assert packed.path == tmp_path / 'val_images.npz'
  for _ in range(2):  # each time from the start
    blocks = list(packed.blocks())
    assert [len(block) for block in blocks] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(blocks), VAL)


def test_png_files_are_read_in_blocks(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(packed_images, '_BLOCK_BYTES', 4 * SIDE * SIDE * 3)
  save_pngs(2, bytes)(tmp_path / 'val', VAL)
  blocks = list(packed_images.open_png_pickle(tmp_path / 'val_images_png.pkl', SIDE).blocks())
  assert [len(block) for block in blocks] == [4, 4, 3]
  np.testing.assert_array_equal(np.concatenate(blocks), VAL)


def _images(images: np.ndarray, name: str = 'images') -> Change:
  """Replaces the images of the split val by others."""
  return lambda root: np.savez(root / 'val_images.npz', **{name: images})


def _member(npy_file: bytes) -> Change:
  """Replaces the images of the split val by an archive with this .npy file."""

  def change(root: pathlib.Path) -> None:
    with zipfile.ZipFile(root / 'val_images.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
      archive.writestr('images.npy', npy_file)

  return change


def _npy_file(shape: tuple[int, ...], data: bytes = b'') -> bytes:
  return files.uint8_header(shape) + data


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (
      replaced(b'\n<!doctype html>', 'val_images.npz'),
      r'val_images\.npz is a web page, not a NumPy \.npz file',
    ),
    (replaced(b'', 'val_images.npz'), r'val_images\.npz is an empty file'),
    (
      replaced(b'PK\x03\x04 then nothing', 'val_images.npz'),
      r'val_images\.npz is not a whole \.npz file \(File is not a zip file\)',
    ),
    (
      changed(lambda data: data[:-30], 'val_images.npz'),
      r'val_images\.npz is not a whole \.npz file',
    ),
    (
      changed(lambda data: data[:400] + data[700:], 'val_images.npz'),
      r'val_images\.npz is not a whole \.npz file',
    ),
    (
      changed(
        lambda data: data[:FLIPPED_AT] + bytes([data[FLIPPED_AT] ^ 1]) + data[FLIPPED_AT + 1 :],
        'val_images.npz',
      ),
      r"val_images\.npz is .*\(Bad CRC-32 for file 'images\.npy'\)",
    ),
    (_images(VAL, 'data'), r"val_images\.npz holds data\.npy; expected an array 'images'"),
    (
      _images(VAL[:10]),
      r"val_images\.npz: 'images' is uint8 \[10, 5, 5, 3\]; expected uint8 \[11, 5, 5, 3\]",
    ),
    (_images(VAL / 255.0), r"val_images\.npz: 'images' is float64 \[11, 5, 5, 3\]; expected uint8"),
    (_images(np.asfortranarray(VAL)), r'uint8 \[11, 5, 5, 3\] in Fortran order; expected uint8'),
    (_images(VAL[:, :4]), r"'images' is uint8 \[11, 4, 5, 3\]; expected uint8 \[11, 5, 5, 3\]"),
    (_images(np.array([VAL, None], object)), r"'images' is object \[2\]; expected uint8"),
    (
      _member(_npy_file(VAL.shape, VAL.tobytes()[:-1])),
      r"'images' is truncated: .* needs 825 bytes, it has 824; make or",
    ),
    (_member(_npy_file(VAL.shape, VAL.tobytes() + b'x')), r'needs 825 bytes, it has 826'),
    (
      _member(_npy_file((10**15, 5, 5, 3))),
      r"'images' is uint8 \[1000000000000000, 5, 5, 3\]; expected uint8 \[11, ",
    ),
    (
      _member(b'\x93NUMPY\x02\x00' + b'\xff' * 3 + b'\x7f' + b' ' * (1 << 22)),
      r'not a NumPy \.npy file, or a broken one \(a header of 2147483647 bytes\)',
    ),
    (_member(b'no array'), r'val_images\.npz is not a NumPy \.npy file'),
  ],
)
def test_bad_archives_are_refused(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  assert_refused(tmp_path, change, found)


def test_a_wrong_checksum_is_found_at_the_end_and_nothing_stays(tmp_path: pathlib.Path) -> None:
  """A bit is flipped far behind the header, so all has been written when the error is found."""
  images = np.zeros((2000, SIDE, SIDE, 3), np.uint8)
  save_npz(tmp_path / 'train', images)
  (tmp_path / 'train_labels.pkl').write_bytes(pickle.dumps({'labels': [0] * 2000}, 2))
  changed(lambda data: data[:99_000] + b'\1' + data[99_001:], 'train_images.npz')(tmp_path)
  (tmp_path / 'out').mkdir()
  release = tieredimagenet.Release((tieredimagenet.Split('train', 1, 2000),), SIDE)
  with pytest.raises(
    InputError, match=r"train_images\.npz is not a whole \.npz file \(Bad CRC-32 for file 'images"
  ):
    tieredimagenet.convert(tmp_path, tmp_path / 'out' / 'x', release=release)
  assert os.listdir(tmp_path / 'out') == []


def _png_list(items: list[Any]) -> bytes:
  return pickle.dumps(items, 2)


PNGS = [encode_png(image) for image in VAL]
SMALL = io.BytesIO()
Image.new('RGB', (4, 5)).save(SMALL, 'PNG')


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (
      _png_list(PNGS[:10]),
      r'val_images_png\.pkl holds 10 images; expected 11, one for each label of val_labels\.pkl',
    ),
    (
      _png_list([*PNGS, PNGS[0] + b'x']),
      r'val_images_png\.pkl holds more than 11 images; expected 11',
    ),
    (
      _png_list([*PNGS[:3], SMALL.getvalue()]),
      r'val_images_png\.pkl: image 3 is 4 x 5 pixels; expected 5 x 5',
    ),
    (
      _png_list([*PNGS[:3], PNGS[3][:40]]),
      r'val_images_png\.pkl: image 3 is not a whole PNG image',
    ),
    (
      _png_list([PNGS[0] + bytes(1 << 20)]),
      r'val_images_png\.pkl is refused: it holds a PNG image of 10\d* bytes',
    ),
    (_png_list(PNGS)[:-200], r'val_images_png\.pkl is not a whole pickle'),
    (b'<html>', r'val_images_png\.pkl is a web page'),
  ],
)
def test_bad_png_pickles_are_refused(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  def change(root: pathlib.Path) -> None:
    (root / 'val_images.npz').unlink()
    (root / 'val_images_png.pkl').write_bytes(data)

  assert_refused(tmp_path, change, found)
