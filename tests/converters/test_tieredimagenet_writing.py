"""The tieredImageNet converter on full disks, after a kill, and with little memory."""

from __future__ import annotations

import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from small_tieredimagenet import RELEASE, check, convert, write

from hypertransformer.converters import tieredimagenet
from hypertransformer.data import files
from hypertransformer.errors import InputError


def test_a_full_disk_is_noticed_before_writing(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  write(tmp_path)
  real = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: real._replace(free=61 * 75 - 1))
  with pytest.raises(
    InputError, match=r'tieredimagenet needs 0\.00 GB, but .* has 0\.00 GB free; make room'
  ):
    convert(tmp_path)
  assert not (tmp_path / 'out').exists()


@pytest.fixture
def tiny_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder with a file system of its own, of 4 kB."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', str(disk)]
  if (
    shutil.which('mount') is None
    or subprocess.run(command, capture_output=True, check=False).returncode
  ):
    pytest.skip('no permission to mount a small file system')
  yield disk
  subprocess.run(['umount', str(disk)], check=True)


def test_a_disk_that_fills_up_meanwhile_is_an_error(
  tiny_disk: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  write(tmp_path)
  monkeypatch.setattr(files, 'require_space', lambda path, needed: None)
  with pytest.raises(
    InputError, match=r'cannot write .*tieredimagenet: No space left on device; check that'
  ):
    tieredimagenet.convert(tmp_path, tiny_disk / 'tieredimagenet', release=RELEASE)
  assert os.listdir(tiny_disk) == []


ROOT = pathlib.Path(__file__).parents[2]
# The small release, for the scripts below.
RELEASE_IN_SCRIPT = """
from hypertransformer.converters import tieredimagenet as t
release = t.Release((t.Split('train', 4, 30), t.Split('val', 2, 11), t.Split('test', 3, 20)), 5)
"""


def _run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
  """Runs a Python script in a process of its own."""
  return subprocess.run(
    [sys.executable, '-c', script, *args],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )


def test_a_quota_is_an_error(tmp_path: pathlib.Path) -> None:
  """No file may grow beyond 2 kB here, as on a disk with quotas."""
  write(tmp_path)
  done = _run(
    RELEASE_IN_SCRIPT
    + """
import pathlib, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
root = pathlib.Path(sys.argv[1])
t.convert(root, root / 'out' / 'tieredimagenet', release=release)
""",
    str(tmp_path),
  )
  assert 'InputError: cannot write ' in done.stderr
  assert 'tieredimagenet: File too large; check that the folder is writable' in done.stderr
  assert os.listdir(tmp_path / 'out') == []


def test_a_killed_conversion_can_be_started_again(tmp_path: pathlib.Path) -> None:
  write(tmp_path)
  done = _run(
    RELEASE_IN_SCRIPT
    + """
import os, pathlib, signal, sys
t._scatter = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
root = pathlib.Path(sys.argv[1])
t.convert(root, root / 'out' / 'tieredimagenet', release=release)
""",
    str(tmp_path),
  )
  assert done.returncode == -signal.SIGKILL
  (left,) = os.listdir(tmp_path / 'out')
  assert left.endswith('.part')
  convert(tmp_path)
  check(tmp_path)


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
  done = _run(
    """
import pathlib, resource, sys
from hypertransformer.converters import tieredimagenet as t
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
root = pathlib.Path(sys.argv[1])
t.convert(root, root / 'tieredimagenet', release=t.Release((t.Split('train', 24, 14400),), 84))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""",
    str(tmp_path),
  )
  assert done.returncode == 0, done.stderr
  grown = int(done.stdout) / (1 << 10)
  written = np.load(tmp_path / 'tieredimagenet' / 'images.npy', mmap_mode='r')
  place = int(np.flatnonzero(labels == 5)[7])
  np.testing.assert_array_equal(written[5 * 600 + 7], block[place % 600][..., ::-1])
  shutil.rmtree(tmp_path / 'tieredimagenet')
  (tmp_path / 'train_images.npz').unlink()
  assert grown < 150, f'grew by {grown:.0f} MB'
