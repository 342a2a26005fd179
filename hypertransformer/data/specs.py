"""Reads dataset specs such as `omniglot:0-1149`, and permutes classes.

A spec names a dataset and the classes of it that are used. The presets are the usual specs of the
known datasets. See docs/spec/data.md, section 1.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import re

from hypertransformer.errors import InputError

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+-]*')
_CLASS_RANGE = re.compile(r'([0-9]{1,7})(?:-([0-9]{1,7}))?')
_MORE_CLASSES = re.compile(r'[0-9-]+')
_EXAMPLES = 'such as omniglot, omniglot:0-1149 or name:0-9,20,30-39'

_OMNIGLOT = {'train': range(1150), 'val': range(1150, 1200), 'test': range(1200, 1623)}
# For each dataset, the classes of each of its presets. These are the splits of the published runs.
PRESETS = {
  'omniglot': _OMNIGLOT,
  'strokes': _OMNIGLOT,
  'miniimagenet': {'train': range(64), 'val': range(64, 80), 'test': range(80, 100)},
  'tieredimagenet': {'train': range(351), 'val': range(351, 448), 'test': range(448, 608)},
}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """A dataset and the classes of it that are used.

  Attributes:
    name: the dataset's name, which is that of its file (without .npy) or folder.
    classes: the class numbers in the order given; None if the spec names no classes.
  """

  name: str
  classes: tuple[int, ...] | None = None

  def __str__(self) -> str:
    """Returns the spec as `parse_dataset` reads it, such as 'name:0-9,20'."""
    if self.classes is None:
      return self.name
    runs: list[list[int]] = []
    for cls in self.classes:
      if runs and cls == runs[-1][-1] + 1:
        runs[-1][1:] = [cls]
      else:
        runs.append([cls])
    return f'{self.name}:' + ','.join('-'.join(map(str, run)) for run in runs)


def parse_dataset(text: str) -> DatasetSpec:
  """Reads a spec, `NAME` or `NAME:CLASSES`.

  CLASSES are class numbers and ranges of them, such as `0-9,20,30-39`. Both ends of a range belong
  to it.

  Raises:
    InputError: the text has another form, a range is reversed, or a class is given twice.
  """
  name, colon, numbers = text.strip().partition(':')
  if not _NAME.fullmatch(name):
    raise InputError(
      f'dataset {text!r}: {name!r} is not a dataset name; expected letters, '
      f'digits, _ . + or -, {_EXAMPLES}'
    )
  if not colon:
    return DatasetSpec(name)
  classes = [cls for piece in numbers.split(',') for cls in _parse_classes(piece.strip(), text)]
  repeated = [cls for cls, count in collections.Counter(classes).items() if count > 1]
  if repeated:
    raise InputError(f'dataset {text!r}: label {repeated[0]} is given twice; give each label once')
  return DatasetSpec(name, tuple(classes))


def _parse_classes(piece: str, text: str) -> range:
  """Reads a class number such as `7` or a range such as `3-9`.

  Args:
    piece: the text to read.
    text: the whole spec, for errors.
  """
  match = _CLASS_RANGE.fullmatch(piece)
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
  """Reads the flag --eval_datasets: which datasets are evaluated, and under which names.

  The text is a list of entries with commas between them. The class numbers of an entry may have
  commas too. There are three forms of entry:

    PRESET=NAME:CLASSES  has its results kept under the name PRESET;
    NAME:CLASSES         is its own preset name;
    NAME                 stands for the presets train, val and test of a dataset in PRESETS.

  Returns:
    The name of each preset and its spec, in the order given.

  Raises:
    InputError: nothing is given, an entry has another form, a dataset has no presets, or two
      presets have the same name.
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
  """Cuts a text into entries, at the commas that do not merely go on with the class numbers.

  For example 'a=x:0-9,20,b=y:1' gives ['a=x:0-9,20', 'b=y:1'].
  """
  entries: list[str] = []
  for piece in text.split(','):
    if entries and _MORE_CLASSES.fullmatch(piece.strip()):
      entries[-1] += f',{piece.strip()}'
    else:
      entries.append(piece.strip())
  return entries


def _parse_entry(entry: str) -> list[tuple[str, DatasetSpec]]:
  """Reads one entry; a known name alone gives all of its presets."""
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
  """Returns the permutation of classes that the published runs use.

  It is that of `random.seed(seed); random.shuffle(...)`, but Python's global generator is left
  alone.

  Args:
    num_classes: the number of classes of the dataset.
    seed: the seed of the permutation, --shuffle_labels_seed.

  Returns:
    For each new class number, the old number of the class that gets it.
  """
  classes = list(range(num_classes))
  random.Random(seed).shuffle(classes)
  return classes
