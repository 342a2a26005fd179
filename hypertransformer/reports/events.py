"""Reads what a training has written for TensorBoard: accuracies, speed and CPU time."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hypertransformer.runtime.tensorboard import CPU_SECONDS

STEPS_PER_SECOND = 'global_step/sec'
# Tags of the accuracies of which a report has curves, and what they are of.
ACCURACIES = {
  'accuracy/test_accuracy': 'test episodes',
  'accuracy/accuracy': 'training episodes',
  'accuracy/shared_head_accuracy': 'real classes',
}
# What is kept of each tag; 0 is all. Pictures and histograms are not looked at.
_KEPT = {'scalars': 0, 'images': 1, 'histograms': 1, 'compressedHistograms': 1, 'tensors': 1}


@dataclasses.dataclass(frozen=True)
class Curve:
  """A number that was recorded during training.

  Attributes:
    steps: int [n], updates that had been made, ascending.
    values: float64 [n].
  """

  steps: np.ndarray
  values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Recorded:
  """What is known of a training.

  Attributes:
    accuracies: curves in 0..1 by the values of ACCURACIES; only those that were recorded.
    last_step: updates made when the last record was written.
    steps_per_second: the median over the records; None if it was not recorded.
    cpu_hours: of all processes that have trained it; None if it was not recorded.
  """

  accuracies: dict[str, Curve]
  last_step: int
  steps_per_second: float | None
  cpu_hours: float | None


NOTHING = Recorded({}, 0, None, None)


def read(folder: pathlib.Path) -> Recorded:
  """Reads the event files in a folder; NOTHING if there are none, or none that can be read."""
  if not any(folder.glob('*tfevents*')):
    return NOTHING
  events = EventAccumulator(str(folder), size_guidance=_KEPT)
  events.Reload()
  curves = {tag: _curve(events, tag) for tag in events.Tags()['scalars']}
  speed, cpu = curves.get(STEPS_PER_SECOND), curves.get(CPU_SECONDS)
  return Recorded(
    {name: curves[tag] for tag, name in ACCURACIES.items() if tag in curves},
    max((int(curve.steps[-1]) for curve in curves.values()), default=0),
    None if speed is None else float(np.median(speed.values)),
    None if cpu is None else total_of_processes(cpu.values) / 3600,
  )


def _curve(events: EventAccumulator, tag: str) -> Curve:
  """The values of a tag by step. Of several records of a step the last one counts."""
  values = {event.step: event.value for event in events.Scalars(tag)}
  steps = sorted(values)
  return Curve(np.array(steps), np.array([values[step] for step in steps], np.float64))


def total_of_processes(seconds: np.ndarray) -> float:
  """Adds up the CPU seconds of several processes, one after the other.

  Args:
    seconds: float [n], recorded during training. Each process counts from zero, so the numbers
      fall where a run was resumed.
  """
  last_of_each: np.ndarray = np.append(seconds[:-1][np.diff(seconds) < 0], seconds[-1:])
  return float(last_of_each.sum())


def in_windows(curve: Curve, window: int) -> Curve:
  """The means over windows of steps, at the middles of the windows.

  Args:
    curve: the numbers as they were recorded.
    window: steps of a window. The last one is left out unless it is full.
  """
  last = int(curve.steps[-1]) // window
  numbers: np.ndarray = (curve.steps - 1) // window
  full = [number for number in range(last) if (numbers == number).any()]
  means = [curve.values[numbers == number].mean() for number in full]
  return Curve((np.array(full, int) * window + window / 2), np.array(means))


def window_for(curves: list[Curve], points: int = 40) -> int:
  """Chooses a round number of steps for windows, so that the longest curve has about 40 of them.

  A window is never shorter than the steps between two records.
  """
  longest = max(int(curve.steps[-1]) for curve in curves)
  between = max(int(np.median(np.diff(curve.steps, prepend=0))) for curve in curves)
  wanted = max(longest / points, between, 1)
  magnitude = 10 ** int(np.floor(np.log10(wanted)))
  round_numbers = [factor * magnitude for factor in (1, 2, 5, 10)]
  window = next(number for number in round_numbers if number >= wanted)
  return window if window <= longest else between
