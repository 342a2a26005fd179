"""What of the machine this process may use: its processor cores and its memory."""

from __future__ import annotations

import os


def available() -> int:
  """Return the number of cores that this process may use.

  Where the system tells to which cores the process is pinned (taskset, cpusets), these are counted;
  elsewhere, all cores of the machine.
  """
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def memory() -> int:
  """Return the memory of the machine in bytes; 0 where the system does not tell it."""
  if not hasattr(os, 'sysconf'):
    return 0
  return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
