"""What a result was measured on: all that changes the number besides the checkpoint.

Results are told apart by it, everywhere: in results.jsonl, in the report, in best/, in
continual.csv, and where an evaluator asks what is done already. TensorFlow is not imported here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeGuard

from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.evaluation.metrics import percent
from hypertransformer.evaluation.results import Line
from hypertransformer.settings.config import (
  AugmentationConfig,
  ContinualConfig,
  DataConfig,
  EpisodeConfig,
  Settings,
)

UNKNOWN = 'unknown'  # the value of what an older version did not write down
KNOWN_TO_ALL_VERSIONS = ('dataset', 'tasks', 'query_images', 'sequence')


class SequenceKind(NamedTuple):
  """Which kind of sequences was evaluated.

  The names of the fields are those in results.jsonl, and those of columns in continual.csv.

  Attributes:
    scenario: the continual scenario, such as 'class_incremental'.
    mixed_queries: whether a query batch has images of all tasks so far.
    num_tasks: how many tasks a sequence has.
  """

  scenario: str
  mixed_queries: bool
  num_tasks: int

  @classmethod
  def of(cls, continual: dict[str, Any]) -> SequenceKind:
    """The kind of the sequences that a result is about; continual: its `Result.continual`."""
    # Lines of older versions have no such key: batches were never mixed.
    mixed_queries = continual.get('mixed_queries', False)
    return cls(continual['scenario'], mixed_queries, continual['num_tasks'])


@dataclasses.dataclass(frozen=True)
class Measured:
  """What a result was measured on. Results can be compared if these are equal.

  The fields are those of the object `measured` in a line of results.jsonl. A field that an older
  version did not write down is UNKNOWN, which is equal to itself only: results of older versions
  are never taken for results of today.

  Attributes:
    dataset: the spec of the classes, such as 'omniglot:1150-1199'.
    split: the split of a dataset of tensorflow_datasets; '' for files.
    use_labels: how many classes are used of a dataset whose spec names none; None if it names them.
    shuffle_labels_seed: the seed of the permutation of the classes; 0 leaves them in order.
    image_size: height and width of the images as the CNN sees them, in pixels.
    augmentation: the random changes of the images, (name, value) of those that are on.
    ways: the classes of a task.
    support_images: the support images of a task, over all its classes.
    unlabeled_per_class: support images of each class whose label is hidden.
    balanced: whether all classes of a task have the same number of images.
    disjoint_query: whether no query image may be a support image.
    query_images: the query images of a task, over all its batches.
    query_batch_size: the images of one query batch.
    tasks: how many tasks, or sequences of tasks, were evaluated.
    seed: the seed of the run; None if none was given, so that tasks were drawn at random.
    stream: the number of the stream of that seed from which the tasks are, which comes from the
      preset's place in --eval_datasets; None without a seed.
    sequence: the kind of the sequences; None for independent tasks.
  """

  dataset: str
  split: str
  use_labels: int | None
  shuffle_labels_seed: int
  image_size: int
  augmentation: tuple[tuple[str, float], ...]
  ways: int
  support_images: int
  unlabeled_per_class: int
  balanced: bool
  disjoint_query: bool
  query_images: int
  query_batch_size: int
  tasks: int
  seed: int | None
  stream: int | None
  sequence: SequenceKind | None

  def json(self) -> dict[str, Any]:
    """The fields as values of JSON."""
    fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    if self.known('augmentation'):
      fields['augmentation'] = dict(self.augmentation)
    if self.sequence is not None and self.known('sequence'):
      fields['sequence'] = self.sequence._asdict()
    return fields

  def known(self, *fields: str) -> bool:
    """Whether all these fields were written down."""
    return all(getattr(self, field) != UNKNOWN for field in fields)

  def episodes(self) -> EpisodeConfig | None:
    """How a task was drawn, with one query batch; None if that was not written down."""
    if not self.known(*(field.name for field in dataclasses.fields(self))):
      return None
    return EpisodeConfig(
      num_labels=self.ways,
      support_samples=self.support_images,
      query_samples=self.query_batch_size,
      balanced=self.balanced,
      unlabeled_per_class=self.unlabeled_per_class,
      disjoint_query=self.disjoint_query,
    )

  def task(self) -> str:
    """The kind of the tasks as a text for a person, such as '20-way 1-shot'."""
    if not self.known('ways', 'support_images'):
      return 'number of support images unknown'
    labeled = self.support_images - self.ways * self.unlabeled_per_class
    shots, more = divmod(labeled, self.ways)
    text = f'{self.ways}-way {shots}-shot'
    if more:
      text = f'{self.ways}-way, {self.support_images} support images'
    if self.unlabeled_per_class:
      text += f', {self.unlabeled_per_class} more per class without label'
    return text

  def value(self, name: str) -> Any:
    """The value of a field as it is shown in tables: a number, a text, or None."""
    value = getattr(self, name)
    if name == 'augmentation' and value != UNKNOWN:
      return ' '.join(f'{change}={size:g}' for change, size in value)
    if name == 'sequence' and isinstance(value, SequenceKind):
      return f'{value.num_tasks} {value.scenario}{" mixed" if value.mixed_queries else ""}'
    return value

  def text(self, name: str) -> str:
    """A field as a text for a person, 'name=value'."""
    value = self.value(name)
    return f'{name}={"none" if value in (None, "") else value}'


# What texts name by its own name; the task and its classes have words of their own.
_OTHERS = tuple(
  field.name
  for field in dataclasses.fields(Measured)
  if field.name not in ('dataset', 'ways', 'support_images', 'unlabeled_per_class')
)

_NONE = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
  'dataset': (str,),
  'split': (str,),
  'use_labels': (int, _NONE),
  'shuffle_labels_seed': (int,),
  'image_size': (int,),
  'augmentation': (tuple,),
  'ways': (int,),
  'support_images': (int,),
  'unlabeled_per_class': (int,),
  'balanced': (bool,),
  'disjoint_query': (bool,),
  'query_images': (int,),
  'query_batch_size': (int,),
  'tasks': (int,),
  'seed': (int, _NONE),
  'stream': (int, _NONE),
  'sequence': (SequenceKind, _NONE),
}


def measured_on(
  settings: Settings, dataset: str, split: str, stream: int, preset: str = ''
) -> Measured:
  """What an evaluator with these settings measures on.

  Args:
    settings: those of the run. For sequences of tasks, the number of query batches must be 1.
    dataset: the spec of the classes.
    split: the split of a dataset of tensorflow_datasets; '' for files.
    stream: the number of the stream from which the preset's episodes are.
    preset: the name of the preset, on which the augmentation depends.
  """
  config, data, episodes = settings.evaluation, settings.data, settings.episodes
  seed = settings.run.seed
  return Measured(
    dataset=dataset,
    split=split,
    use_labels=use_labels(dataset, data),
    shuffle_labels_seed=data.shuffle_labels_seed,
    image_size=data.image_size,
    augmentation=_changes(settings.augmentation_of(preset)),
    ways=episodes.num_labels,
    support_images=episodes.support_samples,
    unlabeled_per_class=episodes.unlabeled_per_class,
    balanced=episodes.balanced,
    disjoint_query=episodes.disjoint_query,
    query_images=config.num_batches * config.batch_size,
    query_batch_size=config.batch_size,
    tasks=config.num_episodes,
    seed=seed,
    stream=None if seed is None else stream,
    sequence=_sequence(settings.continual),
  )


def use_labels(dataset: str, data: DataConfig) -> int | None:
  """How many classes are used of a dataset whose spec names none; None if it names them."""
  return None if ':' in dataset else data.use_labels


def _sequence(continual: ContinualConfig | None) -> SequenceKind | None:
  if continual is None:
    return None
  return SequenceKind(continual.scenario, continual.mixed_queries, continual.eval_length)


def _changes(config: AugmentationConfig) -> tuple[tuple[str, float], ...]:
  """The changes that are on, by name: a probability of 0 and what belongs to it is left out."""
  found = {
    field.name: float(getattr(config, field.name))
    for field in dataclasses.fields(config)
    if getattr(config, field.name)
  }
  if not config.rotation_probability:
    found.pop('angle_range', None)
  if not config.photographic:
    found.pop('photographic_individually', None)
  if set(found) == {'per_label'}:
    return ()
  return tuple(sorted(found.items()))


def of_line(line: dict[str, Any]) -> Measured:
  """What the result in a line of results.jsonl was measured on.

  Args:
    line: a line of ResultFile.read; one of an older version has no object `measured`.

  Raises:
    KeyError, TypeError, ValueError: the line is not that of a result.
  """
  # What every version wrote down.
  found: dict[str, Any] = {
    'dataset': line['dataset'],
    'tasks': line['num_tasks'],
    'query_images': line['num_queries'],
    'sequence': kind(line.get('continual')),
  }
  found |= line.get('measured') or {}
  if isinstance(found.get('augmentation'), dict):
    found['augmentation'] = tuple(sorted(found['augmentation'].items()))
  if isinstance(found['sequence'], dict):
    found['sequence'] = SequenceKind(**found['sequence'])
  made = Measured(**{name: found.get(name, UNKNOWN) for name in _TYPES})
  for name, types in _TYPES.items():
    value = getattr(made, name)
    if type(value) not in types and not (value == UNKNOWN):
      raise TypeError(f'{name} is {value!r}')
  kind_types = () if made.sequence is None else tuple(map(type, made.sequence))
  sizes = () if made.augmentation == UNKNOWN else (size for _, size in made.augmentation)
  if kind_types not in ((), (str, bool, int)) or any(type(each) is not float for each in sizes):
    raise TypeError(f'measured is {made}')
  if made.known('ways') and made.ways < 1:
    raise ValueError(f'ways is {made.ways}')
  made.episodes()  # checks what belongs together
  return made


def kind(continual: dict[str, Any] | None) -> SequenceKind | None:
  """The kind of the sequences that a result is about, None if it is about independent tasks.

  Args:
    continual: what `Result.continual` holds.
  """
  return SequenceKind.of(continual) if continual else None


def compared(first: Measured, second: Measured) -> tuple[str, str]:
  """Says of each of two how it differs from the other one."""
  fields = [field.name for field in dataclasses.fields(Measured)]
  names = [name for name in fields if getattr(first, name) != getattr(second, name)]
  texts = [', '.join(each.text(name) for name in names) for each in (first, second)]
  return texts[0], texts[1]


def differences(several: Sequence[Measured]) -> list[str]:
  """Says of each of several what the others do not have in common with it.

  The classes, ways and support images are not named: they have texts of their own.
  """
  names = [name for name in _OTHERS if len({getattr(each, name) for each in several}) > 1]
  return [', '.join(each.text(name) for name in names) for each in several]


# The rest is of the old form of results, until the reports no longer use it.


def forgetting_text(continual: dict[str, Any]) -> str:
  """Forgetting and backward transfer as a text for a person.

  Args:
    continual: what `Result.continual` holds.

  Returns:
    'forgetting ..., backward transfer ...', or '' where neither is defined.
  """
  if continual['forgetting'] is None:
    return ''
  forgetting = percent(continual['forgetting'], continual['forgetting_ci95'])
  transfer = percent(continual['backward_transfer'], continual['backward_transfer_ci95'])
  return f'forgetting {forgetting}, backward transfer {transfer}'


@dataclasses.dataclass(frozen=True)
class Result:
  """The result of one checkpoint on one preset, which is one line of results.jsonl.

  It is about independent tasks, or about sequences of tasks. Accuracies are in 0..1.

  Attributes:
    checkpoint: the name of the checkpoint, such as 'model-20000'; of one that is not in the folder
      of the run, its whole path without ending.
    checkpoint_sha256: the SHA-256 of its .index file, which holds checksums of all its numbers.
    step: how many updates the checkpoint has seen.
    preset: the name of the preset.
    measured: what it was measured on.
    accuracy: the mean accuracy over tasks. Of sequences: the mean over sequences of the average
      accuracy after the last task.
    ci95: the half-width of its 95 % confidence interval.
    num_tasks: how many tasks were evaluated. Of sequences: how many sequences.
    accuracy_disjoint: the accuracy over the query images that are not support images; None if
      there are none.
    ci95_disjoint: the half-width of its 95 % confidence interval.
    seconds: how long the evaluation took, by the clock on the wall.
    continual: of sequences only: the content of metrics.ContinualMetrics.json, and
      scenario, method, mixed_queries and num_tasks (here the number of tasks of a sequence).
  """

  checkpoint: str
  checkpoint_sha256: str
  step: int
  preset: str
  measured: Measured
  accuracy: float
  ci95: float
  num_tasks: int
  accuracy_disjoint: float | None
  ci95_disjoint: float | None
  seconds: float
  continual: dict[str, Any] | None = None

  @property
  def num_queries(self) -> int:
    """How many query images a task has."""
    return self.measured.query_images

  def line(self) -> Line:
    """The result as it is read from results.jsonl. NaN (the interval of a single task) is None."""
    fields = {
      'checkpoint': self.checkpoint,
      'step': self.step,
      'preset': self.preset,
      'dataset': self.measured.dataset,
      'accuracy': self.accuracy,
      'ci95': self.ci95,
      'num_tasks': self.num_tasks,
      'num_queries': self.num_queries,
      'accuracy_disjoint': self.accuracy_disjoint,
      'ci95_disjoint': self.ci95_disjoint,
      'seconds': self.seconds,
      'checkpoint_sha256': self.checkpoint_sha256,
      'measured': self.measured.json(),
    }
    if self.continual is not None:
      fields['continual'] = self.continual
    return _null_for_nan(fields)

  def json(self) -> str:
    """The result as one line of JSON."""
    return json.dumps(self.line())

  def __str__(self) -> str:
    text = f'{self.preset}: {percent(self.accuracy, self.ci95, digits=2)}'
    if self.continual is not None:
      parts = [
        f'{text} after {self.continual["num_tasks"]} tasks',
        forgetting_text(self.continual),
        f'{self.num_tasks} sequences x {self.num_queries} queries of a task',
      ]
      return ', '.join(filter(None, parts))
    if self.accuracy_disjoint is not None:
      text += (
        f' ({percent(self.accuracy_disjoint, self.ci95_disjoint, digits=2)} without support images)'
      )
    return f'{text}, {self.num_tasks} tasks x {self.num_queries} queries'


def _null_for_nan(value: Any) -> Any:
  """A copy of a JSON value in which every NaN is None."""
  if isinstance(value, dict):
    return {key: _null_for_nan(each) for key, each in value.items()}
  if isinstance(value, list):
    return [_null_for_nan(each) for each in value]
  return None if isinstance(value, float) and math.isnan(value) else value


class ResultFile:
  """The file results.jsonl: one line per checkpoint and preset, the newest last.

  Attributes:
    path: the path of the file.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path
    self._told = 0  # how many lines that are no results a warning has spoken of

  def append(self, results: Iterable[Result]) -> None:
    """Adds a line for each result, and waits until they are on the disk: all of them, or none.

    If a crash has cut off the last line in the file, that line is ended first. The folder of the
    file is made if it is missing.

    Raises:
      OSError: the file cannot be written; it is left as it was.
    """
    self.path.parent.mkdir(parents=True, exist_ok=True)
    with self.path.open('ab+', buffering=0) as file:
      size = file.seek(0, os.SEEK_END)
      added = b''.join(f'{result.json()}\n'.encode() for result in results)
      if size:
        file.seek(size - 1)
        if file.read(1) != b'\n':
          added = b'\n' + added
      try:
        while added:
          added = added[file.write(added) :]
        os.fsync(file.fileno())
      except BaseException:
        file.truncate(size)
        raise

  def require_writable(self) -> None:
    """Raises InputError if no line could be added."""
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      with self.path.open('ab'):
        pass
    except OSError as error:
      raise InputError(
        f'{self.path} cannot be written: {error.strerror}; make the folder writable for you, or '
        'copy the run and give the copy as --train_log_dir.'
      ) from error

  def read(self) -> list[Line]:
    """All results, as dicts.

    Lines that are no results are left out, such as one that a crash has cut off; a warning counts
    them.

    Raises:
      InputError: the file is there and cannot be read.
    """
    try:
      content = self.path.read_bytes()
    except FileNotFoundError:
      return []
    except OSError as error:
      raise InputError(
        f'{self.path} cannot be read: {error.strerror}; expected the file of results.'
      ) from error
    lines = [_parsed(text) for text in content.split(b'\n') if text.strip()]
    results = [line for line in lines if _is_result(line)]
    strange = len(lines) - len(results)
    if strange > self._told:
      logging.warning('%s: %d lines are no results and are passed over.', self.path, strange)
    self._told = strange
    return results


def _parsed(text: bytes) -> Any:
  """The value of a line of JSON; None if it is not JSON."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None


def _is_result(line: Any) -> TypeGuard[Line]:
  """Whether a line has what every result has, in the types that it has there."""
  try:
    of_line(line)
    return (
      all(isinstance(line[name], str) for name in ('checkpoint', 'preset'))
      and all(_is_count(line[name]) for name in ('step', 'num_tasks', 'num_queries'))
      and _is_number(line['accuracy'])
      and all(
        line[name] is None or _is_number(line[name])
        for name in ('ci95', 'accuracy_disjoint', 'ci95_disjoint')
      )
      and ('continual' not in line or _is_continual(line['continual']))
    )
  except (KeyError, TypeError, ValueError, AttributeError):
    return False


def _is_count(value: Any) -> bool:
  return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and math.isfinite(value)


def _is_continual(continual: Any) -> bool:
  """Whether this is `Result.continual`; raises KeyError or TypeError if much is missing."""
  rows = [
    continual['average_accuracy'],
    continual['average_accuracy_ci95'],
    *continual['matrix'],
    *continual['matrix_ci95'],
    *([continual[name], continual[f'{name}_ci95']] for name in ('forgetting', 'backward_transfer')),
  ]
  length = _is_count(continual['num_tasks']) and continual['num_tasks']
  return (
    isinstance(continual['method'], str)
    and all(len(continual[name]) == length for name in ('matrix', 'matrix_ci95'))
    and all(len(row) == length for row in rows[:2])
    and [len(row) for row in continual['matrix']] == [len(row) for row in continual['matrix_ci95']]
    and all(_is_number(mean) for mean in rows[0])
    and all(each is None or _is_number(each) for row in rows for each in row)
  )


def newest(lines: Iterable[Line]) -> dict[tuple[str, Measured], Line]:
  """The result of the newest checkpoint for each preset and all that was measured on.

  Args:
    lines: lines of ResultFile.read.

  Returns:
    {(preset, measured): line}; of several results of one checkpoint the last one.
  """
  by_step = sorted(lines, key=lambda line: line['step'])
  return {(line['preset'], of_line(line)): line for line in by_step}
