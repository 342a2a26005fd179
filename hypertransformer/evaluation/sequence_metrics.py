"""What is said of a sequence of tasks: accuracies after each task, forgetting, backward transfer.
NumPy only.

Letters: s sequence, t the number of tasks learned, tau <= t the task whose queries are asked, T the
last t. a[s, t, tau] is the accuracy, A[t, tau] its mean over s.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from hypertransformer.evaluation.estimates import Estimate, mean_and_ci95


@dataclasses.dataclass(frozen=True)
class ContinualMetrics:
  """Accuracies in 0..1, intervals (half-widths) over sequences.

  matrix, matrix_ci95 [T, T]: A[t, tau], NaN above the diagonal; mini-batches of one task: [T, 1].
  average, average_ci95 [T]: mean of A[t, tau] over tau <= t.
  forgetting, backward_transfer: see below; None where there is only one task.
  """

  matrix: np.ndarray
  matrix_ci95: np.ndarray
  average: np.ndarray
  average_ci95: np.ndarray
  forgetting: Estimate | None
  backward_transfer: Estimate | None

  def json(self) -> dict[str, Any]:
    """As plain lists and numbers; NaN stays."""
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
  """accuracies: float [sequences, T, T], NaN where tau > t; or [sequences, T], of one task learned
  piece by piece.
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
  """Mean over tau < T of max_{tau <= t < T} A[t, tau] - A[T, tau] (Chaudhry et al. 2018,
  "Riemannian Walk for Incremental Learning", section 3); negative if the last accuracy is the best.

  The maximum is over the mean matrix, which is what one reads off the table: the maximum over a
  single sequence's accuracies, each of a few dozen queries, would find forgetting in noise. The
  interval is that of a[s, t*(tau), tau] - a[s, T, tau], averaged over tau, with the t*(tau) found.
  Chosen among noisy means, it finds a little forgetting where there is none: with 1024 sequences of
  25 queries up to 0.2 points for T = 5, 0.4 for T = 20.
  """
  past = np.arange(cells.shape[1] - 1)
  best = np.nanargmax(cells.mean(axis=0)[:-1, :-1], axis=0)  # t*(tau)
  return mean_and_ci95((cells[:, best, past] - cells[:, -1, past]).mean(axis=1))


def backward_transfer(cells: np.ndarray) -> Estimate:
  """Mean over tau < T of A[T, tau] - A[tau, tau] (Lopez-Paz & Ranzato 2017, "Gradient Episodic
  Memory", section 2); negative if tasks are forgotten.
  """
  past = np.arange(cells.shape[1] - 1)
  return mean_and_ci95((cells[:, -1, past] - cells[:, past, past]).mean(axis=1))


def _over_sequences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean and half-width for each of [sequences, ...]."""
  flat = np.array([mean_and_ci95(column) for column in values.reshape(len(values), -1).T])
  return flat[:, 0].reshape(values.shape[1:]), flat[:, 1].reshape(values.shape[1:])
