"""Metrics of sequences of tasks, against loops over the sequences in plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from hypertransformer.evaluation import metrics

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


@pytest.mark.parametrize('tasks', [2, 5])
def test_all_metrics_are_those_of_plain_loops(tasks: int) -> None:
  cells = random_cells(40, tasks)
  a = cells.tolist()
  found = metrics.measure(cells)
  means: list[list[float]] = [[NAN] * tasks for _ in range(tasks)]
  for t in range(tasks):
    for tau in range(tasks):
      if tau > t:
        assert math.isnan(found.matrix[t, tau])
        assert math.isnan(found.matrix_ci95[t, tau])
      else:
        means[t][tau], ci95 = plain([one[t][tau] for one in a])
        assert (found.matrix[t, tau], found.matrix_ci95[t, tau]) == pytest.approx(
          (means[t][tau], ci95)
        )
    expected = plain([sum(one[t][: t + 1]) / (t + 1) for one in a])
    assert (found.average[t], found.average_ci95[t]) == pytest.approx(expected)
  lost, gained = [], []
  for one in a:
    losses, gains = [], []
    for tau in range(tasks - 1):
      best = max(range(tau, tasks - 1), key=lambda t, tau=tau: means[t][tau])
      losses.append(one[best][tau] - one[-1][tau])
      gains.append(one[-1][tau] - one[tau][tau])
    lost.append(sum(losses) / len(losses))
    gained.append(sum(gains) / len(gains))
  assert found.forgetting == pytest.approx(plain(lost))
  assert found.backward_transfer == pytest.approx(plain(gained))


def test_forgetting_is_what_one_reads_off_the_table() -> None:
  """The best earlier mean of each column minus the last one."""
  found = metrics.measure(random_cells(200, 4))
  assert found.forgetting is not None
  columns = [found.matrix[tau:, tau] for tau in range(3)]
  assert found.forgetting[0] == pytest.approx(
    statistics.mean(max(each[:-1]) - each[-1] for each in columns)
  )


def test_metrics_of_two_sequences_are_those_by_hand() -> None:
  """The mean accuracies are .5, .9, .6 on task 1: .3 is forgotten; on task 2 .8, .7: .1 is."""
  one = [[0.4, NAN, NAN], [1.0, 0.8, NAN], [0.6, 0.7, 0.9]]
  other = [[0.6, NAN, NAN], [0.8, 0.8, NAN], [0.6, 0.7, 0.7]]
  found = metrics.measure(np.array([one, other]))
  assert found.forgetting is not None
  assert found.backward_transfer is not None
  assert found.forgetting[0] == pytest.approx((0.3 + 0.1) / 2)
  # Losses of the sequences: (.4 + .1) / 2 and (.2 + .1) / 2, a distance of .1: s = .1 / sqrt(2).
  assert found.forgetting[1] == pytest.approx(1.959964 * 0.1 / math.sqrt(2) / math.sqrt(2))
  assert found.backward_transfer[0] == pytest.approx((0.1 - 0.1) / 2)
  assert found.average.tolist() == pytest.approx([0.5, 0.85, 0.7])


def test_noise_is_not_forgetting() -> None:
  """Nothing changes with time here; maxima in single sequences would find 0.07 forgotten."""
  cells = np.random.default_rng(1).binomial(15, 0.7, (600, 5, 5)) / 15
  cells[:, np.triu_indices(5, 1)[0], np.triu_indices(5, 1)[1]] = NAN
  found = metrics.measure(cells)
  assert found.forgetting is not None
  assert abs(found.forgetting[0]) < 0.02
  per_sequence = np.nanmax(cells[:, :-1, :-1], axis=1) - cells[:, -1, :-1]
  assert per_sequence.mean() > 0.06


def test_with_pieces_of_one_task_nothing_is_forgotten() -> None:
  cells = np.array([[0.2, 0.4, 0.6], [0.4, 0.8, 0.6]])
  found = metrics.measure(cells)
  assert found.matrix.shape == (3, 1)
  assert found.matrix[:, 0].tolist() == pytest.approx([0.3, 0.6, 0.6])
  assert found.average.tolist() == found.matrix[:, 0].tolist()
  assert found.average_ci95.tolist() == pytest.approx(
    [plain(column)[1] for column in cells.T.tolist()]
  )
  assert found.forgetting is None
  assert found.backward_transfer is None


def test_a_single_task_and_sequence_have_no_forgetting_and_no_interval() -> None:
  found = metrics.measure(np.array([[[0.5]]]))
  assert (found.matrix.tolist(), found.average.tolist()) == ([[0.5]], [0.5])
  assert math.isnan(found.average_ci95[0])
  assert found.forgetting is None
