"""What an evaluation finds, and where it is written."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Z95 = 1.959964  # of the normal distribution: 95 % lie within +- this many standard deviations


def mean_and_ci95(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """Mean and half-width of its 95 % confidence interval over independent values; NaN half-width of a single one."""
  array = np.asarray(values, np.float64)
  if len(array) < 2:
    return float(array.mean()), math.nan
  return float(array.mean()), float(Z95 * array.std(ddof=1) / math.sqrt(len(array)))


@dataclasses.dataclass(frozen=True)
class Result:
  """One line of results.jsonl: one checkpoint on one preset.

  Accuracies in 0..1; ci95: half-width over tasks; _disjoint: over the query images that are not in the task's support
  set (None if there are none); num_queries: query images of a task; seconds: wall time.
  """
  checkpoint: str
  step: int
  preset: str
  dataset: str
  accuracy: float
  ci95: float
  num_tasks: int
  num_queries: int
  accuracy_disjoint: float | None
  ci95_disjoint: float | None
  seconds: float

  def json(self) -> str:
    """One line of JSON; not-a-number (the interval of a single task) becomes null."""
    fields = {key: None if isinstance(value, float) and math.isnan(value) else value
              for key, value in dataclasses.asdict(self).items()}
    return json.dumps(fields)

  def __str__(self) -> str:
    text = f'{self.preset}: {100 * self.accuracy:.2f} +- {100 * self.ci95:.2f} %'
    if self.accuracy_disjoint is not None and self.ci95_disjoint is not None:
      text += f' ({100 * self.accuracy_disjoint:.2f} +- {100 * self.ci95_disjoint:.2f} % without support images)'
    return f'{text}, {self.num_tasks} tasks x {self.num_queries} queries'


class ResultFile:
  """results.jsonl: one line per checkpoint and preset, appended."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def append(self, result: Result) -> None:
    """Adds a line and sees it to the disk. A line that a crash cut off before is ended first."""
    with self.path.open('a+') as file:
      file.seek(0)
      before = file.read()
      file.write(('\n' if before and not before.endswith('\n') else '') + result.json() + '\n')
      file.flush()
      os.fsync(file.fileno())

  def read(self) -> list[dict[str, Any]]:
    """All lines; a line cut off by a crash is left out."""
    if not self.path.exists():
      return []
    lines = []
    for line in self.path.read_text().splitlines():
      try:
        lines.append(json.loads(line))
      except ValueError:
        continue
    return lines

  def has(self, checkpoint: str, preset: str, dataset: str, num_tasks: int, num_queries: int) -> bool:
    """Whether there is a line for this, of these sizes."""
    wanted = {'preset': preset, 'dataset': dataset, 'num_tasks': num_tasks, 'num_queries': num_queries}
    return any(all(line.get(key) == value for key, value in wanted.items())
               and os.path.abspath(line.get('checkpoint', '')) == os.path.abspath(checkpoint) for line in self.read())
