"""utils/plot_episode.py as a command, with flags, and with those of a script."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / 'utils' / 'plot_episode.py'
pytestmark = pytest.mark.slow


def _run(*words: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    words,
    env={**os.environ, 'PYTHON': sys.executable},
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


def test_an_episode_is_drawn_with_the_flags_of_a_training(
  data_folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  output = tmp_path / 'episode.png'
  flags = [f'--data_numpy_dir={data_folder}', '--num_labels=3', '--samples_transformer=3',
           '--samples_cnn=6', '--balanced_batches', '--image_size=12']  # fmt: skip
  done = _run(
    sys.executable, str(SCRIPT), *flags, '--train_dataset=tiny:0-19', f'--output={output}'
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'wrote {output}\n'
  with Image.open(output) as image:
    assert min(image.size) > 300
  done = _run(sys.executable, str(SCRIPT), *flags, '--train_dataset=tiny:0-99', '--output=a.gif')
  assert done.returncode == 2
  assert 'error: --output=a.gif must end in .png or .svg' in done.stderr


def test_an_episode_is_drawn_with_the_flags_of_a_script(tmp_path: pathlib.Path) -> None:
  images = np.random.default_rng(0).integers(0, 256, (1623, 20, 28, 28, 1), np.uint8)
  np.save(tmp_path / 'omniglot.npy', images)
  output = tmp_path / 'episode.svg'
  done = _run(
    'bash', str(ROOT / 'scripts/with_flags_of.sh'), 'utils/plot_episode.py', 'omniglot_1shot_v1',
    f'--data_numpy_dir={tmp_path}', f'--output={output}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert '20 classes, 1 support and 3 query images' in output.read_text()
