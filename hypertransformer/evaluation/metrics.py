"""What is computed from the accuracies of a checkpoint, and how it is written as text.

A single task is a sequence of one task. Letters, as in docs/spec/continual.md, section 2: s is a
sequence, t the number of tasks learned so far, tau <= t the task whose queries are asked, and T the
number of tasks of a sequence. a[s, t, tau] is the accuracy on the queries of task tau after task t,
and A[t, tau] is its mean over the sequences. Accuracies are in 0..1.

A new metric is added here (`fields`, `scalars` and `text`) and in the reports. Only NumPy is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hypertransformer.settings.config import ContinualConfig

Estimate = tuple[float, float]  # a mean, and the half-width of its 95 % confidence interval
Z95 = 1.959964  # 95 % of a normal distribution lie within +- this many standard deviations


class Scores(NamedTuple):
  """The accuracies of N sequences of T tasks, or of N single tasks (T = 1).

  Attributes:
    cells: a[s, t, tau], float [N, T, T], NaN where tau > t; in mini_batch [N, T, 1], after each
      piece.
    disjoint: The average accuracy after the last task over the query images that are not support
      images, float [N]; NaN where a task has no such images.
    inductive: The average accuracy after the last task with batch-norm statistics of the support
      sets, so that the answer to a query depends on no other one, float [N].
    per_class: The accuracy of each class, as ClassTally.fields gives it; None if not asked for.
  """

  cells: np.ndarray
  disjoint: np.ndarray
  inductive: np.ndarray
  per_class: dict[str, Any] | None = None


def mean_and_ci95(values: Sequence[float] | np.ndarray) -> Estimate:
  """Return the mean of independent values and the half-width of its 95 % confidence interval.

  The half-width of a single value is NaN.
  """
  array = np.asarray(values, np.float64)
  if len(array) < 2:
    return float(array.mean()), math.nan
  return float(array.mean()), float(Z95 * array.std(ddof=1) / math.sqrt(len(array)))


def percent(mean: float | None, ci95: float | None = None, digits: int = 1) -> str:
  """Format a fraction in percent: 0.5 and 0.025 give '50.0 ± 2.5 %'.

  Args:
    mean: The fraction, such as an accuracy in 0..1; None gives '-'.
    ci95: The half-width of its confidence interval; None or NaN omits it.
    digits: The number of digits after the decimal point.
  """
  if mean is None:
    return '-'
  interval = '' if ci95 is None or math.isnan(ci95) else f' ± {100 * ci95:.{digits}f}'
  return f'{100 * mean:.{digits}f}{interval} %'


def fields(scores: Scores, continual: ContinualConfig | None) -> dict[str, Any]:
  """Return what a line of results.jsonl says of the accuracies; see docs/evaluation.md.

  Args:
    scores: The accuracies.
    continual: The scenario and the method of sequences; None for single tasks.
  """
  accuracy, ci95 = mean_and_ci95(scores.cells[:, -1].mean(axis=1))
  outside = scores.disjoint[~np.isnan(scores.disjoint)]
  disjoint, disjoint_ci95 = mean_and_ci95(outside) if len(outside) else (None, None)
  inductive, inductive_ci95 = mean_and_ci95(scores.inductive)
  found: dict[str, Any] = {
    'accuracy': accuracy,
    'ci95': ci95,
    'num_tasks': len(scores.cells),
    'accuracy_disjoint': disjoint,
    'ci95_disjoint': disjoint_ci95,
    'accuracy_inductive': inductive,
    'ci95_inductive': inductive_ci95,
  }
  if scores.per_class is not None:
    found['per_class'] = scores.per_class
  if continual is not None:
    found['continual'] = {
      'scenario': continual.scenario,
      'method': continual.method,
      'mixed_queries': continual.mixed_queries,
      'num_tasks': scores.cells.shape[1],
      **matrix_fields(scores.cells),
    }
  return found


def matrix_fields(cells: np.ndarray) -> dict[str, Any]:
  """Return the accuracy matrix, the average after each task, forgetting and backward transfer.

  Keys that end in _ci95 are half-widths of intervals over sequences. Forgetting and backward
  transfer are None with a single task.

  Args:
    cells: As in `Scores`.
  """
  matrix, matrix_ci95 = _over_sequences(cells)
  average, average_ci95 = _over_sequences(np.nanmean(cells, axis=2))
  several = cells.shape[2] > 1
  lost, lost_ci95 = forgetting(cells) if several else (None, None)
  transfer, transfer_ci95 = backward_transfer(cells) if several else (None, None)
  return {
    'matrix': matrix.tolist(),
    'matrix_ci95': matrix_ci95.tolist(),
    'average_accuracy': average.tolist(),
    'average_accuracy_ci95': average_ci95.tolist(),
    'forgetting': lost,
    'forgetting_ci95': lost_ci95,
    'backward_transfer': transfer,
    'backward_transfer_ci95': transfer_ci95,
  }


def forgetting(cells: np.ndarray) -> Estimate:
  """Compute how much accuracy the earlier tasks have lost at the end, compared with their best.

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
  """Compute how learning the later tasks changes the accuracy on the earlier ones.

  This is the mean over tau < T of A[T, tau] - A[tau, tau], after Lopez-Paz & Ranzato 2017,
  "Gradient Episodic Memory", section 2. It is negative if tasks are forgotten.

  Args:
    cells: a[s, t, tau], float [sequences, T, T], with T at least 2.
  """
  past = np.arange(cells.shape[1] - 1)
  return mean_and_ci95((cells[:, -1, past] - cells[:, past, past]).mean(axis=1))


def _over_sequences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return mean and half-width over the first axis, for values [sequences, ...]."""
  flat = np.array([mean_and_ci95(column) for column in values.reshape(len(values), -1).T])
  return flat[:, 0].reshape(values.shape[1:]), flat[:, 1].reshape(values.shape[1:])


def scalars(preset: str, found: dict[str, Any]) -> dict[str, float]:
  """Return the scalars for TensorBoard by tag.

  Args:
    preset: The name of the preset.
    found: The result, as `fields` gives it.
  """
  tags = {
    f'eval_accuracy/{preset}': found['accuracy'],
    f'eval_accuracy_disjoint/{preset}': found['accuracy_disjoint'],
    f'eval_accuracy_inductive/{preset}': found['accuracy_inductive'],
  }
  if continual := found.get('continual'):
    for number, mean in enumerate(continual['average_accuracy'], 1):
      tags[f'eval_average_accuracy/{preset}/after_task_{number}'] = mean
    for name in ('forgetting', 'backward_transfer'):
      tags[f'eval_{name}/{preset}'] = continual[name]
  return {tag: value for tag, value in tags.items() if value is not None}


def text(line: dict[str, Any]) -> str:
  """Return a line of results.jsonl as one line of text."""
  parts = [f'{line["preset"]}: {percent(line["accuracy"], line["ci95"], digits=2)}']
  unit, queries = 'tasks', f'{line["num_queries"]} queries'
  if continual := line.get('continual'):
    unit, queries = 'sequences', f'{queries} of a task'
    parts[0] += f' after {continual["num_tasks"]} tasks'
    for name in ('forgetting', 'backward_transfer'):
      if continual[name] is not None:
        parts.append(f'{name} {percent(continual[name], continual[f"{name}_ci95"])}')
  elif line['accuracy_disjoint'] is not None:
    disjoint = percent(line['accuracy_disjoint'], line['ci95_disjoint'], digits=2)
    parts[0] += f' ({disjoint} without support images)'
  inductive = percent(line['accuracy_inductive'], line['ci95_inductive'], digits=2)
  parts.insert(1, f'inductive {inductive}')
  return ', '.join([*parts, f'{line["num_tasks"]} {unit} x {queries}'])
