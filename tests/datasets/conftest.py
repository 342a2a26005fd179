"""What the tests of the datasets share: the warnings that are logged, and a small dataset on disk.

The module example_files.py beside this one writes datasets of every layout.
"""

from __future__ import annotations

import pathlib
import sys

import pytest
from absl import logging

# The module beside this one that holds what tests share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from example_files import save_ragged


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The texts of the warnings that are logged during the test."""
  said: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *args: said.append(text % args))
  return said


@pytest.fixture
def ragged_folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data folder with the dataset x, a folder in this project's form, of the classes RAGGED."""
  save_ragged(tmp_path / 'x')
  return tmp_path
