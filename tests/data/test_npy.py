"""The headers of .npy files, and what is said about files that cannot be used."""

from __future__ import annotations

import io
import pathlib
import struct

import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypertransformer.data import files
from hypertransformer.data import folder as folder_lib
from hypertransformer.errors import InputError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize('array', [ARRAY, np.asfortranarray(ARRAY), np.arange(5, dtype='>f4')])
def test_a_header_says_what_the_file_holds(array: np.ndarray, tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', array)
  header = files.header_of(tmp_path / 'a.npy')
  assert (header.shape, header.dtype) == (array.shape, array.dtype)
  assert header.fortran_order == (array.flags.f_contiguous and not array.flags.c_contiguous)
  assert str(header) == f'{array.dtype} {list(array.shape)}'


def test_after_the_header_the_file_is_at_the_data(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', ARRAY)
  with open(tmp_path / 'a.npy', 'rb') as file:
    files.read_header(file, tmp_path / 'a.npy')
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
    files.header_of(tmp_path / 'a.npy')


def test_an_array_is_mapped_and_cannot_be_written(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', ARRAY)
  mapped = files.map_array(tmp_path / 'a.npy')
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
    files.map_array(tmp_path / 'a.npy')


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
  assert files.uint8_header(array.shape) + array.tobytes() == file.getvalue()


@pytest.mark.parametrize(
  'shape', [(1, 1, 1, 1), (10**9, 4096, 4096, 3), (1, 1, 1, 1, 1), (10**6, 10**6, 4096, 4096, 3)]
)
def test_headers_of_images_have_one_length(shape: tuple[int, ...]) -> None:
  assert len(files.uint8_header(shape)) == 128


# What a header can say, as Python code; most of it is wrong.
SIZES = st.one_of(
  st.integers(0, 40),
  st.integers(-(2**70), 2**70),
  st.sampled_from(['True', 'False', 'None', '1.5', "'a'", '28L', '9' * 5000]),
)
DTYPES = st.one_of(
  st.sampled_from(["'|u1'", "'<f4'", "'|b1'", "'|O'", "'S0'", "'<U0'", "'V0'", "'V4'", '[]', '5']),
  st.sampled_from(["'f4,f4'", "'3f4'", "('<f4', (2, 3))", "('<f4', (10**9,))", "[('a', 'S0')]"]),
  st.text(max_size=8).map(repr),
)
HEADERS = st.one_of(
  st.tuples(DTYPES, st.sampled_from(['True', 'False', '1']), st.lists(SIZES, max_size=40)).map(
    lambda said: (
      f"{{'descr': {said[0]}, 'fortran_order': {said[1]}, "
      f"'shape': ({''.join(f'{size}, ' for size in said[2])})}}\n"
    ).encode('latin1', 'replace')
  ),
  st.binary(max_size=200),
  st.integers(1, 9000).map(lambda count: b'(' * count),
)


@given(
  header=HEADERS,
  version=st.sampled_from([(1, 0), (2, 0), (3, 0), (0, 255)]),
  longer=st.sampled_from([0, 0, 0, -1, 5, 60_000]),
  data=st.binary(max_size=200),
)
def test_any_header_is_read_or_refused_in_one_short_line(
  header: bytes,
  version: tuple[int, int],
  longer: int,
  data: bytes,
  tmp_path_factory: pytest.TempPathFactory,
) -> None:
  path = tmp_path_factory.getbasetemp() / 'header.npy'
  length = min(max(len(header) + longer, 0), 65_535)
  count = struct.pack('<H' if version[0] == 1 else '<I', length)
  path.write_bytes(b'\x93NUMPY' + bytes(version) + count + header + data)
  try:
    found = files.map_array(path)
  except InputError as error:
    message = str(error)
  else:
    message = 'one line'
    assert 0 < found.nbytes <= path.stat().st_size
    np.testing.assert_array_equal(found, np.load(path))
  assert len(message.splitlines()) == 1
  assert len(message) < 300


@given(
  array=hypothesis.extra.numpy.arrays(
    hypothesis.extra.numpy.scalar_dtypes(),
    hypothesis.extra.numpy.array_shapes(min_dims=0, max_dims=6, max_side=3),
  ),
  fortran=st.booleans(),
)
def test_what_numpy_saves_is_mapped(
  array: np.ndarray, fortran: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
  path = tmp_path_factory.getbasetemp() / 'saved.npy'
  array = np.asarray(array, order='F' if fortran else 'C')
  np.save(path, array)
  found = files.map_array(path)
  assert (found.dtype, found.shape) == (array.dtype, array.shape)
  assert found.tobytes() == array.tobytes()
  assert (found.flags.f_contiguous, found.flags.c_contiguous) == (
    array.flags.f_contiguous,
    array.flags.c_contiguous,
  )


@pytest.mark.parametrize(
  ('descr', 'shape', 'found'),
  [
    ("'|u1'", '(4, -28, 1)', 'axis 1 has the size -28'),
    ("'|u1'", '(True, 28)', 'axis 0 has the size True'),
    ("'|u1'", f'({2**63},)', 'axis 0 is larger than any memory'),
    ("'<f8'", f'({2**40}, {2**40})', 'the array is larger than any memory'),
    ("'<f8'", f'(0, {2**40}, {2**40})', 'the array is larger than any memory'),
    ("'|u1'", str((1,) * 33), 'an array of 33 axes'),
    ("[('a', '<f4'), ('b', '|u1')]", '(1,)', 'records of several fields'),
    ("('<f4', (3,))", '(1,)', 'records of several fields'),
    ("'S0'", '(1,)', r'items of type \|S0 have no size'),
  ],
)
def test_what_no_array_can_be_is_named(
  descr: str, shape: str, found: str, tmp_path: pathlib.Path
) -> None:
  header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
  (tmp_path / 'a.npy').write_bytes(b'\x93NUMPY\1\0' + struct.pack('<H', len(header)) + header)
  with pytest.raises(InputError, match=rf'a\.npy is not a NumPy .*{found}.*; make or download'):
    files.header_of(tmp_path / 'a.npy')


@pytest.mark.parametrize('version', [1, 2])
def test_a_long_header_is_refused(version: int, tmp_path: pathlib.Path) -> None:
  header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}" + b' ' * 20_000
  count = struct.pack('<H' if version == 1 else '<I', len(header))
  (tmp_path / 'a.npy').write_bytes(b'\x93NUMPY' + bytes([version, 0]) + count + header + b'x')
  with pytest.raises(InputError, match=r'a header of 20055 bytes\); make'):
    files.header_of(tmp_path / 'a.npy')
