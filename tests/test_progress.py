"""Durations and rates as people read them."""

from __future__ import annotations

import time

import pytest

from hypertransformer import progress


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [
    (0, '0 s'),
    (45.4, '45 s'),
    (59.4, '59 s'),
    (59.6, '1 min 00 s'),
    (61, '1 min 01 s'),
    (3599, '59 min 59 s'),
    (3599.7, '1 h 00 min'),
    (3700, '1 h 01 min'),
    (86399, '23 h 59 min'),
    (86400, '1 d 0 h'),
    (200_000, '2 d 7 h'),
  ],
)
def test_duration(seconds: float, text: str) -> None:
  assert progress.duration(seconds) == text


class Clock:
  """A clock that tests turn."""

  def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
    self.now = 1000.0
    monkeypatch.setattr(time, 'monotonic', lambda: self.now)


def test_the_rate_is_recent_and_the_time_left_is_by_the_whole_run(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  clock = Clock(monkeypatch)
  rate = progress.Rate(100, 1100)
  clock.now += 10
  assert rate.seconds_since_mark == 10
  assert rate.mark(200) == pytest.approx((10.0, 90.0))
  assert rate.seconds_since_mark == 0
  clock.now += 10
  # 300 more in 10 s; 400 in 20 s altogether; 600 are left.
  assert rate.mark(500) == pytest.approx((30.0, 30.0))


def test_the_rate_of_nothing_done_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
  clock = Clock(monkeypatch)
  rate = progress.Rate(5, 6)
  assert rate.mark(5) == (0.0, 0.0)
  clock.now += 2
  assert rate.mark(6) == pytest.approx((0.5, 0.0))
