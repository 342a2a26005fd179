"""The results of an evaluation, and the file that they are written to."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

from hypertransformer.evaluation.estimates import percent


def forgetting_text(continual: dict[str, Any]) -> str:
  """Forgetting and backward transfer as a text for a person.

  Args:
    continual: what `Result.continual` holds.

  Returns:
    'forgetting ..., backward transfer ...', or '' where neither is defined.
  """
  if continual['forgetting'] is None:
    return ''
  forgetting = percent(continual['forgetting'], continual['forgetting_ci95'])
  transfer = percent(continual['backward_transfer'], continual['backward_transfer_ci95'])
  return f'forgetting {forgetting}, backward transfer {transfer}'


class SequenceKind(NamedTuple):
  """Which kind of sequences was evaluated; only results of the same kind can be compared.

  The names of the fields are those in results.jsonl, and those of columns in continual.csv.

  Attributes:
    scenario: the continual scenario, such as 'class_incremental'.
    mixed_queries: whether a query batch has images of all tasks so far.
    num_tasks: how many tasks a sequence has.
  """

  scenario: str
  mixed_queries: bool
  num_tasks: int

  @classmethod
  def of(cls, continual: dict[str, Any]) -> SequenceKind:
    """The kind of the sequences that a result is about; continual: its `Result.continual`."""
    # Lines of older versions have no such key: batches were never mixed.
    mixed_queries = continual.get('mixed_queries', False)
    return cls(continual['scenario'], mixed_queries, continual['num_tasks'])


def kind(continual: dict[str, Any] | None) -> SequenceKind | None:
  """The kind of the sequences that a result is about, None if it is about independent tasks.

  Args:
    continual: what `Result.continual` holds.
  """
  return SequenceKind.of(continual) if continual else None


@dataclasses.dataclass(frozen=True)
class Result:
  """The result of one checkpoint on one preset, which is one line of results.jsonl.

  It is about independent tasks, or about sequences of tasks. Accuracies are in 0..1.

  Attributes:
    checkpoint: the path of the checkpoint, without ending.
    step: how many updates the checkpoint has seen.
    preset: the name of the preset.
    dataset: the spec of the preset's classes.
    accuracy: the mean accuracy over tasks. Of sequences: the mean over sequences of the average
      accuracy after the last task.
    ci95: the half-width of its 95 % confidence interval.
    num_tasks: how many tasks were evaluated. Of sequences: how many sequences.
    num_queries: how many query images a task has.
    accuracy_disjoint: the accuracy over the query images that are not support images; None if
      there are none.
    ci95_disjoint: the half-width of its 95 % confidence interval.
    seconds: how long the evaluation took, by the clock on the wall.
    continual: of sequences only: the content of sequence_metrics.ContinualMetrics.json, and
      scenario, method, mixed_queries and num_tasks (here the number of tasks of a sequence).
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
    """The result as one line of JSON. NaN (the interval of a single task) becomes null."""
    fields = dataclasses.asdict(self)
    if self.continual is None:
      del fields['continual']
    return json.dumps(_null_for_nan(fields))

  def __str__(self) -> str:
    text = f'{self.preset}: {percent(self.accuracy, self.ci95, digits=2)}'
    if self.continual is not None:
      parts = [
        f'{text} after {self.continual["num_tasks"]} tasks',
        forgetting_text(self.continual),
        f'{self.num_tasks} sequences x {self.num_queries} queries of a task',
      ]
      return ', '.join(filter(None, parts))
    if self.accuracy_disjoint is not None:
      text += (
        f' ({percent(self.accuracy_disjoint, self.ci95_disjoint, digits=2)} without support images)'
      )
    return f'{text}, {self.num_tasks} tasks x {self.num_queries} queries'


def _null_for_nan(value: Any) -> Any:
  """A copy of a JSON value in which every NaN is None."""
  if isinstance(value, dict):
    return {key: _null_for_nan(each) for key, each in value.items()}
  if isinstance(value, list):
    return [_null_for_nan(each) for each in value]
  return None if isinstance(value, float) and math.isnan(value) else value


class ResultFile:
  """The file results.jsonl: one line per checkpoint and preset, the newest last."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def append(self, result: Result) -> None:
    """Adds a line, and waits until it is on the disk.

    If a crash has cut off the last line in the file, that line is ended first.
    """
    with self.path.open('a+') as file:
      file.seek(0)
      before = file.read()
      file.write(('\n' if before and not before.endswith('\n') else '') + result.json() + '\n')
      file.flush()
      os.fsync(file.fileno())

  def read(self) -> list[dict[str, Any]]:
    """All lines, as dicts. A line that a crash has cut off is left out."""
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
    of_kind: SequenceKind | None = None,
  ) -> bool:
    """Whether there is a result for this checkpoint and preset, of an equal evaluation.

    Args:
      checkpoint: the path of the checkpoint; it may be relative.
      preset: the name of the preset.
      dataset: the spec of its classes.
      num_tasks: how many tasks, or sequences of tasks, were evaluated.
      num_queries: how many query images a task has.
      of_kind: the kind of the sequences; None for independent tasks.
    """
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
