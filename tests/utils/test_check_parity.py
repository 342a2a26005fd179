"""utils/check_parity.py as a command; the comparisons are tested in tests/parity."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hypertransformer.errors import InputError
from tests.parity.tolerances import Comparison

REPO = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'utils/check_parity.py'
CASE = REPO / 'tests/golden/a22.npz'


def run(*paths: pathlib.Path) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *map(str, paths)],
    capture_output=True,
    text=True,
    timeout=180,
    check=False,
    cwd='/',
  )


def wrong_copy(tmp_path: pathlib.Path) -> pathlib.Path:
  """Makes a copy of the case with five entries that the project does not compute."""
  with np.load(CASE) as file:
    arrays = {key: file[key] for key in file.files}
  path = tmp_path / 'wrong.npz'
  np.savez(path, **arrays, **{f'out/extra_{number}': np.zeros(2) for number in range(5)})
  return path


@pytest.fixture
def script():
  """The script as a module."""
  spec = importlib.util.spec_from_file_location('check_parity', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize(
  ('errors', 'status', 'lines'),
  [
    (
      [ZeroDivisionError('x / 0'), None],
      1,
      ['a  FAIL  cannot be compared: ZeroDivisionError: x / 0'],
    ),
    (
      [InputError('no file'), ZeroDivisionError('x / 0')],
      2,
      ['a  FAIL  no file', 'b  FAIL  cannot be compared: ZeroDivisionError: x / 0'],
    ),
  ],
)
def test_what_is_wrong_with_one_file_does_not_stop_the_others(
  script, monkeypatch, capsys, errors, status, lines
):
  def check(path, xla):
    error = errors['ab'.index(path)]
    if error is not None:
      raise error
    return [Comparison('x', 0.0, 1.0)]

  monkeypatch.setattr(script.checks, 'check', check)
  assert script.main(['a', 'b']) == status
  assert [line for line in capsys.readouterr().out.splitlines() if '  pass  ' not in line] == lines


def test_without_files_the_usage_is_printed(script, capsys):
  assert script.main([]) == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  assert 'python utils/check_parity.py [--xla] ../shared/golden/a*.npz' in printed.err


@pytest.mark.slow  # starts TensorFlow three times
def test_the_exit_status_and_the_lines_tell_what_failed(tmp_path):
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
  assert lines[1:] == [
    *(f'    out/extra_{number}: not compared' for number in range(3)),
    line,
  ]  # three of the five

  missing = tmp_path / 'a99.npz'
  unreadable = run(missing, wrong, CASE)  # the others are checked all the same
  assert unreadable.returncode == 2
  assert 'Traceback' not in unreadable.stderr
  first, *others = unreadable.stdout.splitlines()
  assert first.startswith(f'a99.npz  FAIL  {missing} cannot be read')
  assert others == lines
