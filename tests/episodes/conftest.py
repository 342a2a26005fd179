"""What tests of files from strangers share: pickles as Python 2 wrote them."""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def _text(value: bytes) -> bytes:
  if len(value) < 256:
    return b'U' + struct.pack('<B', len(value)) + value
  return b'T' + struct.pack('<i', len(value)) + value


def _array(value: np.ndarray) -> bytes:
  code = value.dtype.str[1:].encode()
  dtype = b'cnumpy\ndtype\n' + _text(code) + b'K\x00K\x01\x87R(K\x03' + _text(value.dtype.str[:1].encode()) + (
      b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb')
  shape = b'(' + b''.join(b'J' + struct.pack('<i', size) for size in value.shape) + b't'
  return (b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01' + shape + dtype +
          b'\x89' + _text(value.tobytes()) + b'tb')


def _value(value: Any) -> bytes:
  if isinstance(value, np.ndarray):
    return _array(value)
  if isinstance(value, str):
    return _text(value.encode('latin1'))
  if isinstance(value, int):
    return b'J' + struct.pack('<i', value)
  if isinstance(value, list):
    return b'](' + b''.join(map(_value, value)) + b'e'
  if isinstance(value, range):
    return b'c__builtin__\nxrange\nJ%sJ%s\x86R' % (struct.pack('<i', value.start), struct.pack('<i', value.stop))
  assert isinstance(value, dict), value
  return b'}(' + b''.join(_value(key) + _value(item) for key, item in value.items()) + b'u'


@pytest.fixture(scope='session')
def python_2_pickle() -> Callable[[Any], bytes]:
  """python_2_pickle(value): protocol 2 as Python 2 and its NumPy wrote it, byte strings and all; no memo."""
  return lambda value: b'\x80\x02' + _value(value) + b'.'
