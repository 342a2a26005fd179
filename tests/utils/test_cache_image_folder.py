"""utils/cache_image_folder.py as a command."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hypertransformer.datasets import folder as folder_lib

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'cache_image_folder.py'
RNG = np.random.default_rng(0)


def _run(*flags: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *flags], capture_output=True, text=True, check=False, timeout=300
  )


@pytest.fixture
def images(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with the classes a, b, c of two grey images each.

  All pixels of image i of class c are 10 c + i, both counted from 0.
  """
  for number, name in enumerate('abc'):
    (tmp_path / 'images' / name).mkdir(parents=True)
    for sample in range(2):
      Image.new('L', (10, 10), 10 * number + sample).save(
        tmp_path / 'images' / name / f'{sample}.png'
      )
  return tmp_path / 'images'


def _values(root: pathlib.Path) -> list[list[int]]:
  """Reads the dataset new and returns, for each class, the one value that each image has."""
  found = folder_lib.load('new', str(root))
  values = found.images.reshape(len(found.images), -1)
  assert (values == values[:, :1]).all()
  return [
    values[start : start + size, 0].tolist()
    for start, size in zip(found.starts, found.sizes, strict=True)
  ]


def test_folders_become_a_dataset(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  done = _run(
    f'--input_path={images}',
    f'--output_path={tmp_path / "out" / "new"}',
    '--image_size=6',
    '--channels=1',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines() == [
    'all: 3 classes, 6 images: new:0-2',
    '  in this order: a, b, c',
    f'wrote {tmp_path / "out" / "new"}: 3 classes, uint8 6 x 6 x 6 x 1, 0.0 MB',
  ]
  assert _values(tmp_path / 'out') == [[0, 1], [10, 11], [20, 21]]
  again = _run(f'--input_path={images}', f'--output_path={tmp_path / "out" / "new"}')
  assert again.returncode == 2
  assert 'exists already' in again.stderr


def test_lists_become_a_single_file(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'train.txt').write_text('c\nb\n')
  (tmp_path / 'test.txt').write_text('a\n')
  done = _run(
    f'--input_path={images}',
    f'--splits={tmp_path / "train.txt"},{tmp_path / "test.txt"}',
    f'--output_path={tmp_path / "new.npy"}',
    '--crop=center',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[:3] == [
    'train: 2 classes, 4 images: new:0-1',
    '  in this order: b, c',
    'test: 1 classes, 2 images: new:2-2',
  ]
  assert _values(tmp_path) == [[10, 11], [20, 21], [0, 1]]
  assert np.load(tmp_path / 'new.npy').shape == (3, 2, 84, 84, 3)


def test_a_table_becomes_a_dataset(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'test.csv').write_text('filename,label\nb/1.png,x\na/0.png,x\nc/0.png,w\n')
  done = _run(
    f'--input_path={images}', f'--csv={tmp_path / "test.csv"}', f'--output_path={tmp_path / "new"}'
  )
  assert done.returncode == 0, done.stderr
  assert _values(tmp_path) == [[20], [11, 0]]


def test_a_pickle_becomes_a_dataset(tmp_path: pathlib.Path) -> None:
  data = RNG.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
  (tmp_path / 'FC100_train.pickle').write_bytes(
    pickle.dumps({'data': data, 'labels': [1, 0, 1]}, 2)
  )
  done = _run(
    f'--pickles={tmp_path / "FC100_train.pickle"}',
    '--image_size=32',
    f'--output_path={tmp_path / "new"}',
  )
  assert done.returncode == 0, done.stderr
  np.testing.assert_array_equal(np.load(tmp_path / 'new' / 'images.npy'), data[[1, 0, 2]])


def test_broken_images_end_it_or_are_skipped(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  (images / 'b' / '1.png').write_bytes(b'<html>')
  flags = f'--input_path={images}', f'--output_path={tmp_path / "new"}'
  done = _run(*flags)
  assert done.returncode == 2
  assert done.stderr.startswith('error: 1 images cannot be read; ')
  assert f'{images / "b" / "1.png"} is a web page' in done.stderr
  assert os.listdir(tmp_path) == ['images']
  done = _run(*flags, '--skip_broken')
  assert done.returncode == 0, done.stderr
  assert '1 broken images skipped' in done.stdout
  assert _values(tmp_path) == [[0, 1], [10], [20, 21]]


@pytest.mark.parametrize(
  ('flags', 'found'),
  [
    ((), '--input_path is not given; expected the folder of the images'),
    (('--input_path=.', '--pickles=a'), 'both --input_path and --pickles are given'),
    (
      ('--input_path=.', '--csv=a', '--splits=b'),
      '--csv, --splits and --pickles are given together',
    ),
    (('--input_path=/nowhere',), 'the folder /nowhere cannot be read'),
    (('--input_path=.', '--image_size=0'), 'image_size is 0'),
    (('--input_path=.', '--csv=/nowhere.csv'), '/nowhere.csv cannot be read'),
  ],
)
def test_bad_flags_end_with_one_line_and_status_2(
  flags: tuple[str, ...], found: str, tmp_path: pathlib.Path
) -> None:
  done = _run(*flags, f'--output_path={tmp_path / "new"}')
  assert done.returncode == 2
  assert done.stderr.startswith('error: ')
  assert found in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert os.listdir(tmp_path) == []
