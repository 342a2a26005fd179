"""Reads what experiments/campaign.py keeps of a run in place of event files.

curve.csv has the mean accuracies of windows of steps, run.json or campaign.json the CPU time.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.reports.events import Curve, Recorded

CURVES = 'curve.csv'
_STEPS = 'steps up to'  # the first column; the others are names of accuracies, in %


def fill_in(folder: pathlib.Path, recorded: Recorded) -> Recorded:
  """Adds what the text files in a folder know and the event files do not.

  Raises:
    InputError: one of the text files is damaged.
  """
  accuracies = recorded.accuracies or _curves(folder / CURVES)
  steps = [int(curve.steps[-1]) for curve in accuracies.values()]
  return dataclasses.replace(
    recorded,
    accuracies=accuracies,
    last_step=max([recorded.last_step, *steps]),
    cpu_hours=_cpu_hours(folder) if recorded.cpu_hours is None else recorded.cpu_hours,
  )


def _curves(path: pathlib.Path) -> dict[str, Curve]:
  """The curves in a table, in 0..1, by the names of their columns; {} if there is no such file."""
  if not path.exists():
    return {}
  try:
    with path.open(newline='') as file:
      head, *rows = csv.reader(file)
    table = np.array(rows, np.float64)
    if not rows or head[0] != _STEPS:
      raise ValueError(f'no column {_STEPS!r}')
    columns = {name: table[:, number] for number, name in enumerate(head)}
  except (OSError, ValueError, IndexError) as error:
    raise InputError(f'{path} cannot be read as a table of curves ({error}).') from error
  steps = columns.pop(_STEPS).astype(int)
  return {name: Curve(steps, values / 100) for name, values in columns.items()}


def _cpu_hours(folder: pathlib.Path) -> float | None:
  """CPU hours of training and evaluation together; None if they were not kept."""
  kept = _json(folder / 'run.json').get('cpu_hours')
  if kept is not None:
    return float(kept)
  seconds = _json(folder / 'campaign.json').get('cpu_seconds')
  return None if seconds is None else float(seconds) / 3600


def _json(path: pathlib.Path) -> dict[str, Any]:
  """The object in a JSON file; {} if there is no such file."""
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise InputError(f'{path} cannot be read as JSON ({error}).') from error
  return found if isinstance(found, dict) else {}
