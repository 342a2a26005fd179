"""What of the machine this process may use: its processor cores and its memory."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib

_CGROUPS = pathlib.Path('/sys/fs/cgroup')
_OWN_CGROUPS = pathlib.Path('/proc/self/cgroup')


def available() -> int:
  """Return the number of cores that this process may use.

  Where the system tells to which cores the process is pinned (taskset, cpusets), these are counted;
  elsewhere, all cores of the machine. The quota of a container counts as its number of cores.
  """
  pinned = hasattr(os, 'sched_getaffinity')
  cores = len(os.sched_getaffinity(0)) if pinned else os.cpu_count() or 1
  return math.ceil(min(cores, _quota()))


def _quota() -> float:
  """Return the CPU time that the control groups of this process may use per time; inf if any.

  The limits are in `cpu.max` (version 2: 'QUOTA PERIOD' or 'max PERIOD'), or in two files (version
  1, where no limit is -1), of the group and of those above it. In a container the group can be
  outside of what is mounted; then the topmost directory is the container's.
  """
  found = [math.inf]
  with contextlib.suppress(OSError, ValueError):
    for line in _OWN_CGROUPS.read_text().splitlines():
      _, kinds, path = line.split(':', 2)
      mounted = _CGROUPS / 'cpu' if kinds else _CGROUPS
      if kinds and 'cpu' not in kinds.split(','):
        continue
      own = mounted / path.lstrip('/')
      for folder in (own, *own.parents[: len(own.parts) - len(mounted.parts)]):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
          names = ('cpu.cfs_quota_us', 'cpu.cfs_period_us') if kinds else ('cpu.max',)
          quota, period = ' '.join((folder / name).read_text() for name in names).split()
          found.append(float(quota) / float(period))
  return min(each for each in found if each > 0)


def memory() -> int:
  """Return the memory of the machine in bytes; 0 where the system does not tell it."""
  if not hasattr(os, 'sysconf'):
    return 0
  return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
