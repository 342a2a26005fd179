"""How many cores a process may use."""

from __future__ import annotations

import os
import pathlib
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


@pytest.mark.parametrize(
  ('group', 'limits', 'expected'),
  [
    ('0::/', {'cpu.max': '150000 100000'}, 2),
    ('0::/', {'cpu.max': '10000 100000'}, 1),
    ('0::/', {'cpu.max': 'max 100000'}, 6),
    ('0::/', {'cpu.max': 'damaged'}, 6),
    ('0::/', {}, 6),
    ('0::/of/mine', {'of/cpu.max': '200000 100000', 'of/mine/cpu.max': 'max 100000'}, 2),
    ('0::/not/mounted/here', {'cpu.max': '300000 100000'}, 3),
    (
      '5:cpu,cpuacct:/of',
      {'cpu/of/cpu.cfs_quota_us': '200000', 'cpu/of/cpu.cfs_period_us': '100000'},
      2,
    ),
    ('5:cpu:/', {'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000'}, 6),
    ('5:cpuset:/\n0::/', {'cpu.max': '400000 100000'}, 4),
  ],
)
def test_the_quota_of_a_container_is_its_number_of_cores(
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  group: str,
  limits: dict[str, str],
  expected: int,
) -> None:
  (tmp_path / 'own').write_text(f'{group}\n')
  for name, limit in limits.items():
    (tmp_path / 'groups' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'groups' / name).write_text(f'{limit}\n')
  monkeypatch.setattr(cores, '_OWN_CGROUPS', tmp_path / 'own')
  monkeypatch.setattr(cores, '_CGROUPS', tmp_path / 'groups')
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(6)))
  assert cores.available() == expected


def test_all_cores_are_counted_where_the_system_does_not_tell(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  monkeypatch.setattr(os, 'cpu_count', lambda: 6)
  assert cores.available() == 6
