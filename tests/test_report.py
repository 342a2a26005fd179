"""The report as a command: of folders, or of one run by its flags."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest


def _run(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, '-m', 'hypertransformer.report', *arguments],
    cwd=folder,
    env=None,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_folders_need_no_flags(trained: Any, tmp_path: pathlib.Path) -> None:
  output = tmp_path / 'report.html'
  done = _run(ROOT, str(trained.folder), f'--output={output}')
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'wrote {output}\n'
  assert trained.folder.name in output.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['nowhere'], 'there is no folder nowhere'),
    (['.', '--train_log_dir=x'], 'give either folders of runs'),
    (['--output=a.html'], '--output and --format are for a report of folders'),
    (['--train_log_dir=nowhere'], 'holds no results: run python -m'),
  ],
)
def test_bad_input_ends_with_one_line_and_status_2(arguments: list[str], message: str) -> None:
  done = _run(ROOT, *arguments)
  assert done.returncode == 2
  error = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  assert len(error) == 1
  assert message in error[0]
  assert not (ROOT / 'a.html').exists()
