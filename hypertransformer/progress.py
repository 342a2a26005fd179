"""Telling a person how far long work is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from absl import logging

SECONDS_BETWEEN_LINES = 10.0


def duration(seconds: float) -> str:
  """45 -> '45 s', 3700 -> '1 h 01 min', 200000 -> '2 d 7 h'."""
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds} s'
  minutes = seconds // 60
  if minutes < 60:
    return f'{minutes} min {seconds % 60:02d} s'
  if minutes < 60 * 24:
    return f'{minutes // 60} h {minutes % 60:02d} min'
  return f'{minutes // 1440} d {minutes // 60 % 24} h'


class Rate:
  """Steps per second since the last mark, and the time left at the speed of the whole run."""

  def __init__(self, done: int, total: int) -> None:
    self._total = total
    self._start = self._last = (done, time.monotonic())

  @property
  def seconds_since_mark(self) -> float:
    return time.monotonic() - self._last[1]

  def mark(self, done: int) -> tuple[float, float]:
    """(steps per second since the last mark, seconds left)."""
    now = time.monotonic()
    recent = (done - self._last[0]) / max(now - self._last[1], 1e-9)
    overall = (done - self._start[0]) / max(now - self._start[1], 1e-9)
    self._last = (done, now)
    return recent, (self._total - done) / overall if overall > 0 else 0.0


class Progress:
  """Lines such as `omniglot: 12000 of 32460 drawings, 2650/s, 8 s left`, every few seconds."""

  def __init__(
    self,
    what: str,
    total: int,
    unit: str,
    every: float = 3.0,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ) -> None:
    """Starts the clock.

    Args:
      what: the name each line starts with.
      total: how many units there are.
      unit: their name, in the plural.
      every: seconds between two lines.
      stream: where the lines go; None is stderr.
      clock: seconds from an arbitrary start, never backwards.
    """
    self._what, self._total, self._unit = what, total, unit
    self._every, self._stream, self._clock = every, stream, clock
    self._start = self._last = clock()

  def update(self, done: int) -> None:
    """Says that `done` units are finished; prints when the last line is old enough."""
    now = self._clock()
    if now - self._last < self._every or done < 1:
      return
    self._last = now
    rate = done / (now - self._start)
    left = (self._total - done) / rate
    print(
      f'{self._what}: {done} of {self._total} {self._unit}, {rate:.0f}/s, {left:.0f} s left',
      file=self._stream or sys.stderr,
      flush=True,
    )


class EvaluationLine:
  """Logs a line every few seconds while tasks, or sequences of tasks, are evaluated."""

  def __init__(self, preset: str, step: int, total: int, unit: str) -> None:
    """step: of the checkpoint; total: how many episodes there are; unit: their name, in the plural."""
    self._name = f'step {step}  {preset}'
    self._total = total
    self._unit = unit
    self._rate = Rate(0, total)

  def __call__(self, done: int, mean: float) -> None:
    """done: episodes evaluated; mean: their accuracy so far, 0..1."""
    if self._rate.seconds_since_mark >= SECONDS_BETWEEN_LINES:
      rate, left = self._rate.mark(done)
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
