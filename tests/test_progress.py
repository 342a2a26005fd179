"""Durations, rates and the time left, as people read them. (Lines of Progress: tests/files.)"""

from __future__ import annotations

import io
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
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
  assert progress.duration(seconds) == text


class Clock:
  """A clock that stands still until a test turns it."""

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


def test_no_time_is_left_if_nothing_is_done_yet_and_at_the_end(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  clock = Clock(monkeypatch)
  rate = progress.Rate(5, 6)
  assert rate.mark(5) == (0.0, 0.0)
  clock.now += 2
  assert rate.mark(6) == pytest.approx((0.5, 0.0))


def test_a_mark_is_set_only_if_the_last_one_is_old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
  clock = Clock(monkeypatch)
  rate = progress.Rate(0, 100)
  clock.now += 9
  assert rate.mark_after(10, 18) is None
  clock.now += 1
  assert rate.mark_after(10, 20) == pytest.approx((2.0, 40.0))
  assert rate.seconds_since_mark == 0


def test_a_long_time_is_told_in_the_same_way_by_all_lines(monkeypatch: pytest.MonkeyPatch) -> None:
  clock, out = Clock(monkeypatch), io.StringIO()
  line = progress.Progress('x', 1000, 'images', stream=out)
  logged: list[str] = []
  monkeypatch.setattr(progress.logging, 'info', lambda text, *args: logged.append(text % args))
  evaluated = progress.EvaluationLine('val', 7, 1000, 'tasks')
  clock.now += 10
  line.update(10)
  evaluated(10, 0.25)
  assert out.getvalue() == 'x: 10 of 1000 images, 1/s, 16 min 30 s left\n'
  assert logged == ['step 7  val  10 of 1000 tasks  accuracy 25.0 %  1.0 tasks/s  16 min 30 s left']
