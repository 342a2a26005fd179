"""The entry point as a user runs it; the comparisons are tested in tests/reference."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'utils/check_parity.py'
CASE = REPO / 'tests/golden/a22.npz'


def run(*paths: pathlib.Path) -> subprocess.CompletedProcess[str]:
  return subprocess.run([sys.executable, str(SCRIPT), *map(str, paths)], capture_output=True, text=True, timeout=180,
                        check=False, cwd='/')


def wrong_copy(tmp_path: pathlib.Path) -> pathlib.Path:
  """A copy with five entries that nobody computes."""
  with np.load(CASE) as file:
    arrays = {key: file[key] for key in file.files}
  path = tmp_path / 'wrong.npz'
  np.savez(path, **arrays, **{f'out/extra_{number}': np.zeros(2) for number in range(5)})
  return path


def test_without_files_it_tells_its_usage(capsys):
  spec = importlib.util.spec_from_file_location('check_parity', SCRIPT)
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  assert script.main([]) == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  assert 'python utils/check_parity.py ../shared/golden/*.npz' in printed.err


@pytest.mark.slow    # starts TensorFlow three times
def test_exit_status_and_lines(tmp_path):
  good = run(CASE)
  assert good.returncode == 0, good.stderr
  (line,) = good.stdout.splitlines()
  assert line.startswith('a22.npz  pass  worst ')
  assert line.endswith('  (18 entries)')

  wrong = wrong_copy(tmp_path)
  bad = run(wrong, CASE)
  assert bad.returncode == 1, bad.stderr
  lines = bad.stdout.splitlines()
  assert lines[0] == 'wrong.npz  FAIL  worst inf of 0e+00 allowed at out/extra_0  (23 entries)'
  assert lines[1:] == [*(f'    out/extra_{number}: not compared' for number in range(3)), line]    # three of the five

  missing = tmp_path / 'a99.npz'
  unreadable = run(missing, wrong, CASE)    # the others are checked all the same
  assert unreadable.returncode == 2
  assert f'error: {missing} is not there; expected a file of golden numbers' in unreadable.stderr
  assert 'Traceback' not in unreadable.stderr
  assert unreadable.stdout == bad.stdout
