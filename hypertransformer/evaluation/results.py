"""The results of an evaluation, and the file that they are written to.

TensorFlow is not imported here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any, TypeGuard

from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.evaluation import measured
from hypertransformer.evaluation.estimates import percent
from hypertransformer.evaluation.measured import Measured

Line = dict[str, Any]  # a line of results.jsonl; see Result.json


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


@dataclasses.dataclass(frozen=True)
class Result:
  """The result of one checkpoint on one preset, which is one line of results.jsonl.

  It is about independent tasks, or about sequences of tasks. Accuracies are in 0..1.

  Attributes:
    checkpoint: the name of the checkpoint, such as 'model-20000'; of one that is not in the folder
      of the run, its whole path without ending.
    checkpoint_sha256: the SHA-256 of its .index file, which holds checksums of all its numbers.
    step: how many updates the checkpoint has seen.
    preset: the name of the preset.
    measured: what it was measured on.
    accuracy: the mean accuracy over tasks. Of sequences: the mean over sequences of the average
      accuracy after the last task.
    ci95: the half-width of its 95 % confidence interval.
    num_tasks: how many tasks were evaluated. Of sequences: how many sequences.
    accuracy_disjoint: the accuracy over the query images that are not support images; None if
      there are none.
    ci95_disjoint: the half-width of its 95 % confidence interval.
    seconds: how long the evaluation took, by the clock on the wall.
    continual: of sequences only: the content of sequence_metrics.ContinualMetrics.json, and
      scenario, method, mixed_queries and num_tasks (here the number of tasks of a sequence).
  """

  checkpoint: str
  checkpoint_sha256: str
  step: int
  preset: str
  measured: Measured
  accuracy: float
  ci95: float
  num_tasks: int
  accuracy_disjoint: float | None
  ci95_disjoint: float | None
  seconds: float
  continual: dict[str, Any] | None = None

  @property
  def num_queries(self) -> int:
    """How many query images a task has."""
    return self.measured.query_images

  def line(self) -> Line:
    """The result as it is read from results.jsonl. NaN (the interval of a single task) is None."""
    fields = {
      'checkpoint': self.checkpoint,
      'step': self.step,
      'preset': self.preset,
      'dataset': self.measured.dataset,
      'accuracy': self.accuracy,
      'ci95': self.ci95,
      'num_tasks': self.num_tasks,
      'num_queries': self.num_queries,
      'accuracy_disjoint': self.accuracy_disjoint,
      'ci95_disjoint': self.ci95_disjoint,
      'seconds': self.seconds,
      'checkpoint_sha256': self.checkpoint_sha256,
      'measured': self.measured.json(),
    }
    if self.continual is not None:
      fields['continual'] = self.continual
    return _null_for_nan(fields)

  def json(self) -> str:
    """The result as one line of JSON."""
    return json.dumps(self.line())

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
  """The file results.jsonl: one line per checkpoint and preset, the newest last.

  Attributes:
    path: the path of the file.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path
    self._told = 0  # how many lines that are no results a warning has spoken of

  def append(self, results: Iterable[Result]) -> None:
    """Adds a line for each result, and waits until they are on the disk: all of them, or none.

    If a crash has cut off the last line in the file, that line is ended first. The folder of the
    file is made if it is missing.

    Raises:
      OSError: the file cannot be written; it is left as it was.
    """
    self.path.parent.mkdir(parents=True, exist_ok=True)
    with self.path.open('ab+', buffering=0) as file:
      size = file.seek(0, os.SEEK_END)
      added = b''.join(f'{result.json()}\n'.encode() for result in results)
      if size:
        file.seek(size - 1)
        if file.read(1) != b'\n':
          added = b'\n' + added
      try:
        while added:
          added = added[file.write(added) :]
        os.fsync(file.fileno())
      except BaseException:
        file.truncate(size)
        raise

  def require_writable(self) -> None:
    """Raises InputError if no line could be added."""
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      with self.path.open('ab'):
        pass
    except OSError as error:
      raise InputError(
        f'{self.path} cannot be written: {error.strerror}; make the folder writable for you, or '
        'copy the run and give the copy as --train_log_dir.'
      ) from error

  def read(self) -> list[Line]:
    """All results, as dicts.

    Lines that are no results are left out, such as one that a crash has cut off; a warning counts
    them.

    Raises:
      InputError: the file is there and cannot be read.
    """
    try:
      content = self.path.read_bytes()
    except FileNotFoundError:
      return []
    except OSError as error:
      raise InputError(
        f'{self.path} cannot be read: {error.strerror}; expected the file of results.'
      ) from error
    lines = [_parsed(text) for text in content.split(b'\n') if text.strip()]
    results = [line for line in lines if _is_result(line)]
    strange = len(lines) - len(results)
    if strange > self._told:
      logging.warning('%s: %d lines are no results and are passed over.', self.path, strange)
    self._told = strange
    return results


def _parsed(text: bytes) -> Any:
  """The value of a line of JSON; None if it is not JSON."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None


def _is_result(line: Any) -> TypeGuard[Line]:
  """Whether a line has what every result has, in the types that it has there."""
  try:
    measured.of_line(line)
    return (
      all(isinstance(line[name], str) for name in ('checkpoint', 'preset'))
      and all(_is_count(line[name]) for name in ('step', 'num_tasks', 'num_queries'))
      and _is_number(line['accuracy'])
      and all(
        line[name] is None or _is_number(line[name])
        for name in ('ci95', 'accuracy_disjoint', 'ci95_disjoint')
      )
      and ('continual' not in line or _is_continual(line['continual']))
    )
  except (KeyError, TypeError, ValueError, AttributeError):
    return False


def _is_count(value: Any) -> bool:
  return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and math.isfinite(value)


def _is_continual(continual: Any) -> bool:
  """Whether this is `Result.continual`; raises KeyError or TypeError if much is missing."""
  rows = [
    continual['average_accuracy'],
    continual['average_accuracy_ci95'],
    *continual['matrix'],
    *continual['matrix_ci95'],
    *([continual[name], continual[f'{name}_ci95']] for name in ('forgetting', 'backward_transfer')),
  ]
  length = _is_count(continual['num_tasks']) and continual['num_tasks']
  return (
    isinstance(continual['method'], str)
    and all(len(continual[name]) == length for name in ('matrix', 'matrix_ci95'))
    and all(len(row) == length for row in rows[:2])
    and [len(row) for row in continual['matrix']] == [len(row) for row in continual['matrix_ci95']]
    and all(_is_number(mean) for mean in rows[0])
    and all(each is None or _is_number(each) for row in rows for each in row)
  )


def newest(lines: Iterable[Line]) -> dict[tuple[str, Measured], Line]:
  """The result of the newest checkpoint for each preset and all that was measured on.

  Args:
    lines: lines of ResultFile.read.

  Returns:
    {(preset, measured): line}; of several results of one checkpoint the last one.
  """
  by_step = sorted(lines, key=lambda line: line['step'])
  return {(line['preset'], measured.of_line(line)): line for line in by_step}


def is_of_elsewhere(line: Line) -> bool:
  """Whether a result is of a checkpoint outside of the folder of the run.

  Lines of older versions, which had no digests, gave the path of every checkpoint.
  """
  return 'checkpoint_sha256' in line and os.path.dirname(line['checkpoint']) != ''


def newest_by_preset(lines: Iterable[Line]) -> dict[str, Line]:
  """The result of the newest checkpoint for each preset, of a run that was evaluated in one way.

  Raises:
    InputError: a preset has results that were measured on different things, so that one would be
      taken for the other.
  """
  found: dict[str, Line] = {}
  for (preset, on), line in newest(lines).items():
    if preset in found:
      before, now = measured.compared(measured.of_line(found[preset]), on)
      raise InputError(
        f'the preset {preset!r} has results of several evaluations ({before}; {now}): leave one.'
      )
    found[preset] = line
  return found
