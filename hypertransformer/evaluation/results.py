"""What an evaluation finds, and where it is written."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from typing import Any

from hypertransformer.evaluation.estimates import percent


def forgetting_text(continual: dict[str, Any]) -> str:
  """'forgetting ..., backward transfer ...' of a Result's `continual`; '' where there is one task
  only.
  """
  if continual['forgetting'] is None:
    return ''
  return (
    f'forgetting {percent(continual["forgetting"], continual["forgetting_ci95"])}, backward transfer '
    f'{percent(continual["backward_transfer"], continual["backward_transfer_ci95"])}'
  )


def kind(continual: dict[str, Any] | None) -> tuple[Any, ...]:
  """Which kind of evaluation a Result with this `continual` is of: of sequences of tasks (scenario,
  whether batches of queries are mixed, length); () of single tasks.
  """
  if not continual:
    return ()
  return continual['scenario'], continual.get('mixed_queries', False), continual['num_tasks']


@dataclasses.dataclass(frozen=True)
class Result:
  """One line of results.jsonl: one checkpoint on one preset.

  Accuracies in 0..1; ci95: half-width over tasks; _disjoint: over the query images that are not in
  the task's support set (None if there are none); num_queries: query images of a task; seconds:
  wall time. Of sequences of tasks: accuracy is the average after the last task, num_tasks is the
  number of sequences, continual: what continual_metrics.ContinualMetrics.json gives, and scenario,
  method, mixed_queries, num_tasks (of a sequence).
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
  continual: dict[str, Any] | None = None

  def json(self) -> str:
    """One line of JSON; not-a-number (the interval of a single task) becomes null."""
    fields = dataclasses.asdict(self)
    if self.continual is None:
      del fields['continual']
    return json.dumps(_null_for_nan(fields))

  def __str__(self) -> str:
    text = f'{self.preset}: {percent(self.accuracy, self.ci95, digits=2)}'
    if self.continual is not None:
      text += (
        f' after {self.continual["num_tasks"]} tasks, {forgetting_text(self.continual)}'.rstrip(
          ', '
        )
      )
      return f'{text}, {self.num_tasks} sequences x {self.num_queries} queries of a task'
    if self.accuracy_disjoint is not None:
      text += (
        f' ({percent(self.accuracy_disjoint, self.ci95_disjoint, digits=2)} without support images)'
      )
    return f'{text}, {self.num_tasks} tasks x {self.num_queries} queries'


def _null_for_nan(value: Any) -> Any:
  """The same with None for every NaN in it."""
  if isinstance(value, dict):
    return {key: _null_for_nan(each) for key, each in value.items()}
  if isinstance(value, list):
    return [_null_for_nan(each) for each in value]
  return None if isinstance(value, float) and math.isnan(value) else value


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

  def has(
    self,
    checkpoint: str,
    preset: str,
    dataset: str,
    num_tasks: int,
    num_queries: int,
    of_kind: tuple[Any, ...] = (),
  ) -> bool:
    """Whether there is a line for this, of these sizes and this kind."""
    wanted = {
      'preset': preset,
      'dataset': dataset,
      'num_tasks': num_tasks,
      'num_queries': num_queries,
    }
    return any(
      all(line.get(key) == value for key, value in wanted.items())
      and kind(line.get('continual')) == of_kind
      and os.path.abspath(line.get('checkpoint', '')) == os.path.abspath(checkpoint)
      for line in self.read()
    )
