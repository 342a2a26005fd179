"""utils/plot_episode.py and utils/plot_weights.py as commands."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / 'examples/data/omniglot_unseen.npz'
pytestmark = pytest.mark.slow


def _run(*words: str) -> subprocess.CompletedProcess[str]:
  python = ['bash'] if words[0].endswith('.sh') else [sys.executable]
  environment = {**os.environ, 'PYTHON': sys.executable}
  return subprocess.run(
    [*python, *words], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
  )


def _check(done: subprocess.CompletedProcess[str], output: pathlib.Path) -> None:
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'wrote {output}\n'
  with Image.open(output) as image:
    assert min(image.size) > 100


def test_an_episode_is_drawn_with_the_flags_of_a_script(tmp_path: pathlib.Path) -> None:
  images = np.load(EXAMPLES)['images']
  np.save(tmp_path / 'omniglot.npy', np.concatenate([images] * 28)[:1623])
  output = tmp_path / 'episode.png'
  arguments = [f'--data_numpy_dir={tmp_path}', f'--output={output}']
  script = 'scripts/with_flags_of.sh', 'utils/plot_episode.py', 'omniglot_1shot_v1'
  _check(_run(*script, *arguments), output)
  done = _run('utils/plot_episode.py', *arguments, '--output=a.gif')
  assert done.returncode == 2
  assert 'error: --output=a.gif' in done.stderr


@pytest.mark.parametrize('figure', ['episodes', 'change'])
def test_generated_kernels_are_drawn(
  trained: Any, data_folder: pathlib.Path, tmp_path: pathlib.Path, figure: str
) -> None:
  output = tmp_path / 'weights.png'
  arguments = [f'--data_numpy_dir={data_folder}', f'--output={output}', '--episodes=4']
  _check(
    _run('utils/plot_weights.py', str(trained.folder), f'--figure={figure}', *arguments), output
  )


def test_the_overview_is_drawn_of_images_in_a_file(tmp_path: pathlib.Path) -> None:
  output = tmp_path / 'overview.png'
  words = 'utils/plot_weights.py', 'omniglot_1shot', '--figure=overview', f'--images={EXAMPLES}'
  _check(_run(*words, f'--output={output}'), output)


def test_bad_input_ends_with_one_line_and_status_2(trained: Any, data_folder: pathlib.Path) -> None:
  folder = str(trained.folder)
  for arguments, found in (
    ([], 'no checkpoint'),
    ([folder, '--output=a.gif'], '--output=a.gif'),
    ([folder, folder, '--figure=allocation'], '--lw_weight_allocation'),
    ([folder, '--figure=change', '--episodes=1'], '--episodes'),
  ):
    done = _run('utils/plot_weights.py', *arguments, f'--data_numpy_dir={data_folder}')
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert found in error
