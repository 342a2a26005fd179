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
def test_weights_are_exchanged_between_tasks() -> None:
  command = [sys.executable, str(SCRIPT), '--pairs=5', '--dataset=strokes:1200-1622']
  done = subprocess.run([*command, 'omniglot_1shot'], capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  own, other, means = (
    float(re.search(f'[:,] {name}: {NUMBER}', done.stdout)[1])
    for name in ('own weights', 'weights of the other task', 'class means')
  )
  assert own > 60  # strokes are easier than what the model was trained on
  assert abs(own - other) < 5  # its convolutions hardly depend on the task: docs/learning.md
  assert 0 < abs(own - means) < 15
