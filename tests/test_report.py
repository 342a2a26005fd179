"""The report as a command."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from hypertransformer import report
from hypertransformer.errors import InputError


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
  words = [sys.executable, '-m', 'hypertransformer.report', *arguments]
  # As from a notebook; matplotlib does not even start with a back end that it does not know.
  environment = os.environ | {'MPLBACKEND': 'of_a_notebook'}
  return subprocess.run(
    words, capture_output=True, text=True, check=False, timeout=300, env=environment
  )


@pytest.mark.slow
def test_the_report_is_printed_or_written(trained: Any, tmp_path: pathlib.Path) -> None:
  done = _run(str(trained.folder))
  assert done.returncode == 0, done.stderr
  assert trained.folder.name in done.stdout
  output = tmp_path / 'report.html'
  done = _run(str(trained.folder), f'--output={output}')
  assert done.stdout == f'wrote {output}\n'
  assert trained.folder.name in output.read_text()


@pytest.mark.slow
@pytest.mark.parametrize('arguments', [['nowhere'], []])
def test_bad_input_ends_with_one_line_and_status_2(arguments: list[str]) -> None:
  done = _run(*arguments)
  assert done.returncode == 2
  assert len([line for line in done.stderr.splitlines() if line.startswith('error: ')]) == 1


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(report, 'LIBRARIES', ('no_such_library',))
  with pytest.raises(InputError, match=r'no_such_library.*\[report\]'):
    report.main(['logs'], None)
