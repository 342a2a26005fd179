"""utils/cache_image_folder.py as a command."""

from __future__ import annotations

import os
import pathlib
import pickle
import resource
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hypertransformer.data import folder as folder_lib

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'cache_image_folder.py'
RNG = np.random.default_rng(0)


def _run(*flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *flags],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
    **options,
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
  assert f'{images / "b" / "1.png"} is a web page' in done.stderr
  assert os.listdir(tmp_path) == ['images']
  done = _run(*flags, '--skip_broken')
  assert done.returncode == 0, done.stderr
  assert '1 broken images skipped' in done.stdout
  assert _values(tmp_path) == [[0, 1], [10], [20, 21]]


@pytest.mark.parametrize(
  ('flags', 'found'),
  [
    ((), '--input_path is not given'),
    (('--input_path=.', '--pickles=a'), '--pickles'),
    (('--input_path=.', '--csv=a', '--splits=b'), '--csv and --splits'),
    (('--input_path=/nowhere',), 'the folder /nowhere cannot be read'),
    (('--input_path=.', '--image_size=0'), 'image_size is 0'),
    (('--input_path=.', '--csv=/nowhere.csv'), '/nowhere.csv cannot be read'),
    (('--input_path=a/~/b',), '--input_path=a/~/b'),
    ((f'--input_path={SCRIPT}',), 'is a file; expected a folder of images'),
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


def test_dark_ink_becomes_bright(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  done = _run(f'--input_path={images}', f'--output_path={tmp_path / "new.npy"}', '--invert')
  assert done.returncode == 0, done.stderr
  assert _values(tmp_path) == [[255, 254], [245, 244], [235, 234]]
  assert (tmp_path / 'new.classes.csv').read_text().splitlines()[1] == '0,all,a,2'


def test_deep_images_get_the_white_value(images: pathlib.Path, tmp_path: pathlib.Path) -> None:
  for file in images.rglob('*.png'):
    Image.fromarray(np.full((4, 4), 2000, np.uint16)).save(file)
  flags = f'--input_path={images}', f'--output_path={tmp_path / "new"}', '--overwrite'
  for value, extra in ((249, ()), (128, ('--white_value=3984.375',))):  # of 2047, and given
    done = _run(*flags, *extra)
    assert done.returncode == 0, done.stderr
    assert _values(tmp_path) == [[value] * 2] * 3


def test_the_home_folder_is_expanded_in_every_path(
  images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'train.csv').write_text('filename, label\nc/0.png, c\n')
  (tmp_path / 'train.txt').write_text('c\n')
  env = {**os.environ, 'HOME': str(tmp_path)}
  (tmp_path / 'empty').mkdir()
  for number, extra in enumerate(((), ('--csv=~/train.csv',), ('--splits=~/train.txt',))):
    done = _run(
      '--input_path=~/images',
      f'--output_path=~/new{number}',
      *extra,
      env=env,
      cwd=tmp_path / 'empty',
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f'new{number}' / 'images.npy').exists()
  assert os.listdir(tmp_path / 'empty') == []


@pytest.mark.parametrize('name', ['new', 'new.npy'])
def test_a_full_disk_leaves_nothing(
  name: str, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  """The largest size of a file that a process may write stands for the size of the disk."""
  done = _run(
    f'--input_path={images}',
    f'--output_path={tmp_path / "out" / name}',
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
  )
  assert done.returncode == 2
  assert f'error: cannot write {tmp_path / "out" / name}: File too large' in done.stderr
  assert os.listdir(tmp_path / 'out') == []


def test_names_that_a_terminal_cannot_show_do_no_harm(
  images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  (images / 'a').rename(images / 'K\xe4fer')
  os.rename(images / 'b', os.fsencode(images) + b'/\xff')
  env = {**os.environ, 'PYTHONIOENCODING': 'ascii'}
  done = _run(f'--input_path={images}', f'--output_path={tmp_path / "new"}', env=env)
  assert done.returncode == 0, done.stderr
  assert r'in this order: K\xe4fer, c, \udcff' in done.stdout
