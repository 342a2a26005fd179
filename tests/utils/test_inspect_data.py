"""utils/inspect_data.py as a command."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from PIL import Image

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'inspect_data.py'


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


def test_the_report_is_printed_and_the_contact_sheet_written(
  data_folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  sheet = tmp_path / 'sheet.png'
  done = _run('tiny', f'--data_numpy_dir={data_folder}', f'--contact_sheet={sheet}', '--seed=4')
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[2] == 'classes:    30, 240 images'
  assert lines[-2] == 'duplicates: none'
  assert lines[-1].startswith(f'wrote {sheet}: classes ')
  with Image.open(sheet) as image:
    assert image.format == 'PNG'
  again = _run('tiny', f'--data_numpy_dir={data_folder}', f'--contact_sheet={sheet}')
  assert again.returncode == 2
  assert 'exists already' in again.stderr
  assert again.stdout == ''


def test_nothing_is_written_unasked(data_folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
  done = subprocess.run(
    [
      sys.executable,
      str(SCRIPT),
      'tiny',
      f'--data_numpy_dir={data_folder}',
      '--splits=a=tiny:0-9,b=tiny:10-29',
    ],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=True,
  )
  assert 'a=tiny:0-9: 10 classes of at least 8 images' in done.stdout
  assert os.listdir(tmp_path) == []


def test_bad_input_ends_with_one_line_and_status_2(data_folder: pathlib.Path) -> None:
  for arguments, found in (
    (['omniglot'], "dataset 'omniglot'"),
    ([], '0 names'),
    (['tiny', 'tiny'], '2 names'),
    (['tiny', '--splits=x'], "'x'"),
  ):
    done = _run(*arguments, f'--data_numpy_dir={data_folder}')
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert found in done.stderr
    assert len(done.stderr.splitlines()) == 1
