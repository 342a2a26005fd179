"""utils/plot_weights.py as a command."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'plot_weights.py'
pytestmark = pytest.mark.slow


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


@pytest.mark.parametrize('figure', ['kernels', 'episodes', 'change'])
def test_a_figure_is_drawn(
  trained: Any, data_folder: pathlib.Path, tmp_path: pathlib.Path, figure: str
) -> None:
  output = tmp_path / 'weights.png'
  done = _run(
    str(trained.folder), f'--figure={figure}', f'--data_numpy_dir={data_folder}',
    f'--output={output}', '--episodes=4',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'wrote {output}\n'
  with Image.open(output) as image:
    assert min(image.size) > 300


def test_bad_input_ends_with_one_line_and_status_2(trained: Any, data_folder: pathlib.Path) -> None:
  folder = str(trained.folder)
  for arguments, found in (
    ([], 'no checkpoint is given'),
    ([folder, '--output=a.gif'], '--output=a.gif must end in .png or .svg'),
    ([folder, folder], '2 checkpoints are given; --figure=kernels is drawn of 1'),
    ([folder, folder, '--figure=allocation'], 'both checkpoints were trained with'),
    ([folder, '--figure=change', '--episodes=1'], 'needs --episodes=2 or more'),
    (['nowhere'], 'nowhere'),
  ):
    done = _run(*arguments, f'--data_numpy_dir={data_folder}')
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    assert found in errors[0]
