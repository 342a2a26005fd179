"""The accuracy per class and the confused pairs of a few tasks, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.evaluation import per_class
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.evaluation.per_class import ClassTally

# The classes of each task by label, the labels of its queries, and what is predicted.
TASKS = (
  ([7, 3], [0, 0, 1, 1], [0, 1, 1, 1]),
  ([3, 7], [0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]),
  ([5, 7], [0, 1], [1, 1]),
  ([5, 3], [1], [1]),  # class 5 has no query here
)


@pytest.fixture
def tally() -> ClassTally:
  ones = np.ones(9, np.int64)
  names = tuple('abcdefghi')
  arrays = ClassArrays('x', np.zeros((9, 2, 2, 1), np.uint8), np.arange(9), ones, names)
  made = ClassTally(ClassSet(arrays, np.array([7, 3, 8, 5])))
  for task in TASKS:
    made.add(*map(np.array, task))
  return made


def test_classes_and_pairs_are_those_by_hand(tally: ClassTally) -> None:
  """Class 8 is in no task; a pair counts only the queries of tasks that contain both classes."""
  found = tally.fields()
  mean, ci95 = mean_and_ci95([1.0, 0.5, 1.0])
  assert found['classes'] == {
    'class': [3, 5, 7, 8],
    'name': ['d', 'f', 'h', 'i'],
    'tasks': [3, 1, 3, 0],
    'queries': [5, 1, 7, 0],
    'accuracy': [mean, 0.0, mean, None],
    'ci95': [ci95, pytest.approx(np.nan, nan_ok=True), ci95, None],
  }
  assert list(zip(*found['pairs'].values(), strict=True)) == [
    (5, 7, 1, 1, 1), (3, 7, 1, 4, 2), (7, 3, 1, 6, 2), (3, 5, 0, 1, 1), (7, 5, 0, 1, 1),
  ]  # fmt: skip
  assert found['num_pairs'] == 5
  assert per_class.is_valid(json.loads(json.dumps(found).replace('NaN', 'null')))


def test_of_many_pairs_the_most_confused_are_kept(
  tally: ClassTally, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(per_class, 'MOST_PAIRS', 2)
  found = tally.fields()
  assert (found['pairs']['true'], found['num_pairs']) == ([5, 3], 5)


def test_the_lower_end_is_that_of_wilson() -> None:
  """5 of 10 have the interval from 0.2366 to 0.7634; nothing of anything begins at 0."""
  rates, tasks = np.array([0.5, 0.0, 1.0]), np.array([10, 7, 1])
  expected = [0.2366, 0.0, 1 / (1 + 1.959964**2)]
  assert per_class.lower_end(rates, tasks) == pytest.approx(expected, abs=5e-5)
