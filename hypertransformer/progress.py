"""Telling a person how far long work is."""

from __future__ import annotations

import time

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
