"""Pickles: honest ones of every form are read, and hostile ones are refused and run nothing."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile_payloads import IMAGES, PAYLOADS

from hypertransformer.converters import miniimagenet, tieredimagenet
from hypertransformer.converters.classes import Release
from hypertransformer.data import folder as folder_lib
from hypertransformer.data import pickles
from hypertransformer.errors import InputError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
# What Python 2 with an old NumPy writes for {'image_data': uint8 [[7, 200]], 'labels': [1, 2]}.
PYTHON_2 = (
  b'\x80\x02}q\x00(U\nimage_dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n'
  b'q\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01K\x02\x86q\x08cnumpy\ndtype\nq\t'
  b'U\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01|q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq'
  b'\x0eb\x89U\x02\x07\xc8q\x0ftq\x10bU\x06labelsq\x11]q\x12(K\x01K\x02eu.'
)


def _loads(data: bytes) -> Any:
  return pickles.load_stream(io.BytesIO(data), 'x.pkl')


@pytest.mark.parametrize('protocol', PROTOCOLS)
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
  ],
  ids=lambda array: f'{array.dtype.str}-{array.shape}',
)
def test_arrays_of_every_protocol_are_read(array: np.ndarray, protocol: int) -> None:
  loaded = _loads(pickle.dumps(array, protocol))
  assert loaded.dtype.newbyteorder('=') == array.dtype.newbyteorder('=')  # NumPy swaps on reading
  np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize('core', [b'numpy.core.', b'numpy._core.'])
@pytest.mark.parametrize('value', [PIXELS, np.float32(2.5), np.int64(-3)])
def test_both_names_of_numpys_modules_are_known(core: bytes, value: Any) -> None:
  data = pickle.dumps(value, 2).replace(b'numpy._core.', b'numpy.core.')
  np.testing.assert_array_equal(_loads(data.replace(b'numpy.core.', core)), value)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_plain_data_are_read(protocol: int) -> None:
  plain = {
    'a': [1, -2, 3 << 40, 1 << 3000, 2.5, None, True, False, 'x' * 300, b'\x00\xff' * 200, (1, ())],
    'é\n': 'é\n',
    b'c': range(3, 9, 2),
    7: b'',
  }
  assert _loads(pickle.dumps(plain, protocol)) == plain


def test_a_pickle_of_python_2_is_read() -> None:
  loaded = _loads(PYTHON_2)
  assert loaded['labels'] == [1, 2]
  np.testing.assert_array_equal(loaded['image_data'], np.array([[7, 200]], np.uint8))


@pytest.mark.parametrize('protocol', [2, 5])
def test_labels_are_far_from_the_limits(protocol: int) -> None:
  """NumPy scalars take the most opcodes."""
  labels = [np.int64(number) for number in range(20_000)]
  assert _loads(pickle.dumps({'labels': labels}, protocol)) == {'labels': labels}


def test_an_array_of_objects_is_read(tmp_path: pathlib.Path) -> None:
  ragged = np.empty(2, object)
  ragged[:] = [PIXELS, PIXELS[:1]]
  np.save(tmp_path / 'a.npy', ragged, allow_pickle=True)
  loaded = pickles.load_object_array(tmp_path / 'a.npy')
  assert loaded.shape == (2,)
  np.testing.assert_array_equal(loaded[0], PIXELS)
  np.testing.assert_array_equal(loaded[1], PIXELS[:1])


def test_files_that_hold_no_array_of_objects_are_errors(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'plain.npy', PIXELS)
  _save_as_objects(tmp_path / 'odd.npy', pickle.dumps([1, 2, 3]))
  for name in ('plain.npy', 'odd.npy'):
    with pytest.raises(InputError, match=name):
      pickles.load_object_array(tmp_path / name)


def _save_as_objects(path: pathlib.Path, data: bytes) -> None:
  """Writes a .npy file whose header promises an array of one object."""
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|O', 'fortran_order': False, 'shape': (1,)}
  )
  path.write_bytes(header.getvalue() + data)


def test_files_that_are_no_pickles_are_errors(tmp_path: pathlib.Path) -> None:
  whole = pickle.dumps([PIXELS, 'x' * 100])
  for name, data in [
    ('page.pkl', b'\n <!DOCTYPE html><html>Quota exceeded</html>'),
    ('empty.pkl', b''),
    ('cut.pkl', whole[:-30]),
    ('text.pkl', b'hello world'),
  ]:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
      pickles.load(tmp_path / name)


@pytest.mark.usefixtures('nothing_is_run')
@pytest.mark.parametrize('payload', PAYLOADS)
def test_hostile_pickles_are_refused(payload: str, little_memory: None) -> None:
  data, found = PAYLOADS[payload]
  if found is None:
    _loads(data)
    return
  with pytest.raises(
    InputError, match=rf'^x\.pkl (is refused: it|is not a whole pickle).*({found})'
  ) as caught:
    _loads(data)
  assert len(str(caught.value)) < 400


# A function that converts a dataset into a folder.
Convert = Callable[[pathlib.Path], Any]


def _miniimagenet(folder: pathlib.Path, payload: bytes) -> Convert:
  """Makes a release whose last split is hostile, so that another has been written before."""
  release = Release({'train': 1, 'val': 1}, images=4, side=IMAGES.shape[1])
  (folder / 'mini-imagenet-cache-train.pkl').write_bytes(
    pickle.dumps({'image_data': IMAGES, 'class_dict': {'a': [0, 1]}}, 2)
  )
  (folder / 'mini-imagenet-cache-val.pkl').write_bytes(payload)
  return lambda output: miniimagenet.convert(folder, output / 'x.npy', release)


def _tieredimagenet(folder: pathlib.Path) -> Convert:
  """Makes a release in which nothing is wrong yet."""
  for split in ('train', 'val'):
    np.savez(folder / f'{split}_images.npz', images=IMAGES)
    (folder / f'{split}_labels.pkl').write_bytes(pickle.dumps({'labels': [0, 0]}, 2))
  release = Release({'train': 1, 'val': 1}, images=4, side=IMAGES.shape[1])
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


def _chunks(folder: pathlib.Path, payload: bytes) -> Convert:
  """Makes a dataset in the original's form, which the original reads with allow_pickle."""
  (folder / 'val').mkdir()
  _save_as_objects(folder / 'val' / 'val_0.pkl.npy', payload)
  return lambda output: folder_lib.load('val', str(folder))


@pytest.mark.usefixtures('nothing_is_run')
@pytest.mark.parametrize(
  'make', [_miniimagenet, _tieredimagenet_labels, _tieredimagenet_pngs, _chunks]
)
@pytest.mark.parametrize(
  'payload', ['os.system, protocol 2', 'a list doubled 59 times', 'BYTEARRAY8 of 8 GB']
)
def test_whatever_reads_pickles_refuses_hostile_ones_and_writes_nothing(
  payload: str,
  make: Callable[[pathlib.Path, bytes], Convert],
  tmp_path: pathlib.Path,
  little_memory: None,
) -> None:
  folder, output = tmp_path / 'in', tmp_path / 'out'
  folder.mkdir()
  output.mkdir()
  convert = make(folder, PAYLOADS[payload][0])
  # A pickle of PNG images is searched, not loaded; most payloads do nothing there.
  with pytest.raises(InputError, match=r'val\w*\.pkl'):
    convert(output)
  assert os.listdir(output) == []
