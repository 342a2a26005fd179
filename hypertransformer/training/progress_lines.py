"""Tells a person how far the training is: a line on the terminal, or lines of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from hypertransformer import progress
from hypertransformer.progress import TerminalLine

Scalars = Mapping[str, float]  # by TensorBoard tag


class ProgressLines:
  """Logs a line every few seconds, or keeps a line on a terminal up to date.

  A line has the means of the records since the line before. Where steps are so slow that there is
  no record for some time, it has those of the steps since the last record.

  Attributes:
    train_steps: the number of updates in all.
  """

  def __init__(self, train_steps: int, line: TerminalLine | None = None) -> None:
    """Waits for the first step, with which the clock starts.

    Args:
      train_steps: the number of updates in all.
      line: renews itself on a terminal, in place of the lines of the log; None if there is no
        terminal.
    """
    self.train_steps = train_steps
    self._line = line
    self._records: list[Scalars] = []  # those since the last line of the log
    self._rate: progress.Rate | None = None

  def step(self, step: int, since_record: Sequence[Scalars]) -> None:
    """Is told of a step after which nothing is recorded.

    Args:
      step: the number of updates done.
      since_record: the scalars of each step since the last record.
    """
    if self._line is not None:
      self._line.show(step)
      return
    clock = self._clock(step)
    if _is_due(clock) and not self._records:
      # Steps are slow: the first line should not have to wait for the first record.
      self._log(step, clock, since_record)

  def record(self, step: int, means: Scalars) -> None:
    """Is told of a record, with the means since the last one and what the test episode gave."""
    if self._line is not None:
      self._line.show(step, describe(means))
      return
    self._records.append(means)
    clock = self._clock(step)
    if _is_due(clock) or step >= self.train_steps:
      self._log(step, clock, self._records)
      self._records = []

  def _clock(self, step: int) -> progress.Rate:
    """The clock of the lines, which the first step starts."""
    if self._rate is None:
      self._rate = progress.Rate(step, self.train_steps)
    return self._rate

  def _log(self, step: int, clock: progress.Rate, records: Sequence[Scalars]) -> None:
    """Logs a line of progress, with the means of these records."""
    rate, left = clock.mark(step)
    logging.info(
      'step %d of %d  %s  %.1f steps/s  %s left',
      step,
      self.train_steps,
      describe(means_of(records)),
      rate,
      progress.duration(left),
    )


def _is_due(clock: progress.Rate) -> bool:
  """Whether the last line is old enough."""
  return clock.seconds_since_mark >= progress.SECONDS_BETWEEN_LINES


def means_of(records: Sequence[Scalars]) -> dict[str, float]:
  """The mean of each scalar, by tag; all records have the same tags."""
  return {tag: float(np.mean([record[tag] for record in records])) for tag in records[0]}


def describe(means: Scalars) -> str:
  """The loss and the accuracies of a line of progress, as a text.

  Args:
    means: scalars by TensorBoard tag. Those without a place in the line are left out.
  """
  loss = means.get('loss/loss', means.get('loss/shared_head_loss', float('nan')))
  parts = [f'loss {loss:.3f}']
  for tag, name in (
    ('accuracy/accuracy', 'accuracy'),
    ('accuracy/test_accuracy', 'test'),
    ('accuracy/shared_head_accuracy', 'real classes'),
  ):
    if tag in means:
      parts.append(f'{name} {100 * means[tag]:.1f} %')
  return '  '.join(parts)
