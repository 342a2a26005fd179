"""results.jsonl: what evaluations found, and what they were measured on.

A result is a dict, one line of the file; docs/evaluation.md lists its keys. The value of `measured`
holds all that changes the number besides the checkpoint. Two results can be compared if it is equal
in both. TensorFlow is not imported here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.settings.config import AugmentationConfig, Settings

Line = dict[str, Any]

# What every line has. Lines without it are skipped.
_TYPES: dict[str, type | tuple[type, ...]] = {
  'checkpoint': str,
  'step': int,
  'preset': str,
  'dataset': str,
  'accuracy': (int, float),
  'num_tasks': int,
  'measured': dict,
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
    content = path.read_bytes()
  except FileNotFoundError:
    return []
  except OSError as error:
    raise InputError(f'{path} cannot be read: {error.strerror}. Correct or delete it.') from error
  lines = [_parsed(text) for text in content.split(b'\n') if text.strip()]
  found = [line for line in lines if line]
  if len(found) < len(lines):
    logging.warning('%s: skipping %d malformed lines.', path, len(lines) - len(found))
  return found


def _parsed(text: bytes) -> Line | None:
  """Return the result in a line of text; None if there is none."""
  try:
    line = json.loads(text)
  except (ValueError, RecursionError):
    return None
  if not isinstance(line, dict):
    return None
  return line if all(isinstance(line.get(key), kind) for key, kind in _TYPES.items()) else None


def append(path: pathlib.Path, line: Line) -> None:
  """Add a result to a file, and wait until it is on the disk. NaN is written as null.

  If a crash has cut off the last line of the file, that line is ended first.

  Raises:
    OSError: The file cannot be written; it is left as it was.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  values = json.loads(json.dumps(line), parse_constant=lambda _: None)
  added = json.dumps(values).encode() + b'\n'
  with path.open('ab+', buffering=0) as file:
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


def measured_on(settings: Settings, dataset: str, split: str, stream: int) -> dict[str, Any]:
  """Return what an evaluation measures on: the value of `measured` of its results.

  Args:
    settings: The settings of the evaluator.
    dataset: The spec of the classes, such as 'omniglot:1150-1199'.
    split: The split of a dataset of tensorflow_datasets; '' for files.
    stream: The number of the stream of episodes of the preset.
  """
  config, data, episodes = settings.evaluation, settings.data, settings.episodes
  continual, seed = settings.continual, settings.run.seed
  sequence = continual and {
    'scenario': continual.scenario,
    'mixed_queries': continual.mixed_queries,
    'num_tasks': continual.eval_length,
  }
  return {
    'dataset': dataset,
    'split': split,
    'use_labels': None if ':' in dataset else data.use_labels,
    'shuffle_labels_seed': data.shuffle_labels_seed,
    'image_size': data.image_size,
    'augmentation': _augmentation(settings.test_augmentation),
    'ways': episodes.num_labels,
    'support_images': episodes.support_samples,
    'unlabeled_per_class': episodes.unlabeled_per_class,
    'balanced': episodes.balanced,
    'disjoint_query': episodes.disjoint_query,
    'query_images': config.batch_size * (config.num_batches if continual is None else 1),
    'query_batch_size': config.batch_size,
    'tasks': config.num_episodes,
    'seed': seed,
    'stream': None if seed is None else stream,
    'sequence': sequence,
  }


def _augmentation(config: AugmentationConfig) -> dict[str, float]:
  """Return the augmentations that are on, by name, without settings that have no effect."""
  found = {name: float(value) for name, value in dataclasses.asdict(config).items() if value}
  if not config.rotation_probability:
    found.pop('angle_range', None)
  if not config.photographic:
    found.pop('photographic_individually', None)
  return {} if set(found) == {'per_label'} else dict(sorted(found.items()))


def key(measured: dict[str, Any]) -> str:
  """Return a hashable form of `measured`: equal texts for equal values."""
  return json.dumps(measured, sort_keys=True)


def latest(lines: Iterable[Line]) -> list[Line]:
  """Return the result of the newest checkpoint for each preset and `measured`.

  Of several results of one checkpoint the last one counts.
  """
  by_step = sorted(lines, key=lambda line: line['step'])
  return list({(line['preset'], key(line['measured'])): line for line in by_step}.values())


def newest_by_preset(lines: Iterable[Line]) -> dict[str, Line]:
  """Return the result of the newest checkpoint by preset, of a run that was evaluated in one way.

  Raises:
    InputError: A preset has results that were measured on different things.
  """
  found: dict[str, Line] = {}
  for line in latest(lines):
    other = found.setdefault(line['preset'], line)
    if other is not line:
      texts = differences([other['measured'], line['measured']], ())
      raise InputError(
        f'the preset {line["preset"]!r} has results of several evaluations ({"; ".join(texts)}): '
        'leave one.'
      )
  return found


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
  names = [
    name
    for name in (several[0] if several else ())
    if name not in without and any(each.get(name) != several[0][name] for each in several)
  ]
  return [', '.join(f'{name}={_text(each.get(name))}' for name in names) for each in several]


def _text(value: Any) -> str:
  if isinstance(value, dict):
    return ' '.join(f'{name}:{each}' for name, each in value.items()) or 'none'
  return 'none' if value in (None, '') else str(value)
