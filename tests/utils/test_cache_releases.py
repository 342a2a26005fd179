"""The converters of published datasets, and utils/make_strokes.py, as commands."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from hypertransformer.converters import strokes

ROOT = pathlib.Path(__file__).parents[2]
OMNIGLOT = ROOT.parent / 'shared' / 'data' / 'omniglot'
GOLDEN = ROOT.parent / 'shared' / 'golden' / 'omniglot_sample.npz'
# The command, except that a small dataset is the complete one.
SMALL = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from hypertransformer.converters import miniimagenet, tieredimagenet
from hypertransformer.converters.classes import Release
miniimagenet.OFFICIAL = Release({{'train': 2, 'val': 1, 'test': 1}}, images=8, side=4)
tieredimagenet.OFFICIAL = Release({{'train': 2, 'val': 1, 'test': 1}}, images=12, side=4)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def _run(name: str, *flags: str, small: bool = False) -> subprocess.CompletedProcess[str]:
  script = str(ROOT / 'utils' / f'{name}.py')
  return subprocess.run(
    [sys.executable, *(['-c', SMALL] if small else []), script, *flags],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


@pytest.fixture
def miniimagenet(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with a small dataset, in which all pixels of image i of a split are i."""
  images = np.zeros((4, 4, 4, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]
  for split, classes in (
    ('train', {'a': [3, 0], 'b': [1, 2]}),
    ('val', {'c': [0, 1]}),
    ('test', {'d': [2, 3]}),
  ):
    content = {'image_data': images, 'class_dict': classes}
    path = tmp_path / 'in' / f'mini-imagenet-cache-{split}.pkl'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, 2))
  return tmp_path / 'in'


@pytest.fixture
def tieredimagenet(tmp_path: pathlib.Path) -> pathlib.Path:
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


def test_miniimagenet_is_written(miniimagenet: pathlib.Path, tmp_path: pathlib.Path) -> None:
  flags = f'--input_path={miniimagenet}', f'--output_path={tmp_path / "out"}'
  done = _run('cache_miniimagenet', *flags, small=True)
  path = tmp_path / 'out' / 'miniimagenet.npy'
  assert done.stdout == (
    f'wrote {path}: uint8 4 x 2 x 4 x 4 x 3, 0.0 MB '
    '(train 2 classes, val 1 classes, test 1 classes)\n'
  )
  assert np.load(path)[:, :, 0, 0, 0].tolist() == [[3, 0], [1, 2], [0, 1], [2, 3]]
  again = _run('cache_miniimagenet', *flags, small=True)
  assert again.returncode == 2
  assert again.stderr.startswith(f'error: {path} exists already')
  assert _run('cache_miniimagenet', *flags, '--overwrite', small=True).returncode == 0


@pytest.mark.parametrize(
  ('path', 'bgr', 'red', 'blue'), [('', (), 2, 0), ('tieredimagenet', ('--nobgr',), 0, 2)]
)
def test_tieredimagenet_is_written(
  path: str,
  bgr: tuple[str, ...],
  red: int,
  blue: int,
  tieredimagenet: pathlib.Path,
  tmp_path: pathlib.Path,
) -> None:
  flags = f'--input_path={tieredimagenet}', f'--output_path={tmp_path / "out" / path}', *bgr
  done = _run('cache_tieredimagenet', *flags, small=True)
  folder = tmp_path / 'out' / 'tieredimagenet'
  assert done.stderr == ''
  assert done.stdout == (
    f'wrote {folder / "images.npy"}: uint8 12 x 4 x 4 x 3, 0.0 MB (train 2 classes, 4 images; '
    'val 1 classes, 4 images; test 1 classes, 4 images)\n'
  )
  base = np.array([10, 0, 20, 30, *[0, 10, 20, 30] * 2])
  np.testing.assert_array_equal(
    np.load(folder / 'images.npy')[:, 2, 1], np.stack([base + red, base + 1, base + blue], -1)
  )
  assert np.load(folder / 'class_sizes.npy').tolist() == [1, 3, 4, 4]
  again = _run('cache_tieredimagenet', *flags, small=True)
  assert again.returncode == 2
  assert again.stderr.startswith(f'error: {folder} exists already')
  assert _run('cache_tieredimagenet', *flags, '--overwrite', small=True).returncode == 0


def test_strokes_are_written(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'small.npy'
  flags = f'--output_path={path}', '--classes=3', '--samples=2', '--image_size=20', '--seed=5'
  done = _run('make_strokes', *flags)
  assert done.stdout.startswith(f'wrote {path}: uint8 3 x 2 x 20 x 20 x 1, ')
  np.testing.assert_array_equal(np.load(path), strokes.make(3, 2, 20, 5))
  assert os.listdir(tmp_path) == ['small.npy']
  assert _run('make_strokes', *flags).returncode == 2
  assert _run('make_strokes', *flags, '--overwrite').returncode == 0


@pytest.mark.parametrize(
  ('script', 'flags', 'found'),
  [
    ('make_strokes', ('--classes=0',), 'classes is 0'),
    ('cache_omniglot', ('--input_path=in',), r'images_background.zip is a web page'),
    ('cache_miniimagenet', ('--input_path=none',), 'directory none cannot be read'),
    ('cache_tieredimagenet', ('--input_path=in',), 'train_labels.pkl cannot be read'),
  ],
)
def test_bad_input_ends_with_one_line_and_status_2(
  script: str,
  flags: tuple[str, ...],
  found: str,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'images_background.zip').write_bytes(b'<html>moved</html>')
  monkeypatch.chdir(tmp_path)
  done = _run(script, *flags, '--output_path=new')
  assert done.returncode == 2
  assert done.stderr.startswith('error: ')
  assert found in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert os.listdir(tmp_path) == ['in']


@pytest.mark.slow
@pytest.mark.skipif(not OMNIGLOT.exists(), reason='the Omniglot release in ../shared is not here')
def test_the_real_omniglot_is_as_the_original_made_it(tmp_path: pathlib.Path) -> None:
  done = _run('cache_omniglot', f'--input_path={OMNIGLOT}', f'--output_path={tmp_path / "new"}')
  path = tmp_path / 'new' / 'omniglot.npy'
  assert done.stdout == f'wrote {path}: uint8 1623 x 20 x 28 x 28 x 1, 25.4 MB\n', done.stderr
  images = np.load(path)
  with np.load(GOLDEN) as sample:
    np.testing.assert_array_equal(images[sample['classes']], sample['images'])
