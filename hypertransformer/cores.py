"""How many processor cores this process may use."""

from __future__ import annotations

import os


def available() -> int:
  """Returns the number of cores that this process may use.

  Where the system tells to which cores the process is pinned (taskset, cpusets), these are counted;
  elsewhere, all cores of the machine.
  """
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
