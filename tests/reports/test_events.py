"""Curves, speed and CPU time from event files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer.reports import events
from hypertransformer.reports.events import Curve


def test_what_a_training_has_recorded_is_read(make_run: Callable[..., pathlib.Path]) -> None:
  found = events.read(make_run('a') / 'train')
  assert set(found.accuracies) == {'test episodes', 'training episodes'}
  curve = found.accuracies['test episodes']
  assert curve.steps.tolist() == list(range(100, 2001, 100))
  np.testing.assert_allclose(curve.values, np.arange(1, 21) / 100, rtol=1e-6)
  assert (found.last_step, found.steps_per_second) == (2000, 50.0)
  assert found.cpu_hours == pytest.approx(200 / 3600)


def test_without_event_files_nothing_is_recorded(tmp_path: pathlib.Path) -> None:
  assert events.read(tmp_path / 'nowhere') == events.NOTHING
  (tmp_path / 'events.out.tfevents.1.x').write_bytes(b'broken')
  found = events.read(tmp_path)
  assert (found.accuracies, found.steps_per_second, found.cpu_hours) == ({}, None, None)


@pytest.mark.parametrize(
  ('seconds', 'total'),
  [([5.0, 9.0], 9.0), ([5.0, 9.0, 2.0, 4.0], 13.0), ([5.0, 1.0, 0.5], 6.5), ([3.0], 3.0)],
)
def test_cpu_seconds_of_resumed_runs_add_up(seconds: list[float], total: float) -> None:
  assert events.total_of_processes(np.array(seconds)) == total


def test_windows_are_means_and_the_last_one_is_full() -> None:
  curve = Curve(np.arange(100, 1001, 100), np.arange(10.0))
  found = events.in_windows(curve, 300)
  assert found.steps.tolist() == [150, 450, 750]
  assert found.values.tolist() == [1.0, 4.0, 7.0]


@pytest.mark.parametrize(
  ('last', 'between', 'window'),
  [(20_000, 100, 500), (200_000, 100, 5000), (4_000_000, 100, 100_000), (300, 100, 100), (6, 2, 2)],
)
def test_the_window_is_a_round_number_of_steps(last: int, between: int, window: int) -> None:
  steps = np.arange(between, last + 1, between)
  found = events.window_for([Curve(steps, np.zeros(len(steps)))])
  assert found == window
  assert len(events.in_windows(Curve(steps, np.zeros(len(steps))), found).steps) >= 1
