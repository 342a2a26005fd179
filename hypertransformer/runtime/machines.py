"""Writes down which machine a training ran on, so that its speed can be read years later."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import re

import tensorflow.compat.v1 as tf

MACHINES_FILE = 'machines.jsonl'


def describe() -> str:
  """Describes this machine in one line: processor, cores, memory, GPUs, TensorFlow, Python."""
  usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  parts = [
    f'{_processor()}, {usable} of {os.cpu_count()} cores',
    _memory(),
    *map(_gpu, tf.config.list_physical_devices('GPU')),
    f'TensorFlow {tf.__version__}, Python {platform.python_version()}',
  ]
  return ', '.join(filter(None, parts))


def note(folder: str, step: int) -> None:
  """Adds a line to machines.jsonl of a run: from which step on this machine trains it."""
  with open(os.path.join(folder, MACHINES_FILE), 'a') as file:
    file.write(json.dumps({'from_step': step, 'machine': describe()}) + '\n')


def read(folder: str) -> list[str]:
  """The different machines that have trained the run in a folder, in order; [] if unknown.

  A line that a crash has cut off is left out.
  """
  path = pathlib.Path(folder, MACHINES_FILE)
  if not path.exists():
    return []
  found = []
  for line in path.read_text(errors='replace').splitlines():
    try:
      found.append(str(json.loads(line)['machine']))
    except (ValueError, KeyError, TypeError):
      continue
  return list(dict.fromkeys(found))


def _processor() -> str:
  """The name of the processor, as far as the system tells it."""
  try:
    match = re.search(r'^model name\s*:\s*(.+)$', pathlib.Path('/proc/cpuinfo').read_text(), re.M)
  except OSError:
    match = None
  return match[1].strip() if match else platform.processor() or platform.machine()


def _gpu(device: tf.config.PhysicalDevice) -> str:
  """The name of a GPU, as far as its driver tells it."""
  return tf.config.experimental.get_device_details(device).get('device_name', device.name)


def _memory() -> str:
  """The memory of the machine; '' where the system does not tell it."""
  try:
    size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (AttributeError, ValueError, OSError):
    return ''
  return f'{size / 2**30:.0f} GiB'
