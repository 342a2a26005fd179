"""What the tests of the datasets share: a small dataset on disk.

The module example_files.py beside this one writes datasets of every layout.
"""

from __future__ import annotations

import pathlib
import sys

import pytest

# The module beside this one that holds what tests share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from example_files import save_ragged


@pytest.fixture
def ragged_folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data folder with the dataset x, a folder in this project's form, of the classes RAGGED."""
  save_ragged(tmp_path / 'x')
  return tmp_path
