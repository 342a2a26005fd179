"""The processor cores this process may use."""

from __future__ import annotations

import os


def available() -> int:
  """How many: those the process is pinned to (taskset, cpusets), where the system tells."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
