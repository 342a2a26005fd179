"""Means, intervals and the metrics of sequences, against loops in plain Python; their texts."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest

from hypertransformer.evaluation import metrics
from hypertransformer.evaluation.metrics import Scores, matrix_fields, mean_and_ci95
from hypertransformer.settings.config import ContinualConfig

NAN = math.nan


def random_cells(sequences: int, tasks: int, seed: int = 0) -> np.ndarray:
  """Accuracies on 12 queries each.

  Later tasks have better ones. With time, those on every other task fall, and the others rise.
  """
  rng = np.random.default_rng(seed)
  t, tau = np.mgrid[:tasks, :tasks]
  chance = 0.5 + 0.05 * tau - 0.04 * (t - tau) * (-1) ** tau
  cells = rng.binomial(12, chance, (sequences, tasks, tasks)) / 12
  cells[:, tau > t] = NAN
  return cells


def plain(numbers: list[float]) -> tuple[float, float]:
  """The mean, and the half-width of its 95 % confidence interval."""
  return statistics.mean(numbers), 1.959964 * statistics.stdev(numbers) / math.sqrt(len(numbers))


def both(found: dict[str, Any], name: str, *place: int) -> tuple[float, float]:
  """A metric and the half-width of its interval, at a place of lists."""
  mean, ci95 = found[name], found[f'{name}_ci95']
  for index in place:
    mean, ci95 = mean[index], ci95[index]
  return mean, ci95


def test_mean_and_interval_of_four_numbers_are_those_by_hand() -> None:
  """Deviations from the mean -1/2, 0, 0, 1/2: s = sqrt(2 / 3) / 2; half-width 1.96 s / sqrt(4)."""
  mean, ci95 = mean_and_ci95([0.0, 0.5, 0.5, 1.0])
  assert (mean, ci95) == (0.5, pytest.approx(1.959964 * math.sqrt(2 / 3) / 2 / 2))
  assert math.isnan(mean_and_ci95([0.25])[1])


def test_values_in_single_precision_are_summed_in_double() -> None:
  values: np.ndarray = np.full(3000, 0.1, np.float32)
  assert mean_and_ci95(values) == (pytest.approx(0.1, abs=1e-8), pytest.approx(0.0, abs=1e-8))


@pytest.mark.parametrize('tasks', [2, 5])
def test_all_metrics_are_those_of_plain_loops(tasks: int) -> None:
  cells = random_cells(40, tasks)
  a = cells.tolist()
  found = matrix_fields(cells)
  means: list[list[float]] = [[NAN] * tasks for _ in range(tasks)]
  for t in range(tasks):
    for tau in range(tasks):
      if tau > t:
        assert math.isnan(found['matrix'][t][tau])
        assert math.isnan(found['matrix_ci95'][t][tau])
      else:
        means[t][tau], ci95 = plain([one[t][tau] for one in a])
        assert both(found, 'matrix', t, tau) == pytest.approx((means[t][tau], ci95))
    expected = plain([sum(one[t][: t + 1]) / (t + 1) for one in a])
    assert both(found, 'average_accuracy', t) == pytest.approx(expected)
  lost, gained = [], []
  for one in a:
    losses, gains = [], []
    for tau in range(tasks - 1):
      best = max(range(tau, tasks - 1), key=lambda t, tau=tau: means[t][tau])
      losses.append(one[best][tau] - one[-1][tau])
      gains.append(one[-1][tau] - one[tau][tau])
    lost.append(sum(losses) / len(losses))
    gained.append(sum(gains) / len(gains))
  assert both(found, 'forgetting') == pytest.approx(plain(lost))
  assert both(found, 'backward_transfer') == pytest.approx(plain(gained))


def test_metrics_of_two_sequences_are_those_by_hand() -> None:
  """The mean accuracies are .5, .9, .6 on task 1: .3 is forgotten; on task 2 .8, .7: .1 is."""
  one = [[0.4, NAN, NAN], [1.0, 0.8, NAN], [0.6, 0.7, 0.9]]
  other = [[0.6, NAN, NAN], [0.8, 0.8, NAN], [0.6, 0.7, 0.7]]
  found = matrix_fields(np.array([one, other]))
  assert found['forgetting'] == pytest.approx((0.3 + 0.1) / 2)
  # Losses of the sequences: (.4 + .1) / 2 and (.2 + .1) / 2, a distance of .1: s = .1 / sqrt(2).
  assert found['forgetting_ci95'] == pytest.approx(1.959964 * 0.1 / math.sqrt(2) / math.sqrt(2))
  assert found['backward_transfer'] == pytest.approx((0.1 - 0.1) / 2)
  assert found['average_accuracy'] == pytest.approx([0.5, 0.85, 0.7])


def test_noise_is_not_forgetting() -> None:
  """Nothing changes with time here; maxima in single sequences would find 0.07 forgotten."""
  cells = np.random.default_rng(1).binomial(15, 0.7, (600, 5, 5)) / 15
  cells[:, np.triu_indices(5, 1)[0], np.triu_indices(5, 1)[1]] = NAN
  found = matrix_fields(cells)
  assert abs(found['forgetting']) < 0.02
  per_sequence = np.nanmax(cells[:, :-1, :-1], axis=1) - cells[:, -1, :-1]
  assert per_sequence.mean() > 0.06


def test_with_pieces_of_one_task_nothing_is_forgotten() -> None:
  cells = np.array([[0.2, 0.4, 0.6], [0.4, 0.8, 0.6]])[:, :, None]
  found = matrix_fields(cells)
  assert [row[0] for row in found['matrix']] == pytest.approx([0.3, 0.6, 0.6])
  assert found['average_accuracy'] == [row[0] for row in found['matrix']]
  assert (found['forgetting'], found['backward_transfer']) == (None, None)


def test_a_single_task_is_a_sequence_of_one_task() -> None:
  scores = Scores(
    np.array([0.25, 0.75])[:, None, None], np.array([np.nan, np.nan]), np.array([0.5, 0.25])
  )
  assert metrics.fields(scores, None) == {
    'accuracy': 0.5,
    'ci95': pytest.approx(plain([0.25, 0.75])[1]),
    'num_tasks': 2,
    'accuracy_disjoint': None,
    'ci95_disjoint': None,
    'accuracy_inductive': 0.375,
    'ci95_inductive': pytest.approx(plain([0.5, 0.25])[1]),
  }
  assert metrics.scalars('val', metrics.fields(scores, None)) == {
    'eval_accuracy/val': 0.5,
    'eval_accuracy_inductive/val': 0.375,
  }


def test_fields_scalars_and_text_of_sequences_say_the_same() -> None:
  config = ContinualConfig('class_incremental', mixed_queries=True)
  cells = random_cells(40, 2)
  found = metrics.fields(Scores(cells, np.full(40, 0.25), np.full(40, 0.5)), config)
  continual = found['continual']
  assert (found['accuracy'], found['ci95']) == pytest.approx(both(continual, 'average_accuracy', 1))
  assert {name: continual[name] for name in ('scenario', 'mixed_queries', 'num_tasks')} == {
    'scenario': 'class_incremental',
    'mixed_queries': True,
    'num_tasks': 2,
  }
  assert metrics.scalars('val', found) == {
    'eval_accuracy/val': found['accuracy'],
    'eval_accuracy_disjoint/val': 0.25,
    'eval_accuracy_inductive/val': 0.5,
    'eval_average_accuracy/val/after_task_1': continual['average_accuracy'][0],
    'eval_average_accuracy/val/after_task_2': continual['average_accuracy'][1],
    'eval_forgetting/val': continual['forgetting'],
    'eval_backward_transfer/val': continual['backward_transfer'],
  }
  text = metrics.text({'preset': 'val', 'num_queries': 12, **found})
  assert text.startswith(f'val: {100 * found["accuracy"]:.2f} ')
  assert 'after 2 tasks, inductive 50.00 ± 0.00 %, forgetting ' in text
  assert text.endswith('40 sequences x 12 queries of a task')


@pytest.mark.parametrize(
  ('arguments', 'text'),
  [((0.5, 0.025), '50.0 ± 2.5 %'), ((0.5, None, 2), '50.00 %'), ((None,), '-')],
)
def test_percent(arguments: Any, text: str) -> None:
  assert metrics.percent(*arguments) == text
