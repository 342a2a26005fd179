"""The accuracy per class and the confused classes of results with `per_class`, as data frames.

Results of several runs are put together. Where one of them has no `per_class`, frames are empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hypertransformer.evaluation.per_class import COLUMNS, lower_end
from hypertransformer.evaluation.results import Line

LONGEST_NAME = 28  # letters
MOST_CLASSES = 30  # of a matrix, so that their names can be read


def _rows(lines: Sequence[Line], table: str) -> pd.DataFrame:
  """Return the rows of one of the two tables of `per_class`, those of all results."""
  tables = [line['per_class'][table] for line in lines if 'per_class' in line]
  columns = list(COLUMNS[table])
  rows = [row for each in tables for row in zip(*map(each.get, columns), strict=True)]
  return pd.DataFrame(rows if len(tables) == len(lines) else [], columns=columns)


def classes(lines: Sequence[Line]) -> pd.DataFrame:
  """Return name, tasks, queries, accuracy and ci95 of each class that was asked, worst first.

  The index is the class number. The interval is over the tasks of all results.
  """
  rows = _rows(lines, 'classes').dropna(subset='accuracy').fillna({'name': ''})
  rows = rows.astype({'tasks': float, 'queries': float, 'accuracy': float, 'ci95': float})
  groups = rows.groupby('class')
  found = groups.agg({'name': 'first', 'tasks': 'sum', 'queries': 'sum', 'accuracy': 'mean'})
  found['ci95'] = groups['ci95'].agg(np.linalg.norm) / groups.size()
  found['name'] = [
    shortened(' '.join([str(number), *(name or '').split()]))
    for number, name in found['name'].items()
  ]
  return found.sort_values('accuracy', kind='stable')


def pairs(lines: Sequence[Line]) -> pd.DataFrame:
  """Return how often one class is taken for another, the most confused pairs first.

  Returns:
    `true` and `predicted`, class numbers, and the names `true class` and `predicted class`; of the
    `queries` for which this was possible and the `tasks`, `count` queries or the fraction
    `confused`; `at least`, the lower end of its 95 % interval over tasks, by which the pairs are
    sorted. Pairs that not all results list are left out.
  """
  rows = _rows(lines, 'pairs').rename(columns={'available': 'queries'})
  groups = rows.astype({'count': float, 'queries': float, 'tasks': float}).groupby(
    ['true', 'predicted']
  )
  found = groups.sum()[groups.size() == len(lines)].reset_index()
  names = classes(lines)['name']
  for each in ('true', 'predicted'):
    found[f'{each} class'] = found[each].map(names).fillna('-')
  found['confused'] = (found['count'] / found['queries']).clip(0, 1)
  found['at least'] = lower_end(found['confused'], found['tasks'])
  return found.sort_values('at least', ascending=False, kind='stable')


def matrix(lines: Sequence[Line]) -> pd.DataFrame:
  """Return the rates of all pairs, true classes as rows; NaN for pairs that were in no task.

  It is empty if there are more classes than can be drawn.
  """
  names = classes(lines)['name'].sort_index()
  if len(names) > MOST_CLASSES:
    return pd.DataFrame()
  rates = pairs(lines).pivot_table('confused', 'true', 'predicted')
  rates = rates.reindex(index=names.index, columns=names.index)
  return rates.set_axis(names, axis=0).set_axis(names, axis=1)


def shortened(text: str, most: int = LONGEST_NAME) -> str:
  """Return a text without its middle if it has more letters than this."""
  half = (most - 3) // 2
  return text if len(text) <= most else f'{text[:half]}...{text[-half:]}'
