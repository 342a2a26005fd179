"""What a dataset holds and what it is good for, as text. Nothing is changed."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from hypertransformer.datasets import class_list, duplicates, specs
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.datasets.duplicates import Duplicates, Scan
from hypertransformer.errors import InputError
from hypertransformer.files import npy

# (way, shot) of the usual benchmarks.
_TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))


@dataclasses.dataclass(frozen=True)
class Files:
  """A dataset on disk: its files, their bytes, and the kind of numbers in them."""

  paths: tuple[pathlib.Path, ...]
  num_bytes: int
  dtype: str


@dataclasses.dataclass(frozen=True)
class Inspection:
  """splits: name -> class numbers, in the order of the labels; names: of all classes, empty where
  unknown.
  """

  arrays: ClassArrays
  files: Files
  splits: dict[str, tuple[int, ...]]
  names: tuple[str, ...]
  scan: Scan
  twins: Duplicates


def inspect(name: str, data_numpy_dir: str, splits: str = '', shuffle_seed: int = 0) -> Inspection:
  """Reads a whole dataset once.

  Args: name: the dataset's name. data_numpy_dir: the folder it is in. splits: as --eval_datasets,
    'train=NAME:0-63,test=NAME:64-99'; empty for those of classes.csv in its folder (see
      image_folder), else for the presets of its name, else for one of all classes.
    shuffle_seed: --shuffle_labels_seed of training; splits are of the classes after it.

  Raises:
    InputError: no such dataset, files that cannot be used, or splits that are not of its classes.
  """
  if specs.parse_dataset(name).classes is not None:
    raise InputError(
      f'{name!r} has labels; expected the name of a dataset only: give labels by --splits'
    )
  loaded = folder_lib.load(name, data_numpy_dir)
  files = _files(name, pathlib.Path(data_numpy_dir).expanduser())
  listed = _class_list(files, loaded)
  chosen = _splits(name, splits, loaded.num_classes, [split for split, _ in listed])
  names = [text for _, text in listed]
  if shuffle_seed > 0:
    names = (
      [names[old] for old in specs.shuffled_classes(loaded.num_classes, shuffle_seed)]
      if names
      else []
    )
  loaded = loaded.shuffled(shuffle_seed)
  scan = duplicates.scan(loaded)
  split_of = [''] * loaded.num_classes
  for split, classes in chosen.items():
    for cls in classes:
      split_of[cls] = split
  return Inspection(
    loaded, files, chosen, tuple(names), scan, duplicates.find(scan.hashes, loaded.sizes, split_of)
  )


def _files(name: str, root: pathlib.Path) -> Files:
  """The same files that arrays.load reads."""
  file, folder = root / f'{name}.npy', root / name
  paths = [file]
  if not file.is_file():
    paths = sorted(path for path in folder.glob('*.npy') if not path.name.startswith('.'))
  first = folder / 'images.npy' if folder / 'images.npy' in paths else paths[0]
  with open(first, 'rb') as opened:
    dtype = str(npy.read_header(opened, first).dtype)
  return Files(tuple(paths), sum(path.stat().st_size for path in paths), dtype)


def _class_list(files: Files, loaded: ClassArrays) -> list[tuple[str, str]]:
  """(split, name) of each class from classes.csv beside images.npy; nothing if there is none."""
  path = files.paths[0].with_name(class_list.CLASS_LIST)
  if files.paths[0].name not in ('images.npy', 'class_sizes.npy') or not path.exists():
    return []
  try:
    with open(path, encoding='utf-8', newline='') as file:
      rows = list(csv.reader(file, strict=True))
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f'{path} cannot be read ({error}); make it again or remove it') from error
  expected = [[str(number), str(size)] for number, size in enumerate(loaded.sizes.tolist())]
  if (
    rows[:1] != [list(class_list.CLASS_LIST_COLUMNS)]
    or any(len(row) != 4 for row in rows)
    or [[row[0], row[3]] for row in rows[1:]] != expected
  ):
    raise InputError(
      f'{path} does not list the {loaded.num_classes} classes and their images; make the dataset '
      'again, or remove this file'
    )
  return [(row[1], row[2]) for row in rows[1:]]


def _splits(
  name: str, text: str, num_classes: int, listed: Sequence[str]
) -> dict[str, tuple[int, ...]]:
  """Split -> classes."""
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
  """The report, line by line."""
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
  for split, classes in found.splits.items():
    yield from _split_lines(found, split, classes)
  yield from _duplicate_lines(found)


def _odd_values(scan: Scan) -> str:
  odd = f'; {scan.blank} images of a single value' if scan.blank else ''
  return odd + ('; looks like 0..1, expected 0..255' if scan.high == 1 else '')


def _split_lines(found: Inspection, split: str, classes: tuple[int, ...]) -> Iterator[str]:
  """A split's labels as flags take them, and the episodes that it has classes and images for."""
  smallest = int(found.arrays.sizes[list(classes)].min())
  spec = specs.DatasetSpec(found.arrays.name, classes)
  yield f'split:      {split}={spec}: {len(classes)} classes of at least {smallest} images'
  fits = [
    f'{way}-way {shot}-shot + {smallest - shot}'
    for way, shot in _TASKS
    if way <= len(classes) and shot < smallest
  ]
  if fits:
    yield f'            fits {", ".join(fits)} query images a class (the most without overlap)'
  else:
    yield (
      f'            fits none of the usual tasks: up to {len(classes)}-way, up to {smallest} support and query '
      'images a class together'
    )


def _duplicate_lines(found: Inspection) -> Iterator[str]:
  counts = found.twins
  if not counts.examples:
    yield 'duplicates: none'
    return
  yield (
    f'duplicates: {counts.in_class} images have a twin in their class, {counts.between_classes} in another class '
    'of their split'
  )
  for (one, other), number in counts.across.items():
    yield f'            {number} images of {one or "no split"} and {other or "no split"} have a twin in the other'
  for pair in counts.examples:
    yield '            such as ' + ' = '.join(
      f'{_called(found, cls)}, image {sample}' for cls, sample in pair
    )


def _called(found: Inspection, cls: int) -> str:
  return f'class {cls} ({found.names[cls]})' if found.names else f'class {cls}'
