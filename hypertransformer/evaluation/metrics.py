"""Metrics of sequences of tasks: accuracies after each task, forgetting and backward transfer.

They are computed with NumPy only; see docs/spec/continual.md, section 2. Letters: s is a sequence,
t the number of tasks learned so far, tau <= t the task whose queries are asked, and T the number of
tasks of a sequence. a[s, t, tau] is the accuracy on the queries of task tau after task t in
sequence s, and A[t, tau] is its mean over the sequences.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Estimate = tuple[float, float]  # a mean, and the half-width of its 95 % confidence interval
Z95 = 1.959964  # 95 % of a normal distribution lie within +- this many standard deviations


def mean_and_ci95(values: Sequence[float] | np.ndarray) -> Estimate:
  """The mean of independent values, and the half-width of its 95 % confidence interval.

  The half-width of a single value is NaN.
  """
  array = np.asarray(values, np.float64)
  if len(array) < 2:
    return float(array.mean()), math.nan
  return float(array.mean()), float(Z95 * array.std(ddof=1) / math.sqrt(len(array)))


def percent(mean: float | None, ci95: float | None = None, digits: int = 1) -> str:
  """A fraction as a text in percent: 0.5 and 0.025 give '50.0 +- 2.5 %'.

  Args:
    mean: the fraction, such as an accuracy in 0..1; None gives '-'.
    ci95: the half-width of its confidence interval; None leaves the interval out.
    digits: how many digits there are after the decimal point.
  """
  if mean is None:
    return '-'
  interval = '' if ci95 is None else f' +- {100 * ci95:.{digits}f}'
  return f'{100 * mean:.{digits}f}{interval} %'


@dataclasses.dataclass(frozen=True)
class ContinualMetrics:
  """The metrics of one checkpoint on one preset.

  Accuracies are in 0..1. Fields with _ci95 are half-widths of 95 % confidence intervals over the
  sequences.

  Attributes:
    matrix: A[t, tau], float [T, T], NaN where tau > t. In mini_batch: [T, 1], after each piece.
    matrix_ci95: of the same shape.
    average: the mean of A[t, tau] over tau <= t, float [T].
    average_ci95: of the same shape.
    forgetting: see the function of this name; None where it is not defined, because there is only
      one task.
    backward_transfer: likewise.
  """

  matrix: np.ndarray
  matrix_ci95: np.ndarray
  average: np.ndarray
  average_ci95: np.ndarray
  forgetting: Estimate | None
  backward_transfer: Estimate | None

  def json(self) -> dict[str, Any]:
    """The metrics as a dict of lists and numbers for JSON; NaN stays NaN."""
    forgetting, forgetting_ci95 = self.forgetting or (None, None)
    transfer, transfer_ci95 = self.backward_transfer or (None, None)
    return {
      'matrix': self.matrix.tolist(),
      'matrix_ci95': self.matrix_ci95.tolist(),
      'average_accuracy': self.average.tolist(),
      'average_accuracy_ci95': self.average_ci95.tolist(),
      'forgetting': forgetting,
      'forgetting_ci95': forgetting_ci95,
      'backward_transfer': transfer,
      'backward_transfer_ci95': transfer_ci95,
    }


def measure(accuracies: np.ndarray) -> ContinualMetrics:
  """Computes the metrics from the accuracies of sequences.

  Args:
    accuracies: a[s, t, tau], float [sequences, T, T], NaN where tau > t; or, where one task is
      learned piece by piece (mini_batch), [sequences, T].
  """
  cells = np.asarray(accuracies, np.float64)
  several = cells.ndim == 3 and cells.shape[1] > 1
  if cells.ndim == 2:
    cells = cells[:, :, None]
  matrix, matrix_ci95 = _over_sequences(cells)
  average, average_ci95 = _over_sequences(np.nanmean(cells, axis=2))
  return ContinualMetrics(
    matrix,
    matrix_ci95,
    average,
    average_ci95,
    forgetting(cells) if several else None,
    backward_transfer(cells) if several else None,
  )


def forgetting(cells: np.ndarray) -> Estimate:
  """How much accuracy the earlier tasks have lost at the end, compared with their best.

  This is the mean over tau < T of max over tau <= t < T of A[t, tau], minus A[T, tau], after
  Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", section 3. It is negative if the
  accuracies at the end are the best ones.

  The maximum is taken over the mean matrix A, which is what one reads off a table. In a single
  sequence, where an accuracy comes from a few dozen queries, a maximum would find forgetting in
  mere noise. The t of the maximum, t*(tau), is then kept for all sequences, and the interval is
  that of a[s, t*(tau), tau] - a[s, T, tau], averaged over tau. As t*(tau) is still chosen among
  noisy means, a little forgetting is found where there is none: with 1024 sequences of 25 queries
  up to 0.2 points for T = 5, and 0.4 for T = 20.

  Args:
    cells: a[s, t, tau], float [sequences, T, T], with T at least 2.
  """
  past = np.arange(cells.shape[1] - 1)
  best = np.nanargmax(cells.mean(axis=0)[:-1, :-1], axis=0)  # t*(tau)
  return mean_and_ci95((cells[:, best, past] - cells[:, -1, past]).mean(axis=1))


def backward_transfer(cells: np.ndarray) -> Estimate:
  """How learning the later tasks changes the accuracy on the earlier ones.

  This is the mean over tau < T of A[T, tau] - A[tau, tau], after Lopez-Paz & Ranzato 2017,
  "Gradient Episodic Memory", section 2. It is negative if tasks are forgotten.

  Args:
    cells: a[s, t, tau], float [sequences, T, T], with T at least 2.
  """
  past = np.arange(cells.shape[1] - 1)
  return mean_and_ci95((cells[:, -1, past] - cells[:, past, past]).mean(axis=1))


def _over_sequences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean and half-width over the first axis, for values [sequences, ...]."""
  flat = np.array([mean_and_ci95(column) for column in values.reshape(len(values), -1).T])
  return flat[:, 0].reshape(values.shape[1:]), flat[:, 1].reshape(values.shape[1:])
