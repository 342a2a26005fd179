"""Means and their confidence intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hypertransformer.evaluation.metrics import mean_and_ci95


def test_mean_and_interval_of_four_numbers_are_those_by_hand() -> None:
  """Deviations from the mean -1/2, 0, 0, 1/2: s = sqrt(2 / 3) / 2; half-width 1.96 s / sqrt(4)."""
  mean, ci95 = mean_and_ci95([0.0, 0.5, 0.5, 1.0])
  assert mean == 0.5
  assert ci95 == pytest.approx(1.959964 * math.sqrt(2 / 3) / 2 / 2)


def test_the_interval_holds_the_true_mean_in_95_of_100_cases() -> None:
  rng = np.random.default_rng(0)
  cases = [mean_and_ci95(rng.binomial(20, 0.7, 200) / 20) for _ in range(2000)]
  assert np.mean([abs(mean - 0.7) <= ci95 for mean, ci95 in cases]) == pytest.approx(0.95, abs=0.02)


def test_values_in_single_precision_are_summed_in_double() -> None:
  values: np.ndarray = np.full(3000, 0.1, np.float32)
  assert mean_and_ci95(values) == (pytest.approx(0.1, abs=1e-8), pytest.approx(0.0, abs=1e-8))


def test_the_interval_of_a_single_value_is_nan() -> None:
  mean, ci95 = mean_and_ci95([0.25])
  assert mean == 0.25
  assert math.isnan(ci95)
