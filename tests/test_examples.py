"""The scripts in examples/, which README shows, run as they are."""

from __future__ import annotations

import pathlib
import re
import runpy
import sys
from collections.abc import Callable
from typing import Any

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


@pytest.mark.parametrize('name', RUN)
def test_readme_shows_the_example(name: str) -> None:
  readme = (ROOT / 'README.md').read_text()
  if 'hypertransformer.learners' not in readme:
    pytest.skip('README says nothing of learners')
  blocks = re.findall(r'```python\n(.*?)```', readme, re.DOTALL)
  assert (EXAMPLES / name).read_text() in blocks


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
  runpy.run_path(str(EXAMPLES / name))
  lines = capsys.readouterr().out.splitlines()
  accuracies = [float(line.split(': ')[1]) for line in lines]
  assert all(0 <= accuracy <= 1 for accuracy in accuracies)
  if name == 'continual.py':
    assert [line.split(',')[0] for line in lines] == ['1 tasks', '2 tasks', '3 tasks']
    assert np.load('learned.npz')['prototypes'].shape == (3, 3, 32)
  else:
    assert len(lines) == 1
