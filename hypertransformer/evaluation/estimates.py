"""A mean with its 95 % confidence interval, and how both are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Estimate = tuple[float, float]  # mean and half-width of its 95 % interval over sequences
Z95 = 1.959964  # of the normal distribution: 95 % lie within +- this many standard deviations


def mean_and_ci95(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """Mean and half-width of its 95 % confidence interval over independent values; NaN half-width of
  a single one.
  """
  array = np.asarray(values, np.float64)
  if len(array) < 2:
    return float(array.mean()), math.nan
  return float(array.mean()), float(Z95 * array.std(ddof=1) / math.sqrt(len(array)))


def percent(mean: float | None, ci95: float | None = None, digits: int = 1) -> str:
  """0.5, 0.025 -> '50.0 +- 2.5 %'; without an interval '50.0 %', without a mean '-'."""
  if mean is None:
    return '-'
  interval = '' if ci95 is None else f' +- {100 * ci95:.{digits}f}'
  return f'{100 * mean:.{digits}f}{interval} %'
