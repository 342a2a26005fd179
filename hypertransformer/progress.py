"""Tells a person how far long work is: its speed, and the time that is left.

`Progress` and `EvaluationLine` report it: the former while data files are made or read, the latter
while a checkpoint is evaluated. The line of training is in training/progress_lines.py. Where stderr
is a terminal, all three are a `TerminalLine`, one line that renews itself. Elsewhere, as in a file,
they are plain lines, one every few seconds, whose speed a `Rate` measures.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from absl import logging
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0  # of the lines in the log


def duration(seconds: float) -> str:
  """Writes a time in its two largest units: 45 -> '45 s', 3700 -> '1 h 01 min'."""
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds} s'
  minutes = seconds // 60
  if minutes < 60:
    return f'{minutes} min {seconds % 60:02d} s'
  if minutes < 60 * 24:
    return f'{minutes // 60} h {minutes % 60:02d} min'
  return f'{minutes // 1440} d {minutes // 60 % 24} h'


def _now() -> float:
  return time.monotonic()


class Rate:
  """Measures the speed of long work between marks, and the time that is left."""

  def __init__(self, done: int, total: int, clock: Callable[[], float] = _now) -> None:
    """Starts the clock.

    Args:
      done: units of work that are finished already.
      total: units of work at the end.
      clock: gives seconds from an arbitrary start; never goes backwards.
    """
    self._total = total
    self._clock = clock
    self._start = self._last = (done, clock())

  @property
  def seconds_since_mark(self) -> float:
    """The seconds since the last mark, or since the start."""
    return self._clock() - self._last[1]

  def mark(self, done: int) -> tuple[float, float]:
    """Sets a mark where `done` units are finished.

    Returns:
      The units per second since the last mark, and the seconds that are left if the work goes on at
      its mean speed since the start (0 if nothing is done yet).
    """
    return self._mark(done, self._clock())

  def mark_after(self, seconds: float, done: int) -> tuple[float, float] | None:
    """Does the same as `mark` if the last mark is that many seconds old; otherwise returns None."""
    now = self._clock()
    return self._mark(done, now) if now - self._last[1] >= seconds else None

  def _mark(self, done: int, now: float) -> tuple[float, float]:
    recent = (done - self._last[0]) / max(now - self._last[1], 1e-9)
    overall = (done - self._start[0]) / max(now - self._start[1], 1e-9)
    self._last = (done, now)
    return recent, (self._total - done) / overall if overall > 0 else 0.0


class TerminalLine:
  """One line on a terminal that renews itself, with the speed and the time that is left.

  While it is open, the lines of absl's log are written above it. It is cut at the width of the
  terminal.
  """

  FORMAT = '{desc}: {n_fmt} of {total_fmt} |{bar:10}| {rate_noinv_fmt}, {remaining} left{postfix}'
  SECONDS_BETWEEN_CHANGES = 0.25
  USUAL_SIZE = 80, 24  # columns and lines of a terminal that does not tell

  def __init__(
    self, what: str, total: int, unit: str, done: int = 0, stream: TextIO | None = None
  ) -> None:
    """Shows the line.

    Args:
      what: the name it starts with.
      total: units of work at the end.
      unit: their name, in the plural.
      done: units of work that are finished already.
      stream: the terminal; None is stderr.
    """
    stream = stream or sys.stderr
    size = os.get_terminal_size(stream.fileno())
    known = size.columns > 0 and size.lines > 0  # some terminals say 0, and tqdm would be silent
    self._line = tqdm(
      desc=what,
      total=total,
      initial=done,
      unit=f' {unit}',
      bar_format=self.FORMAT,
      file=stream,
      mininterval=self.SECONDS_BETWEEN_CHANGES,
      dynamic_ncols=known,
      ncols=None if known else size.columns or self.USUAL_SIZE[0],
      nrows=None if known else self.USUAL_SIZE[1],
    )
    self._handler = logging.get_absl_handler().python_handler
    self._log: TextIO = self._handler.stream
    self._handler.setStream(_Above(self._log))

  def show(self, done: int, text: str | None = None) -> None:
    """Is told that `done` units are finished, and renews the line if it is old enough.

    Args:
      done: units of work that are finished.
      text: the end of the line from now on; None leaves it as it is.
    """
    if text is not None:
      self._line.set_postfix_str(text, refresh=False)
    self._line.update(done - self._line.n)

  def close(self) -> None:
    """Leaves the line as it is at last, and gives the log back."""
    self._line.close()
    self._handler.setStream(self._log)


class _Above:
  """A stream that writes above the lines of tqdm. absl writes whole lines at a time."""

  def __init__(self, stream: TextIO) -> None:
    self._stream = stream

  def write(self, text: str) -> int:
    with tqdm.external_write_mode(file=self._stream):
      return self._stream.write(text)

  def flush(self) -> None:
    self._stream.flush()


def is_terminal(stream: TextIO | None = None) -> bool:
  """Whether a stream is a terminal; None stands for stderr."""
  return (stream or sys.stderr).isatty()


@contextlib.contextmanager
def terminal_line(what: str, total: int, unit: str, done: int = 0) -> Iterator[TerminalLine | None]:
  """Opens a TerminalLine for the time of a `with`; gives None where stderr is no terminal.

  For the arguments see `TerminalLine`.
  """
  if not is_terminal():
    yield None
    return
  line = TerminalLine(what, total, unit, done)
  try:
    yield line
  finally:
    line.close()


class Progress:
  """Prints a line such as `omniglot: 12000 of 32460 drawings, 2650/s, 8 s left` now and then."""

  def __init__(
    self,
    what: str,
    total: int,
    unit: str,
    every: float = 3.0,
    stream: TextIO | None = None,
    clock: Callable[[], float] = _now,
  ) -> None:
    """Starts the clock.

    Args:
      what: the name each line starts with.
      total: how many units there are.
      unit: their name, in the plural.
      every: the least number of seconds between two lines.
      stream: where the lines go; None is stderr.
      clock: gives seconds from an arbitrary start; never goes backwards.
    """
    self._what, self._total, self._unit = what, total, unit
    self._every, self._stream = every, stream
    self._rate = Rate(0, total, clock)
    self._line: TerminalLine | None = None

  def update(self, done: int) -> None:
    """Is told that `done` units are finished, and prints a line if the last one is old enough."""
    if is_terminal(self._stream):
      self._renew(done)
      return
    if done < 1 or (speed := self._rate.mark_after(self._every, done)) is None:
      return
    rate, left = speed
    print(
      f'{self._what}: {done} of {self._total} {self._unit}, {rate:.0f}/s, {duration(left)} left',
      file=self._stream or sys.stderr,
      flush=True,
    )

  def _renew(self, done: int) -> None:
    """Renews the line on the terminal, from the first unit until the last."""
    if self._line is None and done < self._total:
      self._line = TerminalLine(self._what, self._total, self._unit, stream=self._stream)
    if self._line is not None:
      self._line.show(done)
      if done >= self._total:
        self._line.close()
        self._line = None


class EvaluationLine:
  """Logs a line every few seconds while a checkpoint is evaluated on tasks or on sequences.

  It is to be used as the context of the evaluation, `with EvaluationLine(...) as line`.
  """

  def __init__(self, preset: str, step: int, total: int, unit: str) -> None:
    """Starts the clock.

    Args:
      preset: the name of the classes on which the checkpoint is evaluated, such as 'val'.
      step: the training step of the checkpoint.
      total: how many tasks, or sequences of tasks, will be evaluated.
      unit: their name, in the plural.
    """
    self._name = f'step {step}  {preset}'
    self._total = total
    self._unit = unit
    self._rate = Rate(0, total)
    self._line: TerminalLine | None = None
    self._open = contextlib.ExitStack()

  def __enter__(self) -> EvaluationLine:
    self._line = self._open.enter_context(terminal_line(self._name, self._total, self._unit))
    return self

  def __exit__(self, *exception: object) -> None:
    self._open.close()

  def __call__(self, done: int, mean: float) -> None:
    """Is told how far the evaluation is, and logs a line if the last one is old enough.

    Args:
      done: how many tasks, or sequences of tasks, are evaluated.
      mean: their mean accuracy so far, between 0 and 1.
    """
    if self._line is not None:
      self._line.show(done, f'accuracy {100 * mean:.1f} %')
    elif (speed := self._rate.mark_after(SECONDS_BETWEEN_LINES, done)) is not None:
      rate, left = speed
      logging.info(
        '%s  %d of %d %s  accuracy %.1f %%  %.1f %s/s  %s left',
        self._name,
        done,
        self._total,
        self._unit,
        100 * mean,
        rate,
        self._unit,
        duration(left),
      )
