"""utils/cache_tieredimagenet.py as a command."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / 'utils' / 'cache_tieredimagenet.py'
# The command, except that a small dataset is the complete one.
SMALL = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from hypertransformer.converters import tieredimagenet as t
splits = t.Split('train', 2, 4), t.Split('val', 1, 4), t.Split('test', 1, 4)
t.OFFICIAL = t.Release(splits, side=4)
sys.argv[0] = {str(SCRIPT)!r}
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def _run(*flags: str, small: bool = False) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, *(['-c', SMALL] if small else [str(SCRIPT)]), *flags]
  return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def files(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with a small dataset.

  All pixels of image i of a split have the values 10 i of blue, 10 i + 1 of green, 10 i + 2 of red.
  """
  folder = tmp_path / 'in'
  folder.mkdir()
  images = np.zeros((4, 4, 4, 3), np.uint8) + (
    10 * np.arange(4, dtype=np.uint8)[:, None, None, None] + np.arange(3, dtype=np.uint8)
  )
  for split, labels in (('train', [1, 0, 1, 1]), ('val', [2] * 4), ('test', [3] * 4)):
    np.savez(folder / f'{split}_images.npz', images=images)
    (folder / f'{split}_labels.pkl').write_bytes(pickle.dumps({'labels': labels}, 2))
  return folder


@pytest.mark.parametrize('path', ['', 'tieredimagenet'])
@pytest.mark.parametrize(('bgr', 'red', 'blue'), [((), 2, 0), (('--nobgr',), 0, 2)])
def test_the_folder_is_written_and_replaced_only_on_demand(
  path: str, bgr: tuple[str, ...], red: int, blue: int, files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  flags = f'--input_path={files}', f'--output_path={tmp_path / "out" / path}', *bgr
  done = _run(*flags, small=True)
  folder = tmp_path / 'out' / 'tieredimagenet'
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  assert done.stdout == (
    f'wrote {folder / "images.npy"}: uint8 12 x 4 x 4 x 3, 0.0 MB (train 2 classes, 4 images; '
    'val 1 classes, 4 images; test 1 classes, 4 images)\n'
  )
  images = np.load(folder / 'images.npy')
  base = np.array([10, 0, 20, 30, *[0, 10, 20, 30] * 2])
  np.testing.assert_array_equal(images[:, 2, 1], np.stack([base + red, base + 1, base + blue], -1))
  assert np.load(folder / 'class_sizes.npy').tolist() == [1, 3, 4, 4]
  again = _run(*flags, small=True)
  assert again.returncode == 2
  assert (
    again.stderr == f'error: {folder} exists already; remove it or give --overwrite to replace it\n'
  )
  assert _run(*flags, '--overwrite', small=True).returncode == 0


def test_incomplete_files_end_with_one_line_and_status_2(
  files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = _run(f'--input_path={files}', f'--output_path={tmp_path / "out"}')
  assert done.returncode == 2
  assert done.stderr == f'error: {files}/train_labels.pkl holds 2 classes; expected 351\n'
  assert done.stdout == ''
  assert os.listdir(tmp_path) == ['in']


def test_missing_files_are_an_error(tmp_path: pathlib.Path) -> None:
  done = _run(f'--input_path={tmp_path}', f'--output_path={tmp_path / "out"}')
  assert done.returncode == 2
  assert done.stderr == (
    f'error: {tmp_path}/train_labels.pkl is not there; expected {{train,val,test}}_labels.pkl and '
    'the images beside them in --input_path\n'
  )
  assert os.listdir(tmp_path) == []
