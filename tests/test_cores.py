"""How many cores a process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hypertransformer import cores


@pytest.mark.skipif(
  not hasattr(os, 'sched_setaffinity'), reason='this system does not pin processes'
)
def test_the_cores_to_which_the_process_is_pinned_are_counted() -> None:
  code = (
    'import os; from hypertransformer import cores; '
    'os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(cores.available())'
  )
  assert (
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout
    == '1\n'
  )


def test_all_cores_are_counted_where_the_system_does_not_tell(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  monkeypatch.setattr(os, 'cpu_count', lambda: 6)
  assert cores.available() == 6
