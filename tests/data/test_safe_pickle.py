"""The unpickler: arrays are read in every form that pickles have for them, and nothing else."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.data import pickles
from hypertransformer.errors import InputError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
# What Python 2 with an old NumPy writes for {'image_data': uint8 [[7, 200]], 'labels': [1, 2]}.
PYTHON_2 = (
  b'\x80\x02}q\x00(U\nimage_dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n'
  b'q\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01K\x02\x86q\x08cnumpy\ndtype\nq\t'
  b'U\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01|q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq'
  b'\x0eb\x89U\x02\x07\xc8q\x0ftq\x10bU\x06labelsq\x11]q\x12(K\x01K\x02eu.'
)


class Calls:
  """An object that is pickled as a call of a function."""

  def __init__(self, function: Callable[..., Any], *args: Any) -> None:
    self.call = (function, args)

  def __reduce__(self) -> tuple[Callable[..., Any], tuple]:
    return self.call


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
  'array',
  [
    PIXELS,
    np.asfortranarray(PIXELS),
    PIXELS[:, ::2],
    np.arange(3, dtype='>i4'),
    np.array([1.5, -2], np.float32),
    np.array([True, False]),
    np.array(['ab', 'c']),
    np.array([b'ab', b'c']),
    np.array(5),
    np.zeros((0, 3), np.int64),
    np.array([1 + 2j]),
  ],
  ids=lambda array: f'{array.dtype.str}-{array.shape}',
)
def test_arrays_of_every_protocol_are_read(array: np.ndarray, protocol: int) -> None:
  loaded = np.asarray(pickles.loads(pickle.dumps(array, protocol), 'x'))
  assert loaded.dtype.newbyteorder('=') == array.dtype.newbyteorder('=')  # NumPy swaps on reading
  np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize('core', [b'numpy.core.', b'numpy._core.'])
@pytest.mark.parametrize('value', [PIXELS, np.float32(2.5), np.int64(-3)])
def test_both_names_of_numpys_modules_are_known(core: bytes, value: Any) -> None:
  data = pickle.dumps(value, 2)
  spelled = data.replace(b'numpy._core.', b'numpy.core.').replace(b'numpy.core.', core)
  assert core in spelled
  np.testing.assert_array_equal(pickles.loads(spelled, 'x'), value)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_are_read(protocol: int) -> None:
  plain = {
    'a': [1, 2.5, None, True, 'x', b'\x00\xff', (1, {2})],
    'b': range(3, 9, 2),
    'c': frozenset([1]),
    'd': bytearray(b'\x01\x80'),
    'e': 2j,
    'f': bytearray(),
    'g': b'',
  }
  assert pickles.loads(pickle.dumps(plain, protocol), 'x') == plain


def test_a_pickle_of_python_2_is_read() -> None:
  loaded = pickles.loads(PYTHON_2, 'x')
  assert loaded['labels'] == [1, 2]
  np.testing.assert_array_equal(loaded['image_data'], np.array([[7, 200]], np.uint8))


@pytest.mark.parametrize(
  ('payload', 'name'),
  [
    (Calls(os.system, 'touch {mark}'), r'(posix|nt)\.system'),
    (Calls(eval, "open('{mark}', 'w')"), r'(builtins|__builtin__)\.eval'),
    (Calls(getattr, [], 'append'), r'(builtins|__builtin__)\.getattr'),
    (Calls(np.load, '{mark}'), r'numpy\.load'),
    (Calls(pathlib.Path, 'x'), r'pathlib.*Path'),
  ],
  ids=['system', 'eval', 'getattr', 'np.load', 'Path'],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_other_names_are_refused_and_not_run(
  payload: Calls, name: str, protocol: int, tmp_path: pathlib.Path
) -> None:
  mark, file = tmp_path / 'mark', tmp_path / 'bad.pkl'
  function, args = payload.call
  args = tuple(arg.format(mark=mark) if isinstance(arg, str) else arg for arg in args)
  file.write_bytes(pickle.dumps([PIXELS, Calls(function, *args)], protocol))
  with pytest.raises(InputError, match=rf'bad\.pkl is refused: it wants to use {name}'):
    pickles.load(file)
  assert not mark.exists()


def _array_with(dtype: bytes, shape: bytes, data: bytes) -> bytes:
  """Puts the pickle of an array together from its parts, of which some are forged."""
  return (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
    b'(K\x01' + shape + dtype + b'\x89' + data + b'tb.'
  )


PLAIN_STATE = b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'


def _dtype(code: bytes, state: bytes = PLAIN_STATE) -> bytes:
  return b'cnumpy\ndtype\nU' + bytes([len(code)]) + code + b'K\x00K\x01\x87R' + state


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    # Raw bytes as object pointers: a crash or worse in NumPy itself, if it were reached.
    (_array_with(_dtype(b'O8'), b'K\x01\x85', b'U\x08AAAAAAAA'), 'do not fill'),
    (_array_with(_dtype(b'u1'), b'K\x09\x85', b'U\x02AA'), 'do not fill'),
    (_array_with(_dtype(b'u1'), b'J\xff\xff\xff\xff\x85', b'U\x02AA'), 'malformed'),
    (_array_with(_dtype(b'V8'), b'K\x01\x85', b'U\x08AAAAAAAA'), "the dtype 'V8'"),
    (_array_with(_dtype(b'u1,O'), b'K\x01\x85', b'U\x08AAAAAAAA'), "the dtype 'u1,O'"),
    (
      _array_with(
        _dtype(b'u8', b'(K\x03U\x01|N(U\x01at}U\x01aNsJ\x08\x00\x00\x00K\x01K\x00tb'),
        b'K\x01\x85',
        b'U\x08AAAAAAAA',
      ),
      'structured dtype',
    ),
    (_array_with(b'N', b'K\x01\x85', b'U\x01A'), 'malformed'),
    (b'\x80\x02cnumpy\nndarray\nK\x01\x85R.', 'calls numpy.ndarray'),
    (b'\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.', 'sets the state of a function'),
    (b'\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.', 'rot13'),
    (b'\x80\x02cbuiltins\nset\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.', 'a set of a range'),
    (b'\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.', 'TypeError'),
    (b'\x80\x02U\x03idaQ.', 'not a whole pickle'),
  ],
)
def test_forged_contents_are_refused(data: bytes, found: str) -> None:
  with pytest.raises(InputError, match=found):
    pickles.loads(data, 'forged')


def test_broken_files_are_explained(tmp_path: pathlib.Path) -> None:
  whole = pickle.dumps([PIXELS, 'x' * 100])
  for name, data, found in [
    ('page.pkl', b'\n <!DOCTYPE html><html>Quota exceeded</html>', 'page.pkl is a web page'),
    ('empty.pkl', b'', 'empty.pkl is an empty file'),
    ('cut.pkl', whole[:-30], 'cut.pkl is not a whole pickle'),
    ('text.pkl', b'hello world', 'text.pkl is not a whole pickle'),
  ]:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=found):
      pickles.load(tmp_path / name)
  with pytest.raises(InputError, match=r'gone\.pkl cannot be read'):
    pickles.load(tmp_path / 'gone.pkl')


def _ragged() -> np.ndarray:
  """Makes an array of two arrays that differ in size."""
  ragged = np.empty(2, object)
  ragged[:] = [PIXELS, PIXELS[:1]]
  return ragged


def test_an_array_of_objects_is_read(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', _ragged(), allow_pickle=True)
  loaded = pickles.load_object_array(tmp_path / 'a.npy')
  assert loaded.shape == (2,)
  assert type(loaded) is np.ndarray
  np.testing.assert_array_equal(loaded[0], PIXELS)
  np.testing.assert_array_equal(loaded[1], PIXELS[:1])


def test_an_array_of_foreign_objects_is_refused(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'a.npy', np.array([pathlib.PurePosixPath('x')], object), allow_pickle=True)
  with pytest.raises(InputError, match=r'a.npy is refused: it wants to use pathlib'):
    pickles.load_object_array(tmp_path / 'a.npy')


def test_files_that_hold_no_array_of_objects_are_errors(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'plain.npy', PIXELS)
  with pytest.raises(InputError, match='expected an object array'):
    pickles.load_object_array(tmp_path / 'plain.npy')
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|O', 'fortran_order': False, 'shape': (3,)}
  )
  (tmp_path / 'odd.npy').write_bytes(header.getvalue() + pickle.dumps([1, 2, 3]))
  with pytest.raises(InputError, match='its pickle holds something else'):
    pickles.load_object_array(tmp_path / 'odd.npy')
  (tmp_path / 'bad.npy').write_bytes(b'\x93NUMPY\x01\x00' + struct.pack('<H', 9) + b'{"descr":')
  with pytest.raises(InputError, match=r'bad.npy is not a NumPy .npy file, or a broken one'):
    pickles.load_object_array(tmp_path / 'bad.npy')
