"""Means with their 95 % confidence intervals, and how they are written as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
