"""Accuracy per class, and which classes are confused: the value of `per_class` of a result.

The labels of a task stand for classes that differ from task to task; here they are counted by the
numbers of the classes in the dataset. Two classes can be confused only in tasks that contain both,
so a confusion is counted together with the queries for which it was possible. TensorFlow is not
imported here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypertransformer.data.arrays import ClassSet
from hypertransformer.evaluation.metrics import Z95, mean_and_ci95

MOST_PAIRS = 1000  # pairs of a result; a preset of up to 32 classes has all of them
_NUMBER = (int, float, type(None))
# The two tables and their columns, with the types of values.
COLUMNS: dict[str, dict[str, Any]] = {
  'classes': {
    'class': int, 'name': (str, type(None)), 'tasks': int, 'queries': int, 'accuracy': _NUMBER,
    'ci95': _NUMBER,
  },
  'pairs': dict.fromkeys(('true', 'predicted', 'count', 'available', 'tasks'), int),
}  # fmt: skip


def is_valid(found: Any) -> bool:
  """Tell whether a value from a file has all columns, of equal lengths, with possible values."""

  def fits(table: Any, kinds: dict[str, Any]) -> bool:
    if not isinstance(table, dict) or not all(isinstance(table.get(key), list) for key in kinds):
      return False
    return len({len(table[key]) for key in kinds}) == 1 and all(
      isinstance(value, kind) and (not isinstance(value, (int, float)) or value >= 0)
      for key, kind in kinds.items()
      for value in table[key]
    )

  return isinstance(found, dict) and all(fits(found.get(name), COLUMNS[name]) for name in COLUMNS)


def lower_end(rate: np.ndarray, tasks: np.ndarray) -> np.ndarray:
  """Return the lower ends of the 95 % Wilson intervals of rates in 0..1, over so many tasks.

  The answers to the queries of a task depend on one support set, so tasks are counted, not queries.
  """
  z2 = Z95**2 / tasks
  return (rate + z2 / 2 - np.sqrt(rate * (1 - rate) * z2 + z2**2 / 4)) / (1 + z2)


class ClassTally:
  """Counts the answers to the queries of tasks by their classes in the dataset."""

  def __init__(self, class_set: ClassSet) -> None:
    """Begin with no task.

    Args:
      class_set: The classes that tasks are sampled from.
    """
    self._numbers, self._names = np.sort(class_set.classes), class_set.arrays.names
    size = len(self._numbers)
    # For each true class and each class: the queries classified as it, the queries in tasks that
    # contain it, and these tasks.
    self._counts: np.ndarray = np.zeros((3, size, size), np.int64)
    self._accuracies: list[list[float]] = [[] for _ in range(size)]

  def add(self, classes: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
    """Add the answers of a task.

    Args:
      classes: int [K], the number of each class of the task, by its label.
      labels: int [Nq], the label of each query.
      predicted: int [Nq], the label that is predicted.
    """
    k = len(classes)
    table = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
    queries = table.sum(axis=1, keepdims=True)
    place = np.asarray(np.searchsorted(self._numbers, classes))
    counts = np.stack(np.broadcast_arrays(table, queries, queries > 0))
    self._counts[:, place[:, None], place] += counts
    for label in np.flatnonzero(queries):
      self._accuracies[place[label]].append(float(table[label, label] / queries[label, 0]))

  def fields(self) -> dict[str, Any]:
    """Return the value of `per_class`; see docs/evaluation.md."""
    estimates = [mean_and_ci95(each) if each else (None, None) for each in self._accuracies]
    _, queries, tasks = np.diagonal(self._counts, axis1=1, axis2=2).tolist()
    together = self._counts[2] * ~np.eye(len(self._numbers), dtype=bool)
    true, predicted = np.nonzero(together)
    count, available, in_tasks = self._counts[:, true, predicted]
    order = np.argsort(-lower_end(count / available, in_tasks), kind='stable')[:MOST_PAIRS]
    pairs = self._numbers[true], self._numbers[predicted], count, available, in_tasks
    numbers = self._numbers.tolist()
    names = [self._names[number] if self._names else None for number in numbers]
    classes = numbers, names, tasks, queries, *map(list, zip(*estimates, strict=True))
    return {
      'classes': dict(zip(COLUMNS['classes'], classes, strict=True)),
      'pairs': dict(zip(COLUMNS['pairs'], (each[order].tolist() for each in pairs), strict=True)),
      'num_pairs': len(true),
    }
