"""Pickles that were made to run something, or to fill the memory."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

# The file that payloads try to make in the current folder, which is a folder of the test's own.
MARK = 'executed'
IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


class Calls:
  """An object that is pickled as a call of a function."""

  def __init__(self, function: Callable[..., Any], *args: Any) -> None:
    self.call = (function, args)

  def __reduce__(self) -> tuple[Callable[..., Any], tuple]:
    return self.call


class SetsState:
  """An object of a class that is not admitted, pickled with a state."""

  def __init__(self) -> None:
    self.state = MARK


def _dumps(value: Any, protocol: int) -> bytes:
  """Pickles a value where the files of published image sets have honest data."""
  return pickle.dumps({'image_data': IMAGES, 'class_dict': {'a': value}, 'labels': value}, protocol)


def _global(module: str, name: str, args: bytes = b')') -> bytes:
  """Writes a call of a name, which may have dots, in the opcodes of protocol 4."""

  def text(value: str) -> bytes:
    return b'\x8c' + bytes([len(value)]) + value.encode()

  return b'\x80\x04' + text(module) + text(name) + b'\x93' + args + b'R.'


COMMAND = f'touch {MARK}'
# Pickles that try to run something: the data, and a pattern for the name that is refused.
CALLS = {
  **{
    f'os.system, protocol {protocol}': (_dumps(Calls(os.system, COMMAND), protocol), '(posix|nt)')
    for protocol in range(6)
  },
  'eval': (_dumps(Calls(eval, f'open({MARK!r}, "w")'), 0), '__builtin__'),
  'open': (_dumps(Calls(open, MARK, 'w'), 4), '(io|_io)'),
  'np.save': (_dumps(Calls(np.save, MARK, 1), 4), 'numpy'),
  'a class with a state': (_dumps(SetsState(), 4), 'hostile_payloads'),
  'INST': (b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.", 'instance'),
  'OBJ': (b"(cos\nsystem\nS'" + COMMAND.encode() + b"'\no.", 'os'),
  'NEWOBJ': (b"\x80\x02csubprocess\nPopen\n]S'touch'\na\x85\x81.", 'subprocess'),
  'Python 2 commands': (b"ccommands\ngetoutput\n(S'" + COMMAND.encode() + b"'\ntR.", 'commands'),
  'a dotted name': (
    _global('os', 'path.os.system', b'\x8c' + bytes([len(COMMAND)]) + COMMAND.encode() + b'\x85'),
    'os',
  ),
  'a name of an allowed module': (_global('numpy.core.multiarray', 'fromfile'), 'fromfile'),
  'a registered extension': (b'\x80\x02\x82\x01.', ''),
  'a persistent id': (b'\x80\x02U\x03idaQ.', 'persistent'),
  'an allowed name that is only an argument': (b'\x80\x02cnumpy\nndarray\nK\x01\x85R.', ''),
  'the state of a function': (b'\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.', 'state of a function'),
  'an odd encoding': (
    b'\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.',
    'rot13',
  ),
}

PLAIN_STATE = b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
DTYPE = b'cnumpy\ndtype\nU\x02%bK\x00K\x01\x87R' + PLAIN_STATE


def _array(shape: bytes, code: bytes = b'u1') -> bytes:
  """Writes an array without data, of a shape that is given in opcodes."""
  return (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01'
    + shape
    + DTYPE % code
    + b'\x89U\x00tb.'
  )


def _long(value: int) -> bytes:
  """Writes a whole number of any size."""
  data = value.to_bytes(value.bit_length() // 8 + 1, 'little')
  return b'\x8a' + bytes([len(data)]) + data


# A list that has the one before it twice, and so on, 59 times.
DOUBLED = (
  b'\x80\x02]q\x00K\x01a'
  + b''.join(b']q%c(h%ch%ce' % (n, n - 1, n - 1) for n in range(1, 60))
  + b'.'
)
HUGE = struct.pack('<Q', 1 << 60)
MEGABYTE = b'X' + struct.pack('<I', 1 << 20) + b'x' * (1 << 20)
STRUCTURED_STATE = b'(K\x03U\x01|N(U\x01at}U\x01aNsJ\x08\x00\x00\x00K\x01K\x00tb'
# Pickles that try to fill the memory or to crash Python or NumPy: the data, and a pattern for what
# is said about them; None for what is harmless.
BOMBS = {
  'FRAME of 2^60 bytes': (b'\x80\x04\x95' + HUGE + b'].', None),
  'BINBYTES8 of 2^60': (b'\x80\x04\x8e' + HUGE + b'x.', ''),
  'BYTEARRAY8 of 2^60': (b'\x80\x05\x96' + HUGE + b'x.', ''),
  'BYTEARRAY8 of 8 GB': (b'\x80\x05\x96' + struct.pack('<Q', 1 << 33) + b'x.', ''),
  'BINSTRING of -1 bytes': (b'\x80\x02T\xff\xff\xff\xffx.', ''),
  'LONG_BINPUT of 2^31': (b'\x80\x02Nr\xff\xff\xff\x7f.', None),
  'an array of 10^15 elements': (_array(_long(10**15) + b'\x85'), 'malformed|do not fill'),
  'an array of 10^15 empty strings': (_array(_long(10**15) + b'\x85', b'S0'), 'malformed'),
  'a shape of a number of 10^600': (_array(_long(10**600) + b'\x85'), 'malformed'),
  'an array of too few bytes': (_array(b'K\x09\x85'), 'do not fill'),
  'bytes as object pointers': (_array(b'K\x00\x85', b'O8'), 'do not fill'),
  'an array of void': (_array(b'K\x00\x85', b'V8'), 'V8'),
  'an array of a structured dtype': (
    _array(b'K\x00\x85', b'u8').replace(PLAIN_STATE, STRUCTURED_STATE),
    'structured',
  ),
  'a dict with a nested tuple as a key': (
    b'\x80\x02})' + b'\x85' * 1_000_000 + b'K\x01s.',
    'tuple',
  ),
  'a dict with keys of equal hashes': (
    b'\x80\x02}(' + b''.join(_long(n * (2**61 - 1)) + b'N' for n in range(1, 60_000)) + b'u.',
    'int',
  ),
  'objects with numbers of equal hashes': (
    b'\x80\x02N' + b''.join(b'p%d\n' % (n * (2**61 - 1)) for n in range(1, 60_000)) + b'.',
    'numbers an object',
  ),
  'an item of an array': (_array(b')')[:-1] + b'K\x00K\x01s.', 'items of a ndarray|fill'),
  'tuples nested through the memo': (
    b'\x80\x02)' + b''.join(b'q\x00h\x00h\x00\x86' for _ in range(101)) + b'.',
    'twice',
  ),
  'an array pushed twice': (_array(b'K\x00\x85')[:-1] + b'2\x86.', ''),
  'three million lists': (b'\x80\x02(' + b']' * 3_000_000 + b't.', 'memory'),
  'a list doubled 59 times': (DOUBLED, 'twice'),
  'a list in itself': (b'\x80\x02]q\x00h\x00a.', 'twice'),
  'a list of a range of 10^15': (
    b'\x80\x02]cbuiltins\nrange\n' + _long(10**15) + b'\x85Ra.',
    'memory',
  ),
  'a dict of a range of 10^15': (
    b'\x80\x02ccollections\nOrderedDict\n]cbuiltins\nrange\n' + _long(10**15) + b'\x85Ra\x85R.',
    '',
  ),
  'a megabyte copied 100,000 times': (
    b'\x80\x02'
    + MEGABYTE
    + b'q\x00U\x06latin1q\x02c_codecs\nencode\nq\x01('
    + b'h\x01h\x00h\x02\x86R' * 100_000
    + b'l.',
    'memory',
  ),
  'the text of a huge number': (b'L' + b'9' * 1_000_000 + b'L\n.', ''),
}
PAYLOADS = {**CALLS, **BOMBS}
