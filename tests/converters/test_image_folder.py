"""Datasets that are made of images: training reads them, and nothing half-written stays."""

from __future__ import annotations

import csv
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from hypertransformer import cores
from hypertransformer.converters import image_folder, image_sources
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.images import Form
from hypertransformer.errors import InputError

SIZES = {'train': {'a': 3, 'b': 1}, 'test': {'c': 2}}
FORM = Form(6, 3)


def _image(number: int) -> np.ndarray:
  return np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
  """Folders of PNG files by split and class.

  The images 0, 1, 2 and so on are in the order in which the dataset must have them.
  """
  number = 0
  for split, classes in SIZES.items():
    for name, size in classes.items():
      folder = tmp_path / 'source' / split / name
      folder.mkdir(parents=True)
      for sample in range(size):
        Image.fromarray(_image(number)).save(folder / f'{sample}.png')
        number += 1
  return tmp_path / 'source'


def _convert(source: pathlib.Path, path: pathlib.Path, **options: bool) -> list[str]:
  return image_folder.convert(image_sources.from_folders(source), path, FORM, **options)


def test_training_reads_what_is_written(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
  written = _convert(source, tmp_path / 'data' / 'new')
  found = folder_lib.load('new', str(tmp_path / 'data'))
  assert isinstance(found.images, np.memmap)
  np.testing.assert_array_equal(found.images, np.stack([_image(number) for number in range(6)]))
  assert found.sizes.tolist() == [3, 1, 2]
  assert written == [
    'train: 2 classes, 4 images: new:0-1',
    '  in this order: a, b',
    'test: 1 classes, 2 images: new:2-2',
    '  in this order: c',
    f'wrote {tmp_path / "data" / "new"}: 3 classes, uint8 6 x 6 x 6 x 3, 0.0 MB',
  ]
  assert os.listdir(tmp_path / 'data') == ['new']
  with open(tmp_path / 'data' / 'new' / 'classes.csv', newline='') as file:
    assert list(csv.reader(file)) == [
      ['class', 'split', 'name', 'images'],
      ['0', 'train', 'a', '3'],
      ['1', 'train', 'b', '1'],
      ['2', 'test', 'c', '2'],
    ]


@pytest.mark.parametrize('block_bytes', [1, 1 << 24])
def test_blocks_and_threads_keep_the_order_of_grey_arrays(
  block_bytes: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(image_folder, '_BLOCK_BYTES', block_bytes)  # blocks of 8 images at the least
  monkeypatch.setattr(cores, 'available', lambda: 4)
  images = np.stack([_image(number)[..., :1] for number in range(50)])
  image_folder.convert({'all': {'a': images}}, tmp_path / 'x', Form(6, 1))
  np.testing.assert_array_equal(np.load(tmp_path / 'x' / 'images.npy'), images)


def test_a_single_file_needs_classes_of_equal_size(
  source: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=r"class 'b' has 1 images and class 'a' 3; .*without \.npy"):
    _convert(source, tmp_path / 'out' / 'x.npy')
  assert not (tmp_path / 'out').exists()


def test_broken_images_may_be_left_out(
  source: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
  (source / 'train' / 'a' / '1.png').write_bytes(b'')
  with pytest.raises(InputError, match=r'a/1\.png .*--skip_broken'):
    _convert(source, tmp_path / 'x')
  assert os.listdir(tmp_path) == ['source']
  written = _convert(source, tmp_path / 'x', skip_broken=True)
  found = folder_lib.load('x', str(tmp_path))
  np.testing.assert_array_equal(
    found.images, np.stack([_image(number) for number in (0, 2, 3, 4, 5)])
  )
  assert found.sizes.tolist() == [2, 1, 2]
  assert written[-1].endswith('uint8 5 x 6 x 6 x 3, 0.0 MB, 1 broken images skipped')
  assert capfd.readouterr().err.startswith(
    f'skipped: {source / "train" / "a" / "1.png"} is an empty file'
  )
