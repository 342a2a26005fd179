"""Tells what a dataset holds and what it is good for (utils/inspect_data.py).

`inspect` reads the whole dataset once, and `lines` makes a report of what it found: classes and
images, splits and the usual few-shot tasks that they have images for, and images that occur twice.
Nothing on disk is changed.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from hypertransformer.datasets import chunk_files, duplicates, plausible, specs
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.datasets.duplicates import Duplicates, Scan
from hypertransformer.errors import InputError
from hypertransformer.files import npy, paths

# The usual benchmarks: (way, shot), that is, classes of a task and support images of each.
_USUAL_TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))


@dataclasses.dataclass(frozen=True)
class Files:
  """The files of a dataset.

  Attributes:
    path: the file NAME.npy or the folder NAME.
    paths: the file NAME.npy, or all .npy files of the folder NAME.
    num_bytes: the size of all of them together.
    dtype: the type of the numbers in them, such as 'uint8'.
  """

  path: pathlib.Path
  paths: tuple[pathlib.Path, ...]
  num_bytes: int
  dtype: str


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What is known of a dataset when all of it has been read.

  Attributes:
    arrays: the images, with the classes permuted if that was asked for.
    files: the files that they come from.
    splits: for each split, the numbers of its classes in the order in which they were given.
    scan: what one pass over the pixels found.
    twins: how many images occur more than once.
  """

  arrays: ClassArrays
  files: Files
  splits: dict[str, tuple[int, ...]]
  scan: Scan
  twins: Duplicates

  @property
  def names(self) -> tuple[str, ...]:
    """The names of all classes; empty if they are not known."""
    return self.arrays.names


def inspect(name: str, data_numpy_dir: str, splits: str = '', shuffle_seed: int = 0) -> Inspection:
  """Reads a whole dataset once and says what it holds.

  Args:
    name: the dataset's name.
    data_numpy_dir: the folder that has its file or folder.
    splits: the splits to tell about, in the form of the flag --eval_datasets, such as
      'train=NAME:0-63,test=NAME:64-99'. If it is empty, the splits are those of classes.csv in the
      dataset's folder (see `class_list`); without that file, the presets of a known dataset; and
      otherwise a single split 'all'.
    shuffle_seed: the seed by which the classes are permuted first, as by --shuffle_labels_seed of
      training; 0 leaves their order. `splits` are numbers of the permuted classes.

  Raises:
    InputError: there is no such dataset, its files cannot be used, or a split has classes that the
      dataset does not have.
  """
  if specs.parse_dataset(name).classes is not None:
    raise InputError(
      f'{name!r} has labels; expected the name of a dataset only: give labels by --splits'
    )
  loaded = folder_lib.load(name, data_numpy_dir)
  files = _files(name, paths.expanded(data_numpy_dir))
  listed = folder_lib.listed_classes(files.path, loaded.sizes)
  chosen = _splits(name, splits, loaded.num_classes, [entry.split for entry in listed])
  loaded = loaded.shuffled(shuffle_seed)
  scan = duplicates.scan(loaded)
  split_of = [''] * loaded.num_classes
  for split, classes in chosen.items():
    for cls in classes:
      split_of[cls] = split
  return Inspection(
    loaded, files, chosen, scan, duplicates.find(scan.hashes, loaded.sizes, split_of)
  )


def _files(name: str, root: pathlib.Path) -> Files:
  """Returns the files that `folder.load` reads for a dataset that is there."""
  file, folder = root / f'{name}.npy', root / name
  is_file = paths.is_file(file)
  found = [file] if is_file else chunk_files.find(folder)
  first = folder / 'images.npy' if folder / 'images.npy' in found else found[0]
  with open(first, 'rb') as opened:
    dtype = str(npy.read_header(opened, first).dtype)
  num_bytes = sum(path.stat().st_size for path in found)
  return Files(file if is_file else folder, tuple(found), num_bytes, dtype)


def _splits(
  name: str, text: str, num_classes: int, listed: Sequence[str]
) -> dict[str, tuple[int, ...]]:
  """Decides what the splits of a dataset are.

  Args:
    name: the dataset's name.
    text: the splits that were asked for, as in `inspect`; '' for none.
    num_classes: the number of classes of the dataset.
    listed: the split of each class by classes.csv; empty without that file.

  Returns:
    The class numbers of each split.

  Raises:
    InputError: a split is of another dataset or has a class that is not there, or a class is in two
      splits.
  """
  if text:
    parsed = specs.parse_eval_datasets(text)
    for split, spec in parsed:
      if spec.name != name:
        raise InputError(
          f'splits: {split}={spec} is not of the dataset {name!r}; expected {split}={name}:LABELS'
        )
    found = {split: spec.classes or () for split, spec in parsed}
  elif listed:
    found = {
      split: tuple(np.flatnonzero(np.array(listed) == split).tolist())
      for split in dict.fromkeys(listed)
    }
  elif name in specs.PRESETS and folder_lib.KNOWN_CLASSES[name] == num_classes:
    found = {split: tuple(classes) for split, classes in specs.PRESETS[name].items()}
  else:
    found = {'all': tuple(range(num_classes))}
  _check_splits(name, found, num_classes)
  return found


def _check_splits(name: str, splits: dict[str, tuple[int, ...]], num_classes: int) -> None:
  """Raises InputError unless all classes of the splits exist and none is in two of them."""
  seen: dict[int, str] = {}
  for split, classes in splits.items():
    for cls in classes:
      if cls >= num_classes:
        raise InputError(
          f'splits: {split} has the class {cls}, but dataset {name!r} has the classes '
          f'0-{num_classes - 1}'
        )
      if cls in seen:
        raise InputError(
          f'splits: the class {cls} is in {seen[cls]} and in {split}; expected different classes'
        )
      seen[cls] = split


def lines(found: Inspection) -> Iterator[str]:
  """Yields the lines of the report."""
  sizes = found.arrays.sizes
  many = '' if len(found.files.paths) == 1 else f' ({len(found.files.paths)} files)'
  yield f'dataset:    {found.arrays.name}, {found.files.paths[0].parent}'
  yield (
    f'on disk:    {found.files.num_bytes / 1e6:.1f} MB{many}, {found.files.dtype}'
    + (', read as uint8' if found.files.dtype != 'uint8' else '')
  )
  yield f'classes:    {len(sizes)}, {sizes.sum()} images'
  yield f'per class:  min {sizes.min()}, median {np.median(sizes):g}, max {sizes.max()} images'
  yield f'images:     {" x ".join(map(str, found.arrays.image_shape))} (height x width x channels)'
  yield f'values:     {found.scan.low} to {found.scan.high}' + _odd_values(found.scan)
  yield (
    f'brightness: mean {found.scan.mean:.1f}, {100 * found.scan.bright:.1f} % of the pixels are '
    f'bright ({plausible.BRIGHT} and more)'
  )
  for split, classes in found.splits.items():
    yield from _split_lines(found, split, classes)
  yield from _duplicate_lines(found)


def _odd_values(scan: Scan) -> str:
  """Returns what is suspicious about the values of the pixels; '' if nothing is."""
  return f'; {scan.blank} images of a single value' if scan.blank else ''


def _split_lines(found: Inspection, split: str, classes: tuple[int, ...]) -> Iterator[str]:
  """Yields the classes of a split as flags take them, and the usual tasks that they suffice for."""
  smallest = int(found.arrays.sizes[list(classes)].min())
  spec = specs.DatasetSpec(found.arrays.name, classes)
  yield f'split:      {split}={spec}: {len(classes)} classes of at least {smallest} images'
  fits = [
    f'{way}-way {shot}-shot + {smallest - shot}'
    for way, shot in _USUAL_TASKS
    if way <= len(classes) and shot < smallest
  ]
  if fits:
    yield f'            fits {", ".join(fits)} query images a class (the most without overlap)'
  else:
    yield (
      f'            fits none of the usual tasks: up to {len(classes)}-way, up to {smallest} '
      'support and query images a class together'
    )


def _duplicate_lines(found: Inspection) -> Iterator[str]:
  """Yields how many images have a twin, and a few examples."""
  counts = found.twins
  if not counts.examples:
    yield 'duplicates: none'
    return
  yield (
    f'duplicates: {counts.in_class} images have a twin in their class, '
    f'{counts.between_classes} in another class of their split'
  )
  for (one, other), number in counts.across.items():
    yield (
      f'            {number} images of {one or "no split"} and {other or "no split"} have a twin '
      'in the other'
    )
  for pair in counts.examples:
    yield '            such as ' + ' = '.join(
      f'{_called(found, cls)}, image {sample}' for cls, sample in pair
    )


def _called(found: Inspection, cls: int) -> str:
  """Returns the number of a class, with its name if that is known."""
  return f'class {cls} ({found.names[cls]})' if found.names else f'class {cls}'
