"""utils/cache_omniglot.py as a command."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
RELEASE = ROOT.parent / 'shared' / 'data' / 'omniglot'
GOLDEN = ROOT.parent / 'shared' / 'golden' / 'omniglot_sample.npz'


def _run(*flags: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(ROOT / 'utils' / 'cache_omniglot.py'), *flags],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


def test_bad_input_ends_with_one_line_and_status_2(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'images_background.zip').write_bytes(b'<html>moved</html>')
  done = _run(f'--input_path={tmp_path}', f'--output_path={tmp_path / "out"}')
  assert done.returncode == 2
  assert done.stderr.startswith('error: ')
  assert 'images_background.zip is a web page' in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert os.listdir(tmp_path) == ['images_background.zip']


def test_existing_output_is_kept(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'omniglot.npy').write_bytes(b'old')
  done = _run(f'--input_path={tmp_path}', f'--output_path={tmp_path}')
  assert done.returncode == 2
  assert 'exists already' in done.stderr
  assert (tmp_path / 'omniglot.npy').read_bytes() == b'old'


@pytest.mark.slow
@pytest.mark.skipif(not RELEASE.exists(), reason='the Omniglot release in ../shared is not here')
def test_the_real_release_is_as_the_original_made_it(tmp_path: pathlib.Path) -> None:
  done = _run(f'--input_path={RELEASE}', f'--output_path={tmp_path / "new"}')
  assert done.returncode == 0, done.stderr
  path = tmp_path / 'new' / 'omniglot.npy'
  assert done.stdout == f'wrote {path}: uint8 1623 x 20 x 28 x 28 x 1, 25.4 MB\n'
  images = np.load(path)
  with np.load(GOLDEN) as sample:
    np.testing.assert_array_equal(images[sample['classes']], sample['images'])
