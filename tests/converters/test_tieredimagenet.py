"""The tieredImageNet converter on small files that are built like the real ones."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
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
  check,
  convert,
  encode_png,
  replaced,
  save_compressed,
  save_npz,
  save_pngs,
  write,
)

from hypertransformer.converters import tieredimagenet
from hypertransformer.converters.classes import Release
from hypertransformer.data import files
from hypertransformer.errors import InputError


@pytest.mark.parametrize('block_images', [1, 7, 1000])
@pytest.mark.parametrize(
  'store',
  [
    save_npz,
    save_compressed,
    save_pngs(2, lambda png: np.frombuffer(png, np.uint8)[:, np.newaxis]),
    save_pngs(5, lambda png: np.frombuffer(png, np.uint8)),
    save_pngs(2, bytes),
    save_pngs(4, bytes),
    save_pngs(5, bytearray),
  ],
  ids=['stored', 'compressed', 'arrays-2', 'arrays-5', 'bytes-2', 'bytes-4', 'bytearray-5'],
)
def test_images_and_classes_are_converted(
  store: Callable[[pathlib.Path, np.ndarray], None],
  block_images: int,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.setattr(tieredimagenet, '_BLOCK_BYTES', block_images * SIDE * SIDE * 3)
  write(tmp_path, store)
  counts = convert(tmp_path)
  assert counts == 'train 4 classes, 30 images; val 2 classes, 11 images; test 3 classes, 20 images'
  check(tmp_path)


def test_files_of_python_2_are_converted(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  for name, (images, labels) in DATA.items():
    pngs = [np.frombuffer(encode_png(image), np.uint8)[:, np.newaxis] for image in images]
    (tmp_path / f'{name}_images_png.pkl').write_bytes(python_2_pickle(pngs))
    (tmp_path / f'{name}_labels.pkl').write_bytes(
      python_2_pickle({'label_specific': labels, 'label_general': [1]})
    )
  convert(tmp_path)
  check(tmp_path)


@pytest.mark.parametrize(
  'kind',
  [
    np.asarray,
    list,
    lambda labels: labels - labels.min(),
    lambda labels: 10 * labels + 7,
    lambda labels: [f'n{label:04d}' for label in labels],
  ],
  ids=['array', 'scalars', 'from 0', 'gaps', 'names'],
)
@pytest.mark.parametrize('key', ['labels', 'label_specific'])
def test_labels_may_be_of_several_kinds(
  kind: Callable[[np.ndarray], Any], key: str, tmp_path: pathlib.Path
) -> None:
  write(tmp_path, key=key, kind=kind)
  convert(tmp_path)
  check(tmp_path)


VAL = DATA['val'][0]
FLIPPED_AT = 800  # within the image data of the archive


def _labels(content: Any) -> Change:
  """Replace what the label file of the split val holds."""
  return lambda root: (root / 'val_labels.pkl').write_bytes(pickle.dumps(content, 2))


def _images(images: np.ndarray, name: str = 'images') -> Change:
  """Replace the images of the split val."""
  return lambda root: np.savez(root / 'val_images.npz', **{name: images})


def _member(npy_file: bytes) -> Change:
  """Replace the images of the split val by an archive with this .npy file."""

  def change(root: pathlib.Path) -> None:
    with zipfile.ZipFile(root / 'val_images.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
      archive.writestr('images.npy', npy_file)

  return change


def _array(shape: tuple[int, ...], data: bytes = b'') -> Change:
  return _member(files.uint8_header(shape) + data)


def _pngs(images: list[Any], cut: int | None = None) -> Change:
  """Replace the images of the split val by a pickle of PNG files."""

  def change(root: pathlib.Path) -> None:
    (root / 'val_images.npz').unlink()
    (root / 'val_images_png.pkl').write_bytes(pickle.dumps(images, 2)[:cut])

  return change


PNGS = [encode_png(image) for image in VAL]
SMALL = io.BytesIO()
Image.new('RGB', (4, 5)).save(SMALL, 'PNG')


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (_labels({'labels': [0] * 11}), r'val_labels\.pkl contains 1 classes; expected 2'),
    (
      _labels({'labels': [0, 1] * 5}),
      r'uint8 \[11, 5, 5, 3\] in .*; expected uint8 \[10, 5, 5, 3\]',
    ),
    (_labels({'label_general': [1]}), r"label_general; expected .*'labels', 'label_specific'"),
    (_labels({'labels': ['n0'] * 5 + ['n1'] * 6}), "'n0' of val .* of train are the same"),
    (lambda root: (root / 'val_labels.pkl').unlink(), r'val_labels\.pkl cannot be read'),
    (lambda root: (root / 'val_images.npz').unlink(), r'val_images_png\.pkl .*val_images\.npz'),
    (replaced(b'\n<!doctype html>', 'val_images.npz'), r'val_images\.npz is a web page'),
    (changed(lambda data: data[:-30], 'val_images.npz'), r'is not a whole \.npz file'),
    (
      changed(
        lambda data: data[:FLIPPED_AT] + bytes([data[FLIPPED_AT] ^ 1]) + data[FLIPPED_AT + 1 :],
        'val_images.npz',
      ),
      r"val_images\.npz is .*\(Bad CRC-32 for file 'images\.npy'\)",
    ),
    (_images(VAL, 'data'), r"val_images\.npz is not .*'images\.npy'"),
    (_images(VAL / 255.0), r"'images' is float64 \[11, 5, 5, 3\]"),
    (_images(np.asfortranarray(VAL)), 'expected uint8 .* in C order'),
    (_array(VAL.shape, VAL.tobytes()[:-1]), 'in 824 bytes'),
    (_array((10**15, 5, 5, 3)), r"'images' is uint8 \[1000000000000000, 5, 5, 3\]"),
    (_member(b'\x93NUMPY\x02\x00\xff\xff\xff\x7f' + b' ' * (1 << 22)), r'val_images\.npz is not a'),
    (_pngs(PNGS[:10]), r'val_images_png\.pkl contains 10 images; expected 11'),
    (_pngs([*PNGS, PNGS[0] + b'x']), r'contains more than 11 images; expected 11'),
    (_pngs([*PNGS[:3], SMALL.getvalue()]), 'image 3 .*5 x 5 pixels .*4 x 5'),
    (_pngs([*PNGS[:3], PNGS[3][:40]]), 'image 3 is not a whole PNG image'),
    (_pngs(PNGS, -200), r'val_images_png\.pkl is not a whole pickle'),
  ],
)
def test_bad_files_are_refused(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  kind = (lambda labels: [f'n{label}' for label in labels]) if 'n0' in found else np.ndarray.tolist
  write(tmp_path, kind=kind)
  assert_refused(tmp_path, change, found)


def test_a_wrong_checksum_is_found_at_the_end_and_nothing_stays(tmp_path: pathlib.Path) -> None:
  """A bit is flipped far behind the header, so all has been written when the error is found."""
  save_npz(tmp_path / 'train', np.zeros((2000, SIDE, SIDE, 3), np.uint8))
  (tmp_path / 'train_labels.pkl').write_bytes(pickle.dumps({'labels': [0] * 2000}, 2))
  changed(lambda data: data[:99_000] + b'\1' + data[99_001:], 'train_images.npz')(tmp_path)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=r'train_images\.npz .*Bad CRC-32'):
    tieredimagenet.convert(
      tmp_path, tmp_path / 'out' / 'x', release=Release({'train': 1}, 2000, SIDE)
    )
  assert os.listdir(tmp_path / 'out') == []


SCRIPT = """
import pathlib, resource, sys
from hypertransformer.converters import tieredimagenet
from hypertransformer.converters.classes import Release
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
root = pathlib.Path(sys.argv[1])
tieredimagenet.convert(root, root / 'tieredimagenet', release=Release({'train': 24}, 14400, 84))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize('shuffled', [False, True])
def test_memory_stays_small(shuffled: bool, tmp_path: pathlib.Path) -> None:
  """300 MB are converted with less than 150 MB of memory beyond what the imports take."""
  images = 14_400
  block = np.random.default_rng(0).integers(0, 256, (600, 84, 84, 3), np.uint8)
  with (
    zipfile.ZipFile(tmp_path / 'train_images.npz', 'w', zipfile.ZIP_STORED) as archive,
    archive.open('images.npy', 'w') as member,
  ):
    member.write(files.uint8_header((images, 84, 84, 3)))
    for _ in range(images // len(block)):
      member.write(block.tobytes())
  labels = np.repeat(np.arange(24), 600)
  if shuffled:
    np.random.default_rng(1).shuffle(labels)
  (tmp_path / 'train_labels.pkl').write_bytes(pickle.dumps({'labels': labels}, 2))
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT, str(tmp_path)],
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parents[2])},
  )
  assert done.returncode == 0, done.stderr
  grown = int(done.stdout) / (1 << 10)
  written = np.load(tmp_path / 'tieredimagenet' / 'images.npy', mmap_mode='r')
  place = int(np.flatnonzero(labels == 5)[7])
  np.testing.assert_array_equal(written[5 * 600 + 7], block[place % 600][..., ::-1])
  shutil.rmtree(tmp_path / 'tieredimagenet')
  (tmp_path / 'train_images.npz').unlink()
  assert grown < 150, f'grew by {grown:.0f} MB'
