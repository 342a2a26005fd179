"""Hostile pickles, given to everything that reads pickles."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile_payloads import COMMAND, IMAGES, MARK, PAYLOADS, Calls, SetsState

from hypertransformer.converters import miniimagenet, tieredimagenet
from hypertransformer.converters.classes import Release
from hypertransformer.data import folder as folder_lib
from hypertransformer.data import pickles
from hypertransformer.errors import InputError

pytestmark = pytest.mark.usefixtures('nothing_is_run')
SIDE = IMAGES.shape[1]


@pytest.mark.parametrize('payload', PAYLOADS)
def test_the_unpickler_refuses_hostile_pickles(payload: str, little_memory: None) -> None:
  data, found = PAYLOADS[payload]
  if found is None:
    pickles.loads(data, 'x.pkl')
    return
  with pytest.raises(
    InputError, match=rf'x\.pkl (is refused: it|is not a whole pickle).*({found})'
  ):
    pickles.loads(data, 'x.pkl')


# A function that converts a dataset into a folder.
Convert = Callable[[pathlib.Path], Any]


def _miniimagenet(folder: pathlib.Path, payload: bytes) -> Convert:
  """Makes a release whose last split is hostile, so that another has been written before."""
  release = Release({'train': 1, 'val': 1}, images=4, side=SIDE)
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
  release = Release({'train': 1, 'val': 1}, images=4, side=SIDE)
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
def test_converters_refuse_hostile_pickles_and_write_nothing(
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
  # PNG images are picked out of a pickle that is not loaded. Some bombs do nothing there; they just
  # hold no image.
  with pytest.raises(
    InputError,
    match=r'val\w*\.pkl (is refused: it|is not a whole pickle|contains (a list|0 images))',
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
    (SetsState(), 'copy_reg|hostile_p'),
  ],
)
def test_png_pickles_name_what_they_refuse(
  call: Any, name: str, protocol: int, tmp_path: pathlib.Path
) -> None:
  convert = _tieredimagenet_pngs(tmp_path, pickle.dumps([call], protocol))
  with pytest.raises(InputError, match=rf"png\.pkl is refused: it holds the name '.*({name})"):
    convert(tmp_path / 'out')


@pytest.mark.parametrize('payload', PAYLOADS)
def test_datasets_refuse_hostile_chunks(
  payload: str, tmp_path: pathlib.Path, little_memory: None
) -> None:
  """The original reads such chunks with allow_pickle."""
  data, _ = PAYLOADS[payload]
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|O', 'fortran_order': False, 'shape': (1,)}
  )
  (tmp_path / 'photos').mkdir()
  (tmp_path / 'photos' / '0.npy').write_bytes(header.getvalue() + data)
  with pytest.raises(InputError, match=r'0\.npy (is refused: it|is not a whole pickle|promises)'):
    folder_lib.load('photos', str(tmp_path))


def test_honest_files_are_far_from_the_limits() -> None:
  """Labels as NumPy scalars take the most opcodes; here are a 45th of the largest list there is.

  The limit to lists and dicts is a fiftieth of the real one.
  """
  labels = [np.int64(number) for number in range(10_000)]
  for protocol in (2, 5):
    loaded = pickles.loads(pickle.dumps({'labels': labels, 'again': labels}, protocol), 'x')
    assert loaded['labels'] == loaded['again'] == labels
