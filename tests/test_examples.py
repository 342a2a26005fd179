"""The scripts in examples/, which docs/ show, run as they are, and so do the lines in README."""

from __future__ import annotations

import pathlib
import re
import runpy
import sys
from collections.abc import Callable
from typing import Any

import nbclient
import nbformat
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / 'examples'
RUN = {
  'few_shot.py': {},
  'continual.py': {'continual_scenario': 'class_incremental', 'num_tasks': 2},
}


def test_each_is_run_here() -> None:
  assert {path.name for path in EXAMPLES.glob('*.py')} == set(RUN)


def test_the_lines_in_readme_print_what_it_says(
  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
  readme = (ROOT / 'README.md').read_text()
  code, output = re.findall(r'```(?:python|text)\n(.*?)```', readme, re.DOTALL)[:2]
  monkeypatch.chdir(ROOT)
  exec(compile(code, 'README.md', 'exec'), {})
  assert capsys.readouterr().out == output


def test_the_example_runs_with_the_model_and_the_drawings_that_come_with_it(
  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
  monkeypatch.setattr(sys, 'argv', ['few_shot.py'])
  runpy.run_path(str(EXAMPLES / 'few_shot.py'), run_name='__main__')
  printed = capsys.readouterr().out
  assert printed.startswith('20-way 1-shot, 10 tasks, accuracy: ')
  assert float(printed.split(': ')[1]) > 0.6


@pytest.mark.slow  # starts a kernel
def test_the_notebook_runs_and_has_these_outputs() -> None:
  notebook = nbformat.read(EXAMPLES / 'few_shot.ipynb', 4)
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  before = [output.data['text/plain'] for cell in cells for output in cell.outputs]
  path = {'metadata': {'path': str(EXAMPLES)}}
  nbclient.NotebookClient(notebook, resources=path, timeout=600).execute()
  results = (output for cell in cells for output in cell.outputs)
  after = [each.data['text/plain'] for each in results if each.output_type == 'execute_result']
  assert len(after) == len(before) == 5
  assert after[:3] == before[:3]


@pytest.mark.parametrize('name', RUN)
def test_docs_show_the_example(name: str) -> None:
  """The site puts the file in the place of this line."""
  assert f'--8<-- "examples/{name}"' in (ROOT / 'docs/learners.md').read_text()


@pytest.mark.parametrize('name', RUN)
def test_an_example_runs(
  name: str,
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  data_folder: pathlib.Path,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  capsys: pytest.CaptureFixture[str],
) -> None:
  run_training(make_values(train_log_dir=str(tmp_path / 'logs'), **RUN[name]))
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(
    sys, 'argv', [name, str(tmp_path / 'logs' / 'model-3'), str(data_folder / 'tiny.npy')]
  )
  capsys.readouterr()
  runpy.run_path(str(EXAMPLES / name), run_name='__main__')
  lines = capsys.readouterr().out.splitlines()
  accuracies = [float(line.split(': ')[1]) for line in lines]
  assert all(0 <= accuracy <= 1 for accuracy in accuracies)
  if name == 'continual.py':
    assert [line.split(',')[0] for line in lines] == ['1 tasks', '2 tasks', '3 tasks']
    assert np.load('learned.npz')['prototypes'].shape == (3, 3, 32)
  else:
    assert len(lines) == 1
