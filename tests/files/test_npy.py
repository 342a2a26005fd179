"""The headers of .npy files, and what is said about files that cannot be used."""

from __future__ import annotations

import io
import pathlib
import struct

import numpy as np
import pytest

from hypertransformer.datasets import folder as folder_lib
from hypertransformer.errors import InputError
from hypertransformer.files import npy

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize('array', [ARRAY, np.asfortranarray(ARRAY), np.arange(5, dtype='>f4')])
def test_a_header_says_what_the_file_holds(array: np.ndarray, tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', array)
  header = npy.header_of(tmp_path / 'a.npy')
  assert (header.shape, header.dtype) == (array.shape, array.dtype)
  assert header.fortran_order == (array.flags.f_contiguous and not array.flags.c_contiguous)
  assert str(header) == f'{array.dtype} {list(array.shape)}'


def test_after_the_header_the_file_is_at_the_data(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', ARRAY)
  with open(tmp_path / 'a.npy', 'rb') as file:
    npy.read_header(file, tmp_path / 'a.npy')
    assert file.read() == ARRAY.tobytes()


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (b'hello, this is text', 'the magic string is not correct'),
    (b'\x93NUMPY\x01\x00' + struct.pack('<H', 9) + b'{"descr":', 'make or download it again'),
    (b'\x93NUMPY\x03\x00', 'version'),
    (b'\x93NUMPY\x02\x00' + struct.pack('<I', 1 << 30), 'a header of 1073741824 bytes'),
  ],
)
def test_a_broken_header_is_an_error(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').write_bytes(data)
  with pytest.raises(
    InputError, match=rf'a\.npy is not a NumPy \.npy file, or a broken one.*({found})'
  ):
    npy.header_of(tmp_path / 'a.npy')


def test_an_array_is_mapped_and_cannot_be_written(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', ARRAY)
  mapped = npy.map_array(tmp_path / 'a.npy')
  np.testing.assert_array_equal(mapped, ARRAY)
  assert not mapped.flags.writeable


@pytest.mark.parametrize(
  ('array', 'found'),
  [
    (np.array([None, 1], object), r'holds Python objects \(object \[2\]\)'),
    (ARRAY[:0], r'holds an empty array \(uint8 \[0, 3, 4\]\)'),
  ],
)
def test_objects_and_empty_arrays_are_not_mapped(
  array: np.ndarray, found: str, tmp_path: pathlib.Path
) -> None:
  np.save(tmp_path / 'a.npy', array, allow_pickle=True)
  with pytest.raises(InputError, match=found):
    npy.map_array(tmp_path / 'a.npy')


def test_a_header_that_claims_a_huge_array_is_found_out(tmp_path: pathlib.Path) -> None:
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': (10**9, 600, 84, 84, 3)}
  )
  (tmp_path / 'photos.npy').write_bytes(header.getvalue())
  with pytest.raises(
    InputError, match=r'photos\.npy is truncated: .* needs 12700800000000000 bytes, the file has 0'
  ):
    folder_lib.load('photos', str(tmp_path))


@pytest.mark.parametrize('array', [ARRAY, ARRAY.reshape(1, 2, 3, 4, 1)])
def test_a_uint8_header_is_the_beginning_of_a_file(array: np.ndarray) -> None:
  file = io.BytesIO()
  np.save(file, array)
  assert npy.uint8_header(array.shape) + array.tobytes() == file.getvalue()


@pytest.mark.parametrize(
  'shape', [(1, 1, 1, 1), (10**9, 4096, 4096, 3), (1, 1, 1, 1, 1), (10**6, 10**6, 4096, 4096, 3)]
)
def test_headers_of_images_have_one_length(shape: tuple[int, ...]) -> None:
  assert len(npy.uint8_header(shape)) == 128
