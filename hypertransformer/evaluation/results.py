"""results.jsonl: what evaluations found, and what they were measured on.

A result is a dict, one line of the file; docs/evaluation.md lists its keys. The value of `measured`
holds all that changes the number besides the checkpoint. Two results can be compared if it is equal
in both. TensorFlow is not imported here.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import logging

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.evaluation import per_class

Line = dict[str, Any]
_LARGEST = 1 << 30  # bytes of a file; a line has about a thousand, or 100,000 with --per_class

# The types in a line; lines with others are skipped. A tuple is a choice, a list has any number of
# values of one type, and what may be None may be missing.
_PERHAPS = (int, float, None)
_SEQUENCE = {'scenario': str, 'mixed_queries': bool, 'num_tasks': int}
_MEANS = {
  'matrix': [[_PERHAPS]],
  'average_accuracy': [_PERHAPS],
  'forgetting': _PERHAPS,
  'backward_transfer': _PERHAPS,
}
_TYPES: dict[str, Any] = {
  'checkpoint': str,
  'step': int,
  'preset': str,
  'dataset': str,
  'accuracy': (int, float),
  'num_tasks': int,
  'measured': {
    'dataset': str,
    'ways': int,
    'support_images': int,
    'unlabeled_per_class': int,
    'sequence': (_SEQUENCE, None),
  },
  'continual': (
    {**_SEQUENCE, **_MEANS, **{f'{name}_ci95': types for name, types in _MEANS.items()}},
    None,
  ),
  'ci95': _PERHAPS,
  'accuracy_disjoint': _PERHAPS,
  'ci95_disjoint': _PERHAPS,
  'nearest_pixels': _PERHAPS,
  'nearest_pixels_ci95': _PERHAPS,
}


def file_of(log_dir: str | os.PathLike[str]) -> pathlib.Path:
  """Return the path of results.jsonl of a run, given its --train_log_dir."""
  return pathlib.Path(log_dir) / 'eval' / 'results.jsonl'


def read(path: pathlib.Path) -> list[Line]:
  """Return all results in a file, oldest first; none if there is no such file.

  Malformed lines, such as one that a crash has cut off, are skipped with a warning.

  Raises:
    InputError: The file exists and cannot be read.
  """
  try:
    content = files.read_small(path, _LARGEST)
  except FileNotFoundError:
    return []
  except OSError as error:
    raise InputError(f'{path} cannot be read: {error.strerror}. Correct or delete it.') from error
  lines = [parsed(text) for text in content.split(b'\n') if text.strip()]
  found = [line for line in lines if line]
  if len(found) < len(lines):
    logging.warning('%s: skipping %d malformed lines.', path, len(lines) - len(found))
  return found


def parsed(text: bytes) -> Line | None:
  """Return the result in a line of the file; None if the line is malformed."""
  try:
    line = json.loads(text, parse_int=_integer)
  except files.JSON_ERRORS:
    return None
  if not _fits(line, _TYPES):
    return None
  # Before there was a choice, there were no statistics of the support sets.
  line['measured'] = {'query_statistics': 'batch', 'sequence': None, **line['measured']}
  is_whole = _is_whole(line['measured']['sequence'], line.get('continual')) and (
    'per_class' not in line or per_class.is_valid(line['per_class'])
  )
  counts = min(line['step'], line['num_tasks'], line['measured']['ways'] - 1)
  return line if counts >= 0 and 0 <= line['accuracy'] <= 1 and is_whole else None


def _integer(digits: str) -> int:
  value = int(digits)
  if abs(value) >= 1 << 63:
    raise ValueError('the number is too large')
  return value


def _fits(value: Any, types: Any) -> bool:
  """Return whether a value has these types; see _TYPES."""
  if isinstance(types, tuple):
    return any(_fits(value, each) for each in types)
  if isinstance(types, list):
    return isinstance(value, list) and all(_fits(each, types[0]) for each in value)
  if isinstance(types, dict):
    return isinstance(value, dict) and all(_fits(value.get(key), types[key]) for key in types)
  return value is None if types is None else isinstance(value, types)


def _is_whole(sequence: dict[str, Any] | None, found: dict[str, Any] | None) -> bool:
  """Return whether there are all numbers on a sequence; none if there is no sequence."""
  if sequence is None or found is None:
    return sequence is found
  tables = found['matrix'], found['matrix_ci95']
  averages = found['average_accuracy'], found['average_accuracy_ci95']
  lengths = {len(each) for each in (*tables, *averages)}
  widths = {len(row) for table in tables for row in table}
  tasks = sequence['num_tasks']
  return lengths == {tasks} and widths == {1 if sequence['scenario'] == 'mini_batch' else tasks}


def as_json(line: Line) -> str:
  """Return a result as a line of the file, without its end. NaN becomes null."""
  return json.dumps(json.loads(json.dumps(line), parse_constant=lambda _: None))


def append(path: pathlib.Path, line: Line) -> None:
  """Add a result to a file, and wait until it is on the disk.

  If a crash has cut off the last line of the file, that line is ended first.

  Raises:
    OSError: The file cannot be written; it is left as it was.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  added = as_json(line).encode() + b'\n'
  with open(path, 'ab+', buffering=0, opener=files.no_link) as file:
    size = file.seek(0, os.SEEK_END)
    if size:
      file.seek(size - 1)
      added = b'\n' + added if file.read(1) != b'\n' else added
    try:
      while added:
        added = added[file.write(added) :]
      os.fsync(file.fileno())
    except BaseException:
      file.truncate(size)
      raise


def key(measured: dict[str, Any]) -> str:
  """Return a hashable form of `measured`: equal texts for equal values."""
  return json.dumps(measured, sort_keys=True)


def latest(lines: Iterable[Line]) -> list[Line]:
  """Return the result of the newest checkpoint for each preset and `measured`.

  Of several results of one checkpoint the last one counts.
  """
  by_step = sorted(lines, key=lambda line: line['step'])
  return list({(line['preset'], key(line['measured'])): line for line in by_step}.values())


def is_of_elsewhere(line: Line) -> bool:
  """Tell whether a result is of a checkpoint outside of the directory of the run."""
  return os.path.dirname(line['checkpoint']) != ''


def task(measured: dict[str, Any]) -> str:
  """Describe the tasks of an evaluation, such as '20-way 1-shot'."""
  ways, unlabeled = measured['ways'], measured['unlabeled_per_class']
  shots, more = divmod(measured['support_images'] - ways * unlabeled, ways)
  text = f'{ways}-way, {measured["support_images"]} support images'
  if not more:
    text = f'{ways}-way {shots}-shot'
  return f'{text}, {unlabeled} more per class without label' if unlabeled else text


def differences(
  several: Sequence[dict[str, Any]],
  without: Iterable[str] = ('dataset', 'ways', 'support_images', 'unlabeled_per_class'),
) -> list[str]:
  """Describe for each of several `measured` in what it differs from the others.

  Args:
    several: The values of `measured`.
    without: Keys to leave out; by default those that the report names anyway.

  Returns:
    Texts such as 'seed=1, tasks=400'; '' where there is no difference.
  """
  first = several[0] if several else {}
  names = [name for name in first if name not in without]
  names = [name for name in names if any(each.get(name) != first[name] for each in several)]
  return [
    ', '.join(f'{name}={_text(each.get(name)) or "none"}' for name in names) for each in several
  ]


def continual_table(lines: Iterable[Line]) -> str:
  """Return all results on sequences as CSV, with a row for each number; '' if there are none.

  Of several results of a checkpoint and preset, measured on the same, the last one counts.
  """
  newest = {
    (line['checkpoint'], line['preset'], key(line['measured'])): line
    for line in lines
    if line.get('continual')
  }
  rows = [
    {name: line[name] for name in ('checkpoint', 'step', 'preset')}
    | {name: line['continual'][name] for name in ('scenario', 'mixed_queries', 'num_tasks')}
    | row
    | {name: _text(value) for name, value in line['measured'].items() if name != 'sequence'}
    for line in newest.values()
    for row in _continual_rows(line['continual'])
  ]
  text = io.StringIO()
  if rows:
    names = dict.fromkeys(name for row in rows for name in row)  # of all versions
    table = csv.DictWriter(text, names, lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
  return text.getvalue()


def _continual_rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
  """Yield the numbers of a result on sequences; tasks are counted from 1."""

  def row(measure: str, after: int, task: int | None, mean: Any, ci95: Any) -> dict[str, Any]:
    return {
      'measure': measure, 'after_task': after, 'task': task, 'value': mean, 'ci95': ci95,
    }  # fmt: skip

  for after, pairs in enumerate(zip(found['matrix'], found['matrix_ci95'], strict=True), 1):
    for task, (mean, ci95) in enumerate(zip(*pairs, strict=True), 1):
      if mean is not None:
        yield row('accuracy', after, task, mean, ci95)
  averages = zip(found['average_accuracy'], found['average_accuracy_ci95'], strict=True)
  for after, (mean, ci95) in enumerate(averages, 1):
    yield row('average_accuracy', after, None, mean, ci95)
  for name in ('forgetting', 'backward_transfer'):
    if found.get(name) is not None:
      yield row(name, found['num_tasks'], None, found[name], found.get(f'{name}_ci95'))


def _text(value: Any) -> Any:
  if isinstance(value, dict):
    return ' '.join(
      f'{name}={each:g}' if isinstance(each, float) else f'{name}={each}'
      for name, each in value.items()
    )
  return value
