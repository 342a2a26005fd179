"""Files made to run something, or to eat memory, given to everything that reads pickles."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import re
import resource
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hypertransformer.converters import miniimagenet, tieredimagenet
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.errors import InputError
from hypertransformer.files import pickle_scan, safe_pickle

MARK = 'executed'  # in the current folder, which is a test's own
SIDE = 4
IMAGES = np.zeros((2, SIDE, SIDE, 3), np.uint8)


class Calls:
  """Pickles as a call of `function`."""

  def __init__(self, function: Callable[..., Any], *args: Any) -> None:
    self.call = (function, args)

  def __reduce__(self) -> tuple[Callable[..., Any], tuple]:
    return self.call


class SetsState:
  """Pickles as an object of a foreign class, with a state."""

  def __init__(self) -> None:
    self.state = MARK


def _dumps(value: Any, protocol: int) -> bytes:
  return pickle.dumps({'image_data': IMAGES, 'class_dict': {'a': value}, 'labels': value}, protocol)


def _global(module: str, name: str, args: bytes = b')') -> bytes:
  """A call of a name, dots and all, in the opcodes of protocol 4."""

  def text(value: str) -> bytes:
    return b'\x8c' + bytes([len(value)]) + value.encode()

  return b'\x80\x04' + text(module) + text(name) + b'\x93' + args + b'R.'


COMMAND = f'touch {MARK}'
CALLS = {
  **{
    f'os.system, protocol {protocol}': (_dumps(Calls(os.system, COMMAND), protocol), '(posix|nt)')
    for protocol in range(6)
  },
  **{
    f'eval, protocol {protocol}': (
      _dumps(Calls(eval, f'open({MARK!r}, "w")'), protocol),
      '(__builtin__|builtins)',
    )
    for protocol in (0, 2, 4)
  },
  'exec': (_dumps(Calls(exec, f'open({MARK!r}, "w")'), 4), 'builtins'),
  'open': (_dumps(Calls(open, MARK, 'w'), 4), '(io|_io)'),
  'np.save': (_dumps(Calls(np.save, MARK, 1), 4), 'numpy'),
  'np.fromfile': (_dumps(Calls(np.fromfile, '/etc/passwd'), 4), 'numpy'),
  'a class with a state': (_dumps(SetsState(), 4), 'test_hostile_files'),
  'INST': (b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.", 'os'),
  'OBJ': (b"(cos\nsystem\nS'" + COMMAND.encode() + b"'\no.", 'os'),
  'NEWOBJ': (b"\x80\x02csubprocess\nPopen\n]S'touch'\na\x85\x81.", 'subprocess'),
  'Python 2 commands': (b"ccommands\ngetoutput\n(S'" + COMMAND.encode() + b"'\ntR.", 'commands'),
  'a dotted name': (
    _global('os', 'path.os.system', b'\x8c' + bytes([len(COMMAND)]) + COMMAND.encode() + b'\x85'),
    'os',
  ),
  'a name of an admitted module': (_global('numpy.core.multiarray', 'fromfile'), 'fromfile|numpy'),
  'attributes of an admitted name': (_global('numpy', 'ndarray.tofile.__class__'), 'numpy|ndarray'),
  'a module with a space': (_global('os system', 'x'), 'os system|system'),
  'a registered extension': (b'\x80\x02\x82\x01.', ''),
  'a persistent id': (b'\x80\x02U\x03idaQ.', ''),
}

DTYPE = (
  b'cnumpy\ndtype\nU\x02%bK\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
)


def _array(shape: bytes, code: bytes = b'u1') -> bytes:
  return (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01'
    + shape
    + DTYPE % code
    + b'\x89U\x00tb.'
  )


def _long(value: int) -> bytes:
  data = value.to_bytes(value.bit_length() // 8 + 1, 'little')
  return b'\x8a' + bytes([len(data)]) + data


DOUBLED = (
  b'\x80\x02]q\x00K\x01a'
  + b''.join(b']q%c(h%ch%ce' % (n, n - 1, n - 1) for n in range(1, 60))
  + b'.'
)
HUGE = struct.pack('<Q', 1 << 60)
MEGABYTE = b'X' + struct.pack('<I', 1 << 20) + b'x' * (1 << 20)
BOMBS = {
  'FRAME of 2^60 bytes': (
    b'\x80\x04\x95' + HUGE + b'].',
    'FRAME at byte 3 claims 1152921504606846984 bytes',
  ),
  'BINBYTES8 of 2^60': (
    b'\x80\x04\x8e' + HUGE + b'x.',
    'BINBYTES8 at byte 11 claims 1152921504606846976 bytes',
  ),
  'BINUNICODE8 of 2^60': (b'\x80\x04\x8d' + HUGE + b'x.', 'BINUNICODE8 at byte 11 claims 11529'),
  'BYTEARRAY8 of 2^60': (b'\x80\x05\x96' + HUGE + b'x.', 'BYTEARRAY8 at byte 11 claims 11529'),
  'BINBYTES of 4 GB': (
    b'\x80\x03B\xff\xff\xff\xffx.',
    'BINBYTES at byte 7 claims 4294967295 bytes',
  ),
  'BINSTRING of -1 bytes': (
    b'\x80\x02T\xff\xff\xff\xffx.',
    'BINSTRING at byte 7 claims 4294967295 bytes',
  ),
  'LONG4 of 2 GB': (b'\x80\x02\x8b\xff\xff\xff\x7fx.', 'LONG4 at byte 7 claims 2147483647 bytes'),
  'LONG_BINPUT of 2^31': (
    b'\x80\x02Nr\xff\xff\xff\x7f.',
    'a table of 2147483647 entries for 3 objects',
  ),
  'PUT of 2 billion': (b'Np2000000000\n.', 'a table of 2000000000 entries for 2 objects'),
  'an array of 10^15 elements': (_array(_long(10**15) + b'\x85'), 'malformed|do not fill'),
  'an array of 10^15 empty strings': (_array(_long(10**15) + b'\x85', b'S0'), 'malformed'),
  'a shape of a number of 10^600': (_array(_long(10**600) + b'\x85'), 'malformed'),
  'tuples nested a million deep': (
    b'\x80\x02})' + b'\x85' * 1_000_000 + b'K\x01s.',
    'nests tuples more than 100',
  ),
  'tuples nested through the memo': (
    b'\x80\x02)' + b''.join(b'q\x00h\x00h\x00\x86' for _ in range(101)) + b'.',
    'nests tuples more than 100',
  ),
  'lists nested beyond the limit': (
    b'\x80\x02' + b']' * 30_000 + b'a' * 29_999 + b'.',
    '20000 lists and dicts',
  ),
  'lists nested below the limit': (b'\x80\x02' + b']' * 15_000 + b'a' * 14_999 + b'.', None),
  'many empty sets': (b'\x80\x04(' + b'\x8f' * 30_000 + b't.', '20000 lists and dicts'),
  'a list doubled 59 times': (DOUBLED, 'repeats its contents until they would fill the memory'),
  'a list in itself': (b'\x80\x02]q\x00h\x00a.', 'contains itself'),
  'a list of a range of 10^15': (
    b'\x80\x02]cbuiltins\nrange\n' + _long(10**15) + b'\x85Ra.',
    'repeats its',
  ),
  'a range of 10^60': (b'\x80\x02cbuiltins\nrange\n' + _long(10**60) + b'\x85R.', 'repeats its'),
  'a set of a range': (
    b'\x80\x02cbuiltins\nset\ncbuiltins\nrange\n' + _long(10**15) + b'\x85R\x85R.',
    'a set',
  ),
  'bytearray of a length': (b'\x80\x02cbuiltins\nbytearray\n' + _long(10**15) + b'\x85R.', ''),
  'a megabyte copied 100,000 times': (
    b'\x80\x02'
    + MEGABYTE
    + b'q\x00c_codecs\nencode\nq\x01('
    + b'h\x01h\x00\x85R' * 100_000
    + b'l.',
    'copies its',
  ),
  'the text of a huge number': (b'L' + b'9' * 1_000_000 + b'L\n.', ''),
}
PAYLOADS = {**CALLS, **BOMBS}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
  """Afterwards nothing was executed."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(
    pickle_scan, '_MAX_CONTAINERS', 20_000
  )  # a fiftieth, as files of a million lists take seconds
  yield
  assert not (tmp_path / MARK).exists()
  assert not (tmp_path / f'{MARK}.npy').exists()


@pytest.fixture
def little_memory() -> Iterator[None]:
  """Fails when the process has grown by more than 150 MB."""
  try:
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
  except OSError:
    yield
    return
  before = _peak()
  limits = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (_size() + (4 << 30), limits[1]))
  yield
  resource.setrlimit(resource.RLIMIT_AS, limits)
  assert _peak() - before < 150 << 20


def _status(key: str) -> int:
  found = re.search(
    rf'^{key}:\s*(\d+) kB', pathlib.Path('/proc/self/status').read_text(), re.MULTILINE
  )
  assert found
  return int(found.group(1)) << 10


def _peak() -> int:
  return _status('VmHWM')


def _size() -> int:
  return _status('VmSize')


@pytest.mark.parametrize('payload', PAYLOADS)
def test_alone(payload: str, little_memory: None) -> None:
  data, found = PAYLOADS[payload]
  if found is None:
    safe_pickle.loads(data, 'x.pkl')
    return
  with pytest.raises(
    InputError, match=rf'x\.pkl (is refused: it|is not a whole pickle).*({found})'
  ):
    safe_pickle.loads(data, 'x.pkl')


Convert = Callable[[pathlib.Path], Any]


def _miniimagenet(folder: pathlib.Path, payload: bytes) -> Convert:
  """The file of the last split is hostile, so that others have been written before."""
  release = miniimagenet.Release((('train', 1), ('val', 1)), samples=2, side=SIDE)
  (folder / 'mini-imagenet-cache-train.pkl').write_bytes(
    pickle.dumps({'image_data': IMAGES, 'class_dict': {'a': [0, 1]}}, 2)
  )
  (folder / 'mini-imagenet-cache-val.pkl').write_bytes(payload)
  return lambda output: miniimagenet.convert(folder, output / 'x.npy', release)


def _tieredimagenet(folder: pathlib.Path) -> Convert:
  for split in ('train', 'val'):
    np.savez(folder / f'{split}_images.npz', images=IMAGES)
    (folder / f'{split}_labels.pkl').write_bytes(pickle.dumps({'labels': [0, 0]}, 2))
  release = tieredimagenet.Release(
    tuple(tieredimagenet.Split(name, 1, 2) for name in ('train', 'val')), SIDE
  )
  return lambda output: tieredimagenet.convert(folder, output / 'x', release=release)


def _tieredimagenet_labels(folder: pathlib.Path, payload: bytes) -> Convert:
  convert = _tieredimagenet(folder)
  (folder / 'val_labels.pkl').write_bytes(payload)
  return convert


def _tieredimagenet_pngs(folder: pathlib.Path, payload: bytes) -> Convert:
  convert = _tieredimagenet(folder)
  (folder / 'val_images.npz').unlink()
  (folder / 'val_images_png.pkl').write_bytes(payload)
  return convert


@pytest.mark.parametrize('make', [_miniimagenet, _tieredimagenet_labels, _tieredimagenet_pngs])
@pytest.mark.parametrize('payload', PAYLOADS)
def test_converters(
  payload: str,
  make: Callable[[pathlib.Path, bytes], Convert],
  tmp_path: pathlib.Path,
  little_memory: None,
) -> None:
  data, _ = PAYLOADS[payload]
  folder, output = tmp_path / 'in', tmp_path / 'out'
  folder.mkdir()
  output.mkdir()
  convert = make(folder, data)
  # PNG images are picked out of a file that is not unpickled: some bombs do nothing there, and hold
  # no image.
  with pytest.raises(
    InputError, match=r'val\w*\.pkl (is refused: it|is not a whole pickle|holds (a list|0 images))'
  ):
    convert(output)
  assert os.listdir(output) == []


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
  ('call', 'name'),
  [
    (Calls(os.system, COMMAND), '(posix|nt)'),
    (Calls(np.save, MARK, 1), 'save'),
    (Calls(eval, f'open({MARK!r}, "w")'), 'eval'),
    (SetsState(), 'copy_reg|test_h'),
  ],
)
def test_png_pickles_name_what_they_refuse(
  call: Any, name: str, protocol: int, tmp_path: pathlib.Path
) -> None:
  convert = _tieredimagenet_pngs(tmp_path, pickle.dumps([call], protocol))
  with pytest.raises(InputError, match=rf"png\.pkl is refused: it holds the name '.*({name})"):
    convert(tmp_path / 'out')


@pytest.mark.parametrize('payload', PAYLOADS)
def test_object_arrays(payload: str, tmp_path: pathlib.Path, little_memory: None) -> None:
  """As chunks of the original, which are read with allow_pickle there."""
  data, _ = PAYLOADS[payload]
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|O', 'fortran_order': False, 'shape': (1,)}
  )
  (tmp_path / 'photos').mkdir()
  (tmp_path / 'photos' / '0.npy').write_bytes(header.getvalue() + data)
  with pytest.raises(InputError, match=r'0\.npy (is refused: it|is not a whole pickle|promises)'):
    folder_lib.load('photos', str(tmp_path))


@pytest.mark.parametrize(
  'images', [['x' * 1000, *['y'] * 1000], [[0, 1], [2, 3]], range(10**6), 'x', None, {1: 2}]
)
def test_chunks_of_other_things_than_arrays(images: Any, tmp_path: pathlib.Path) -> None:
  chunk = np.empty(2, object)
  chunk[:] = [IMAGES, None]
  chunk[1] = images
  (tmp_path / 'photos').mkdir()
  np.save(tmp_path / 'photos' / '0.npy', chunk, allow_pickle=True)
  with pytest.raises(
    InputError, match=rf'0\.npy: entry 1 is a {type(images).__name__}; expected an array'
  ):
    folder_lib.load('photos', str(tmp_path))


def test_npy_header_that_claims_a_huge_array(tmp_path: pathlib.Path) -> None:
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': (10**9, 600, 84, 84, 3)}
  )
  (tmp_path / 'photos.npy').write_bytes(header.getvalue())
  with pytest.raises(
    InputError, match=r'photos\.npy is truncated: .* needs 12700800000000000 bytes, the file has 0'
  ):
    folder_lib.load('photos', str(tmp_path))


def test_honest_files_are_far_from_the_limits() -> None:
  """As large label lists as there are, as NumPy scalars, which take the most opcodes; a 45th of
  them.
  """
  labels = [np.int64(number) for number in range(10_000)]
  for protocol in (2, 5):
    loaded = safe_pickle.loads(pickle.dumps({'labels': labels, 'again': labels}, protocol), 'x')
    assert loaded['labels'] == loaded['again'] == labels
