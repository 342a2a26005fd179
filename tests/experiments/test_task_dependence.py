"""What experiments/task_dependence.py measures of generated weights."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'experiments/task_dependence.py'
NUMBER = r'(-?\d+\.\d) ± \d+\.\d'


@pytest.mark.slow
def test_weights_are_exchanged_between_tasks(tmp_path: pathlib.Path) -> None:
  def run(*words: str) -> str:
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

  run('-m', 'hypertransformer', 'convert', 'strokes', '--classes=40', '--samples=20')
  line = run(str(SCRIPT), '--pairs=5', '--dataset=strokes:0-39', 'omniglot_1shot')
  own, other, means = (
    float(re.search(f'[:,] {name}: {NUMBER}', line)[1])
    for name in ('own weights', 'weights of the other task', 'class means')
  )
  assert own > 60  # strokes are easier than what the model was trained on
  assert abs(own - other) < 5  # its convolutions hardly depend on the task: docs/learning.md
  assert 0 < abs(own - means) < 15
