"""Which classes of which dataset: `omniglot:0-1149`, presets, label shuffling (spec: data.md 1)."""

from __future__ import annotations

import collections
import dataclasses
import random
import re

from hypertransformer.errors import InputError

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+-]*')
_LABELS = re.compile(r'([0-9]{1,7})(?:-([0-9]{1,7}))?')
_ONLY_LABELS = re.compile(r'[0-9-]+')
_EXAMPLES = 'such as omniglot, omniglot:0-1149 or name:0-9,20,30-39'

_OMNIGLOT = {'train': range(1150), 'val': range(1150, 1200), 'test': range(1200, 1623)}
# Dataset -> preset -> classes; the splits of the published runs.
PRESETS = {
  'omniglot': _OMNIGLOT,
  'strokes': _OMNIGLOT,
  'miniimagenet': {'train': range(64), 'val': range(64, 80), 'test': range(80, 100)},
  'tieredimagenet': {'train': range(351), 'val': range(351, 448), 'test': range(448, 608)},
}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """A dataset and the classes to use of it.

  Attributes:
    name: the dataset's file or folder name, without .npy.
    classes: class numbers, in the order given; None when the text names no classes.
  """

  name: str
  classes: tuple[int, ...] | None = None

  def __str__(self) -> str:
    """The text that `parse_dataset` reads: name:0-9,20."""
    if self.classes is None:
      return self.name
    runs: list[list[int]] = []
    for label in self.classes:
      if runs and label == runs[-1][-1] + 1:
        runs[-1][1:] = [label]
      else:
        runs.append([label])
    return f'{self.name}:' + ','.join('-'.join(map(str, run)) for run in runs)


def parse_dataset(text: str) -> DatasetSpec:
  """Reads `NAME` or `NAME:LABELS`, where LABELS are numbers and ranges (both ends included).

  Raises:
    InputError: malformed text, a reversed range, or a label given twice.
  """
  name, colon, labels = text.strip().partition(':')
  if not _NAME.fullmatch(name):
    raise InputError(
      f'dataset {text!r}: {name!r} is not a dataset name; expected letters, '
      f'digits, _ . + or -, {_EXAMPLES}'
    )
  if not colon:
    return DatasetSpec(name)
  classes = [label for piece in labels.split(',') for label in _parse_labels(piece.strip(), text)]
  repeated = [label for label, count in collections.Counter(classes).items() if count > 1]
  if repeated:
    raise InputError(f'dataset {text!r}: label {repeated[0]} is given twice; give each label once')
  return DatasetSpec(name, tuple(classes))


def _parse_labels(piece: str, text: str) -> range:
  """Reads `7` or `3-9`; `text` is the whole for the error message."""
  match = _LABELS.fullmatch(piece)
  if not match:
    raise InputError(
      f'dataset {text!r}: {piece!r} is not a label or a range of labels; expected '
      f'numbers and ranges, {_EXAMPLES}'
    )
  first = int(match[1])
  last = int(match[2]) if match[2] else first
  if last < first:
    raise InputError(f'dataset {text!r}: the range {piece} is reversed; write {last}-{first}')
  return range(first, last + 1)


def parse_eval_datasets(text: str) -> list[tuple[str, DatasetSpec]]:
  """Reads what to evaluate: comma-separated entries, which may themselves have commas in labels.

  An entry is `preset=name:labels`; or `name:labels`, whose preset is that text; or the bare name
  of a dataset in PRESETS, which stands for its presets train, val and test.

  Returns:
    (preset name, dataset) in the order given.

  Raises:
    InputError: nothing given, a malformed entry, a bare name without presets, or a preset name
      given twice.
  """
  found: list[tuple[str, DatasetSpec]] = []
  for entry in _entries(text):
    found += _parse_entry(entry)
  names = [preset for preset, _ in found]
  for preset in names:
    if names.count(preset) > 1:
      raise InputError(
        f'datasets {text!r}: the preset {preset!r} is given twice; results are '
        'kept by preset, so give each its own name, as in mine=name:0-9'
      )
  return found


def _entries(text: str) -> list[str]:
  """Cuts at commas, except where labels go on: 'a=x:0-9,20,b=y:1' -> ['a=x:0-9,20', 'b=y:1']."""
  entries: list[str] = []
  for piece in text.split(','):
    if entries and _ONLY_LABELS.fullmatch(piece.strip()):
      entries[-1] += f',{piece.strip()}'
    else:
      entries.append(piece.strip())
  return entries


def _parse_entry(entry: str) -> list[tuple[str, DatasetSpec]]:
  """One entry; a bare known name gives its presets."""
  preset, equals, dataset = entry.rpartition('=')
  if equals and not preset:
    raise InputError(f'datasets: {entry!r} has no preset name; expected preset=name:labels')
  spec = parse_dataset(dataset)
  if spec.classes is not None:
    return [(preset or dataset, spec)]
  if equals:
    raise InputError(
      f'datasets: {entry!r} has no labels; expected preset=name:labels, such as {entry}:0-9'
    )
  if spec.name not in PRESETS:
    raise InputError(
      f'datasets: {spec.name!r} has no presets (only {", ".join(PRESETS)} have); '
      f'give labels, such as {spec.name}:0-9'
    )
  return [
    (name, DatasetSpec(spec.name, tuple(classes))) for name, classes in PRESETS[spec.name].items()
  ]


def shuffled_classes(num_classes: int, seed: int) -> list[int]:
  """The published runs' permutation of classes: new class i holds the data of entry i.

  The same as `random.seed(seed); random.shuffle(...)`, without touching Python's global generator.
  """
  classes = list(range(num_classes))
  random.Random(seed).shuffle(classes)
  return classes
