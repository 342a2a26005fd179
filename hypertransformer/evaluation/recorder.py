"""Writes down what an evaluator has found, and goes on where something cannot be written.

A result that cannot be written stays in memory until it can. So none is lost while the evaluator
lives, and none is written twice.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Iterator

import filelock
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.evaluation import measured, sequence_table, snapshots
from hypertransformer.evaluation.measured import Measured, Result, ResultFile
from hypertransformer.evaluation.places import Places
from hypertransformer.evaluation.results import Line
from hypertransformer.runtime import checkpoints
from hypertransformer.runtime.tensorboard import EventWriter

SECONDS_BETWEEN_TRIES = 10.0  # of what could not be written or copied
VALIDATION = 'val'  # the preset that chooses the best checkpoint
WRITE_ERRORS = (OSError, InputError, tf.errors.OpError)
_SEE = 'see that it can be written, with room on the disk'
_LATER = f'{_SEE}; it is kept later, if the training has not deleted it by then'


class Recorder:
  """Writes results, the table, the events for TensorBoard, and the best checkpoint.

  Several evaluators can write into one folder, as --eval_once and --eval_checkpoint may be used
  beside one that waits for checkpoints: they do so in turn.
  """

  def __init__(self, places: Places, chooses_best: Measured | None) -> None:
    """Clears up what a killed evaluator has left behind, and completes its table and its best.

    Args:
      places: where all is written.
      chooses_best: what the preset VALIDATION is measured on. A better checkpoint that could not be
        kept before is kept as soon as that is possible; None leaves it at one try.

    Raises:
      InputError: results cannot be written or read in this folder.
    """
    self._places = places
    self._file = ResultFile(places.results)
    self._events = EventWriter(places.eval_dir)
    self._waiting: list[Result] = []
    self._told: dict[pathlib.Path, str] = {}  # what the last warning said of a path
    self._chooses_best = chooses_best
    self._best_again = math.inf  # when to try again to keep the best checkpoint
    self._file.require_writable()
    snapshots.remove_copies(places.eval_dir)
    with self._in_turn():
      snapshots.remove_parts(places.best_dir)
      self._write_table()
    self._catch_up_best()

  def lines(self) -> list[Line]:
    """All results: those in the file, and those that could not be written yet."""
    return [*self._file.read(), *(result.line() for result in self._waiting)]

  def record(self, copy: str, result: Result, run: pathlib.Path, summary: tf.Summary) -> None:
    """Writes down a result; what cannot be written is named in a warning.

    Args:
      copy: the path of a copy of the checkpoint, without ending.
      result: the result.
      run: the folder with the flags.json of the checkpoint's run.
      summary: the result for TensorBoard.
    """
    self._waiting.append(result)
    with self._in_turn():
      # Before the result is written: after that, a restarted evaluator would skip this checkpoint.
      if result.preset == VALIDATION:
        self._keep_best(copy, result.line(), run)
      self._write_results()
      self._write_table()
    self.add(summary, result.step)

  def add(self, summary: tf.Summary, step: int) -> None:
    """Takes a summary for TensorBoard that is about no result; a failure is a warning."""
    self._attempt(
      self._places.eval_dir / 'events.out.tfevents.*',
      lambda: self._events.add_summary(summary, step),
      _SEE,
    )

  def retry(self) -> None:
    """Writes what could not be written so far, if it can be written now."""
    if self._waiting:
      with self._in_turn():
        # A signal may have come between writing a result and taking note of that.
        with contextlib.suppress(InputError):
          written = self._file.read()
          self._waiting = [each for each in self._waiting if each.line() not in written]
        self._write_results()
        self._write_table()
    if time.monotonic() >= self._best_again:
      self._catch_up_best()

  def close(self) -> None:
    """Writes what is left.

    Raises:
      InputError: there are results that cannot be written.
    """
    if self._best_again < math.inf:
      self._best_again = 0.0
    self.retry()
    self._events.close()
    if self._waiting:
      raise InputError(
        f'{len(self._waiting)} results could not be written to {self._file.path} '
        f'({self._told.get(self._file.path, "")}): they are in the log above only. Make room, or '
        'make the folder writable, and start the evaluator again: it evaluates these checkpoints '
        'once more.'
      )

  def _catch_up_best(self) -> None:
    """Keeps the best checkpoint that is still there, if it could not be kept before."""
    self._best_again = math.inf
    try:
      best = snapshots.read_best(self._places.best_dir)
    except OSError as error:
      self._tell(self._places.best_dir, error, _LATER)
      return
    if self._chooses_best is None or (best and best.measured != self._chooses_best):
      return
    found = [
      line
      for line in self.lines()
      if line['preset'] == VALIDATION
      and measured.of_line(line) == self._chooses_best
      and (best is None or line['accuracy'] > best.accuracy)
    ]
    for line in sorted(found, key=lambda line: line['accuracy'], reverse=True):
      if self._keep_from_run(line):
        return

  @contextlib.contextmanager
  def _in_turn(self) -> Iterator[None]:
    path = self._places.eval_dir / '.results.lock'
    with filelock.FileLock(path):
      try:
        yield
      finally:
        path.unlink(missing_ok=True)

  def _keep_from_run(self, line: Line) -> bool:
    """Keeps the best checkpoint from the folder of the run; returns whether it is there."""
    prefix = str(pathlib.Path(self._places.log_dir) / line['checkpoint'])
    try:
      with snapshots.snapshot(prefix, self._places.eval_dir) as copy, self._in_turn():
        if snapshots.digest(copy) != line.get('checkpoint_sha256') or checkpoints.unreadable(copy):
          return False
        self._keep_best(copy, line, pathlib.Path(prefix).parent)
    except FileNotFoundError:
      return False
    except OSError as error:
      self._best_again = time.monotonic() + SECONDS_BETWEEN_TRIES
      self._tell(self._places.best_dir, error, _LATER)
    return True

  def _keep_best(self, copy: str, line: Line, run: pathlib.Path) -> None:
    def keep() -> None:
      if snapshots.keep_best(copy, line, self._places.best_dir, run):
        logging.info(
          'The best checkpoint so far on %s is kept in %s', VALIDATION, self._places.best_dir
        )

    if not self._attempt(self._places.best_dir, keep, _LATER):
      self._best_again = time.monotonic() + SECONDS_BETWEEN_TRIES

  def _write_results(self) -> None:
    def write() -> None:
      self._file.append(self._waiting)
      self._waiting.clear()

    self._attempt(self._file.path, write, f'{_SEE}; the result is kept in memory and written later')

  def _write_table(self) -> None:
    self._attempt(
      self._places.table,
      lambda: sequence_table.write_csv(self._places.table, self._file.read()),
      f'{_SEE}; the table is completed with the next result',
    )

  def _attempt(self, path: pathlib.Path, write: Callable[[], None], advice: str) -> bool:
    """Calls `write` for a path; if it fails, warns once and returns False."""
    try:
      write()
    except WRITE_ERRORS as error:
      self._tell(path, error, advice)
      return False
    self._told.pop(path, None)
    return True

  def _tell(self, path: pathlib.Path, error: Exception, advice: str) -> None:
    why = reason(error)
    if self._told.get(path) != why:
      logging.warning('%s cannot be written (%s): %s.', path, why, advice)
    self._told[path] = why


def reason(error: BaseException) -> str:
  """Why a file cannot be written, in a few words."""
  if isinstance(error, InputError) and error.__cause__ is not None:
    return reason(error.__cause__)
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return (str(error).splitlines() or [type(error).__name__])[0]
