"""utils/make_strokes.py as a command."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np

from hypertransformer.converters import strokes

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'make_strokes.py'


def _run(*flags: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *flags], capture_output=True, text=True, check=False, timeout=300
  )


def test_the_dataset_is_written(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'small.npy'
  done = _run(f'--output_path={path}', '--classes=3', '--samples=2', '--image_size=20', '--seed=5')
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(f'wrote {path}: uint8 3 x 2 x 20 x 20 x 1, ')
  np.testing.assert_array_equal(np.load(path), strokes.make(3, 2, 20, 5))
  assert os.listdir(tmp_path) == ['small.npy']


def test_an_existing_file_is_replaced_only_on_demand(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'strokes.npy').write_bytes(b'old')
  flags = (f'--output_path={tmp_path}', '--classes=2', '--samples=2')
  done = _run(*flags)
  assert done.returncode == 2
  assert done.stderr.startswith('error: ')
  assert 'exists already' in done.stderr
  assert (tmp_path / 'strokes.npy').read_bytes() == b'old'
  assert _run(*flags, '--overwrite').returncode == 0
  assert np.load(tmp_path / 'strokes.npy').shape == (2, 2, 28, 28, 1)


def test_a_flag_out_of_range_is_an_error(tmp_path: pathlib.Path) -> None:
  done = _run(f'--output_path={tmp_path}', '--classes=0')
  assert done.returncode == 2
  assert done.stderr == 'error: classes is 0; expected at least 1\n'
  assert os.listdir(tmp_path) == []


def test_the_home_folder_is_expanded(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'empty').mkdir()
  done = subprocess.run(
    [sys.executable, str(SCRIPT), '--output_path=~/s.npy', '--classes=2', '--samples=2'],
    env={**os.environ, 'HOME': str(tmp_path)},
    cwd=tmp_path / 'empty',
    check=False,
  )
  assert done.returncode == 0
  assert sorted(os.listdir(tmp_path)) == ['empty', 's.npy']
  assert os.listdir(tmp_path / 'empty') == []
