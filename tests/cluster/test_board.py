"""What the tasks of a cluster tell each other, with real servers."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.cluster.starting_together import TIMES

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_parameter_servers_that_start_together_answer_each_other_when_the_board_is_there() -> None:
  """Without waiting for that, about every second start ends with "Connection refused"."""
  done = subprocess.run(
    [sys.executable, '-m', 'tests.cluster.starting_together'],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '3'},
    capture_output=True,
    text=True,
    check=True,
    timeout=300,
  )
  assert done.stdout.splitlines() == ['answer 6'] * TIMES
