"""Dataset specs such as `omniglot:0-1149`, and the permutation of classes.

A spec names a dataset and the classes of it that are used. The presets are the usual specs of the
known datasets. See docs/spec/data.md, section 1.
"""

from __future__ import annotations

import dataclasses
import random
import re

from hypertransformer.data.files import shown
from hypertransformer.errors import InputError

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}')
_LONGEST_PRESET = 1000  # characters
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
  'cifar_fs': {'train': range(64), 'val': range(64, 80), 'test': range(80, 100)},
  'fc100': {'train': range(60), 'val': range(60, 80), 'test': range(80, 100)},
}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """A dataset and the classes of it that are used.

  Attributes:
    name: The name of the dataset, which is that of its file (without .npy) or directory.
    classes: The class numbers in the order given; None if the spec names no classes.
  """

  name: str
  classes: tuple[int, ...] | None = None

  def __str__(self) -> str:
    """Return the spec as `parse_dataset` reads it, such as 'name:0-9,20'."""
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
  """Parse a spec, `NAME` or `NAME:CLASSES`.

  CLASSES are class numbers and ranges of them, such as `0-9,20,30-39`. Both ends of a range belong
  to it.

  Raises:
    InputError: The text has another form, a range is reversed, or a class occurs twice.
  """
  name, colon, numbers = text.strip().partition(':')
  if not _NAME.fullmatch(name):
    raise InputError(
      f'dataset {shown(text)!r}: {shown(name)!r} is not a dataset name; expected up to 200 '
      f'letters, digits and _ . + -, {_EXAMPLES}'
    )
  if not colon:
    return DatasetSpec(name)
  classes: list[int] = []
  for piece in numbers.split(','):
    match = _CLASS_RANGE.fullmatch(piece.strip())
    found = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
    if not found:
      raise InputError(
        f'dataset {shown(text)!r}: {shown(piece)!r} is not a class or a range of classes; expected '
        f'numbers and ranges, {_EXAMPLES}'
      )
    classes += found
  if len(set(classes)) < len(classes):
    raise InputError(f'dataset {shown(text)!r} names a class twice; name each class once')
  return DatasetSpec(name, tuple(classes))


def parse_eval_datasets(text: str) -> list[tuple[str, DatasetSpec]]:
  """Parse the flag --eval_datasets: which datasets are evaluated, and under which names.

  The text is a list of entries with commas between them. The class numbers of an entry may have
  commas too. There are three forms of entry:

    PRESET=NAME:CLASSES  has its results kept under the name PRESET;
    NAME:CLASSES         is its own preset name;
    NAME                 stands for the presets train, val and test of a dataset in PRESETS.

  Returns:
    The name of each preset and its spec, in the order given.

  Raises:
    InputError: The text is empty, an entry has another form, or two presets have the same name.
  """
  entries: list[list[str]] = []
  for piece in map(str.strip, text.split(',')):
    if entries and _MORE_CLASSES.fullmatch(piece):  # more classes of the entry before
      entries[-1].append(piece)
    else:
      entries.append([piece])
  found: list[tuple[str, DatasetSpec]] = []
  for entry in map(','.join, entries):
    preset, equals, dataset = entry.rpartition('=')
    spec = parse_dataset(dataset)
    if spec.classes is not None and bool(preset) == bool(equals):
      found.append((preset or dataset, spec))
    elif spec.name in PRESETS and not equals:
      found += [
        (name, DatasetSpec(spec.name, tuple(classes)))
        for name, classes in PRESETS[spec.name].items()
      ]
    else:
      raise InputError(
        f'datasets: {shown(entry)!r} has no preset name or no classes; expected '
        f'PRESET=NAME:CLASSES, such as mine={spec.name}:0-9, or one of {", ".join(PRESETS)}'
      )
  names = [preset for preset, _ in found]
  if longest := [name for name in names if len(name) > _LONGEST_PRESET]:
    raise InputError(
      f'datasets: the preset name {shown(longest[0])!r} has {len(longest[0])} characters; give a '
      'shorter one, as in mine=NAME:0-9'
    )
  if len(set(names)) < len(names):
    raise InputError(
      f'datasets {shown(text)!r} name a preset twice; give each its own name, as in mine=NAME:0-9'
    )
  return found


def shuffled_classes(num_classes: int, seed: int) -> list[int]:
  """Return the permutation of classes that the published runs use.

  It is that of `random.seed(seed); random.shuffle(...)`, and leaves the global generator unchanged.

  Args:
    num_classes: The number of classes of the dataset.
    seed: The seed of the permutation, --shuffle_labels_seed.

  Returns:
    For each new class number, the old number of the class that gets it.
  """
  classes = list(range(num_classes))
  random.Random(seed).shuffle(classes)
  return classes
