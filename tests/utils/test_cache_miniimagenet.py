"""utils/cache_miniimagenet.py as a command."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / 'utils' / 'cache_miniimagenet.py'
# The command, except that a small dataset is the complete one.
SMALL = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from hypertransformer.converters import miniimagenet
splits = (('train', 2), ('val', 1), ('test', 1))
miniimagenet.OFFICIAL = miniimagenet.Release(splits, samples=2, side=4)
sys.argv[0] = {str(SCRIPT)!r}
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def _run(*flags: str, small: bool = False) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, *(['-c', SMALL] if small else [str(SCRIPT)]), *flags]
  return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def files(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with a small dataset, in which all pixels of image i of a split are i."""
  folder = tmp_path / 'in'
  folder.mkdir()
  images = np.zeros((4, 4, 4, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]
  for split, classes in (
    ('train', {'a': [3, 0], 'b': [1, 2]}),
    ('val', {'c': [0, 1]}),
    ('test', {'d': [2, 3]}),
  ):
    content = {'image_data': images, 'class_dict': classes}
    (folder / f'mini-imagenet-cache-{split}.pkl').write_bytes(pickle.dumps(content, 2))
  return folder


def test_the_array_is_written_and_replaced_only_on_demand(
  files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  flags = f'--input_path={files}', f'--output_path={tmp_path / "out"}'
  done = _run(*flags, small=True)
  path = tmp_path / 'out' / 'miniimagenet.npy'
  assert done.returncode == 0, done.stderr
  assert done.stdout == (
    f'wrote {path}: uint8 4 x 2 x 4 x 4 x 3, 0.0 MB '
    '(train 2 classes, val 1 classes, test 1 classes)\n'
  )
  assert np.load(path)[:, :, 0, 0, 0].tolist() == [[3, 0], [1, 2], [0, 1], [2, 3]]
  again = _run(*flags, small=True)
  assert again.returncode == 2
  assert (
    again.stderr == f'error: {path} exists already; remove it or give --overwrite to replace it\n'
  )
  assert _run(*flags, '--overwrite', small=True).returncode == 0


def test_incomplete_files_end_with_one_line_and_status_2(
  files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = _run(f'--input_path={files}', f'--output_path={tmp_path / "out"}')
  assert done.returncode == 2
  assert done.stderr == (
    f"error: {files}/mini-imagenet-cache-train.pkl: 'image_data' is uint8 [4, 4, 4, 3]; expected "
    'uint8 [n, 84, 84, 3]\n'
  )
  assert done.stdout == ''
  assert os.listdir(tmp_path / 'out') == []


def test_a_missing_folder_is_an_error(tmp_path: pathlib.Path) -> None:
  done = _run(f'--input_path={tmp_path / "none"}', f'--output_path={tmp_path / "out"}')
  assert done.returncode == 2
  assert done.stderr.startswith(
    f'error: {tmp_path / "none"} cannot be read as a folder (No such file or directory)'
  )
  assert os.listdir(tmp_path) == []
