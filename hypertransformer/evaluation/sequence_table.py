"""Tables of the results on sequences of tasks: CSV for programs, and text for people.

Both are made from lines of results.jsonl alone.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from hypertransformer.data import files
from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import Measured, SequenceKind, forgetting_text
from hypertransformer.evaluation.metrics import percent
from hypertransformer.evaluation.results import Line

# What the results were measured on, besides the kind of the sequences.
MEASURED = tuple(field.name for field in dataclasses.fields(Measured) if field.name != 'sequence')
COLUMNS = (
  'checkpoint',
  'step',
  'preset',
  *SequenceKind._fields,
  'measure',
  'after_task',
  'task',
  'value',
  'ci95',
  *MEASURED,
)
NARROW, WIDE = 8, 16  # widths of the columns of a text, in characters


def write_csv(path: pathlib.Path, lines: Sequence[Line]) -> None:
  """Writes a CSV file with all results on sequences, in place of the one before.

  There is a row for each number. Where a checkpoint was evaluated several times on the same preset,
  and that was measured on the same, the newest line counts. Tasks are counted from 1. The file is
  written as a whole or not at all; if there are no results on sequences, nothing is written.

  Args:
    path: the file.
    lines: the lines of results.jsonl, the newest last.

  Raises:
    InputError: the file cannot be written.
  """
  newest = {
    (line['checkpoint'], line['preset'], measured.of_line(line)): line
    for line in lines
    if line.get('continual')
  }
  if not newest:
    return
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow(COLUMNS)
  for (checkpoint, preset, on), line in newest.items():
    kind = SequenceKind.of(line['continual'])
    table.writerows(
      [checkpoint, line['step'], preset, *kind, *row, *(on.value(name) for name in MEASURED)]
      for row in _rows(line['continual'])
    )
  with files.atomic_file(path) as file:
    file.write(text.getvalue().encode())


def _rows(found: Line) -> Iterator[tuple[Any, ...]]:
  """Yields the rows of one result: (measure, after_task, task, value, ci95).

  What does not apply is None, which is written as an empty cell.
  """
  for after, (means, ci95s) in enumerate(
    zip(found['matrix'], found['matrix_ci95'], strict=True), 1
  ):
    for task, (mean, ci95) in enumerate(zip(means, ci95s, strict=True), 1):
      if mean is not None:
        yield 'accuracy', after, task, mean, ci95
  for after, (mean, ci95) in enumerate(
    zip(found['average_accuracy'], found['average_accuracy_ci95'], strict=True), 1
  ):
    yield 'average_accuracy', after, None, mean, ci95
  for measure in ('forgetting', 'backward_transfer'):
    if found[measure] is not None:
      yield measure, found['num_tasks'], None, found[measure], found[f'{measure}_ci95']


def text(line: Line, ways: int, remark: str = '') -> str:
  """The result of a checkpoint on a preset as a text for a person.

  It has a headline, a table with a row after each task and a column for each task asked, and a
  summary.

  Args:
    line: the result, on sequences.
    ways: the classes of a task, if the line does not say so, as one of an older version.
    remark: what the headline says at its end.
  """
  found, on = line['continual'], measured.of_line(line)
  ways = on.ways if on.known('ways') else ways
  pieces = found['scenario'] == 'mini_batch'
  head = (
    f'{line["preset"]}, step {line["step"]}: {found["method"]}, {found["scenario"]}'
    f'{", mixed queries" if found.get("mixed_queries") else ""}, {ways}-way, '
    f'{on.support_images} support images per {"piece" if pieces else "task"}; '
    f'95 % intervals over {line["num_tasks"]} sequences{"; " if remark else ""}{remark}'
  )
  rows = [
    [
      'after',
      'chance',
      *([] if pieces else [f'task {task}' for task in _counted(found['matrix'])]),
      'average',
    ]
  ]
  rows += [_row(found, learned, ways, pieces) for learned in _counted(found['matrix'])]
  table = [
    ''.join(f'{cell:>{NARROW if column < 2 else WIDE}}' for column, cell in enumerate(row))
    for row in rows
  ]
  last = f'after all: {percent(line["accuracy"], line["ci95"])}'
  if line['accuracy_disjoint'] is not None:
    last += f' ({percent(line["accuracy_disjoint"], line["ci95_disjoint"])} without support images)'
  note = forgetting_text(found)
  return '\n'.join([head, *table, f'{last}, {note}' if note else last])


def _row(found: Line, learned: int, num_labels: int, pieces: bool) -> list[str]:
  """The cells of the row after so many learned tasks.

  They are the number of tasks, the accuracy of chance, that on each task, and the average.
  """
  index = learned - 1
  classes = num_labels * (learned if found['scenario'] == 'class_incremental' else 1)
  cells = [] if pieces else zip(found['matrix'][index], found['matrix_ci95'][index], strict=True)
  return [
    str(learned),
    percent(1 / classes),
    *('' if mean is None else percent(mean, ci95) for mean, ci95 in cells),
    percent(found['average_accuracy'][index], found['average_accuracy_ci95'][index]),
  ]


def _counted(rows: Sequence[Any]) -> range:
  """The numbers of the rows, counted from 1."""
  return range(1, len(rows) + 1)
