"""What the tests of data share: a small dataset, and limits to what hostile pickles may do.

The modules example_files.py and hostile_payloads.py beside this one write datasets and pickles.
"""

from __future__ import annotations

import pathlib
import re
import resource
import sys
from collections.abc import Iterator

import pytest

# The module beside this one that holds what tests share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from example_files import save_ragged
from hostile_payloads import MARK


@pytest.fixture
def nothing_is_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
  """Lets a test work in a folder of its own, and fails if a payload was run there."""
  monkeypatch.chdir(tmp_path)
  yield
  assert not (tmp_path / MARK).exists()
  assert not (tmp_path / f'{MARK}.npy').exists()


@pytest.fixture
def little_memory() -> Iterator[None]:
  """Fails if the process has grown by more than 150 MB during the test."""
  try:
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
  except OSError:
    yield
    return
  before = _status('VmHWM')
  limits = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (_status('VmSize') + (4 << 30), limits[1]))
  yield
  resource.setrlimit(resource.RLIMIT_AS, limits)
  assert _status('VmHWM') - before < 150 << 20


def _status(key: str) -> int:
  """Returns an entry of this process's status in bytes: VmHWM is the peak of its memory."""
  found = re.search(
    rf'^{key}:\s*(\d+) kB', pathlib.Path('/proc/self/status').read_text(), re.MULTILINE
  )
  assert found
  return int(found.group(1)) << 10


@pytest.fixture
def ragged_folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data folder with the dataset x, a folder in this project's form, of the classes RAGGED."""
  save_ragged(tmp_path / 'x')
  return tmp_path
