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


def _run(home: pathlib.Path, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
  (home / 'empty').mkdir(exist_ok=True)
  environment = {**os.environ, 'HOME': str(home), 'PYTHONIOENCODING': 'ascii'}
  return subprocess.run(
    [sys.executable, str(SCRIPT), *flags],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
    env=environment,
    cwd=home / 'empty',
    **options,
  )


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
  """A home directory: images of the classes a, b, \xe4, two of each, and lists, a table, a pickle.

  All pixels of image i of class c are 10 c + i, both counted from 0; those of `deep` are 2000.
  """
  for number, name in enumerate('ab\xe4'):
    for folder, offset in (('images', 10 * number), ('deep', 2000)):
      (tmp_path / folder / name).mkdir(parents=True)
      for sample in range(2):
        value = offset + sample * (folder == 'images')
        kind = np.uint8 if folder == 'images' else np.uint16
        image = Image.fromarray(np.full((10, 12), value, kind))
        image.save(tmp_path / folder / name / f'{sample}.png')
  (tmp_path / 'train.txt').write_text('b\n\xe4\n', 'utf-8')
  (tmp_path / 'test.txt').write_text('a\n')
  (tmp_path / 'test.csv').write_text(
    'filename, label\nb/1.png,x\na/0.png,x\n\xe4/0.png, w\n', 'utf-8'
  )
  pixels = np.zeros((3, 4, 4, 3), np.uint8) + np.array([5, 50, 6], np.uint8)[:, None, None, None]
  (tmp_path / 'FC100.pickle').write_bytes(pickle.dumps({'data': pixels, 'labels': [1, 0, 1]}, 2))
  return tmp_path


@pytest.mark.parametrize(
  ('flags', 'values'),
  [
    ('--input_path=~/images --channels=1 --image_size=6', [[0, 1], [10, 11], [20, 21]]),
    ('--input_path=~/images --splits=~/train.txt,~/test.txt', [[10, 11], [20, 21], [0, 1]]),
    ('--input_path=~/images --csv=~/test.csv --crop=center', [[20], [11, 0]]),
    ('--pickles=~/FC100.pickle', [[50], [5, 6]]),
    ('--input_path=~/images --invert', [[255, 254], [245, 244], [235, 234]]),
    ('--input_path=~/deep --white_value=3984.375', [[128, 128]] * 3),
  ],
)
def test_images_become_a_dataset(flags: str, values: list[list[int]], home: pathlib.Path) -> None:
  done = _run(home, *flags.split(), '--output_path=~/out/new')
  assert done.returncode == 0, done.stderr
  found = folder_lib.load('new', str(home / 'out'))
  pixels = found.images.reshape(len(found.images), -1)
  assert (pixels == pixels[:, :1]).all()
  ends = zip(found.starts, found.sizes, strict=True)
  assert [pixels[start : start + size, 0].tolist() for start, size in ends] == values
  assert os.listdir(home / 'empty') == []


def test_a_single_file_is_written_once(home: pathlib.Path) -> None:
  """Class names are printed on any terminal."""
  os.rename(home / 'images' / 'b', os.fsencode(home / 'images') + b'/\xff')
  flags = '--input_path=~/images', '--output_path=~/new.npy', '--image_size=6'
  done = _run(home, *flags)
  assert done.stdout.splitlines() == [
    'all: 3 classes, 6 images: new:0-2',
    r'  in this order: a, \xe4, \udcff',
    f'wrote {home / "new.npy"}: 3 classes, uint8 6 x 6 x 6 x 3, 0.0 MB',
  ]
  assert np.load(home / 'new.npy').shape == (3, 2, 6, 6, 3)
  assert (home / 'new.classes.csv').read_text().splitlines()[1] == '0,all,a,2'
  again = _run(home, *flags)
  assert again.returncode == 2
  assert 'exists already' in again.stderr
  assert _run(home, *flags, '--overwrite').returncode == 0


def test_broken_images_end_it_or_are_skipped(home: pathlib.Path) -> None:
  (home / 'images' / 'b' / '1.png').write_bytes(b'<html>')
  flags = '--input_path=~/images', '--output_path=~/new'
  done = _run(home, *flags)
  assert done.returncode == 2
  assert f'{home / "images" / "b" / "1.png"} is a web page' in done.stderr
  assert not (home / 'new').exists()
  done = _run(home, *flags, '--skip_broken')
  assert done.returncode == 0, done.stderr
  assert '1 broken images skipped' in done.stdout


@pytest.mark.parametrize(
  ('flags', 'found'),
  [
    ((), '--input_path is not given'),
    (('--input_path=.', '--pickles=a'), '--pickles'),
    (('--input_path=.', '--csv=a', '--splits=b'), '--csv and --splits'),
    (('--input_path=~/none',), 'none'),
  ],
)
def test_bad_flags_end_with_one_line_and_status_2(
  flags: tuple[str, ...], found: str, tmp_path: pathlib.Path
) -> None:
  done = _run(tmp_path, *flags, f'--output_path={tmp_path / "new"}')
  assert done.returncode == 2
  assert done.stderr.startswith('error: ')
  assert found in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert os.listdir(tmp_path) == ['empty']


@pytest.mark.parametrize('name', ['new', 'new.npy'])
def test_a_full_disk_leaves_nothing(name: str, home: pathlib.Path) -> None:
  """The largest size of a file that a process may write stands for the size of the disk."""
  done = _run(
    home,
    '--input_path=~/images',
    f'--output_path=~/out/{name}',
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
  )
  assert done.returncode == 2
  assert f'error: cannot write {home / "out" / name}: File too large' in done.stderr
  assert os.listdir(home / 'out') == []
