"""Tells what a dataset holds and what it is good for (utils/inspect_data.py).

`inspect` reads the whole dataset once, and `lines` makes a report of what it found: classes and
images, splits and the usual few-shot tasks that they have images for, and images that occur twice.
Nothing on disk is changed.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import json
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from hypertransformer.data import files, layouts, specs
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

# So much of each choice of classes is read, if its images have to be compared.
_SAMPLE_BYTES = 1 << 26
_DIGITS = 12  # of each half of a digest


def shared_classes(one: ClassSet, other: ClassSet) -> int:
  """Counts the classes that are in both.

  Classes of one dataset are told apart by where their images are. Classes of two datasets, or of
  one that was read twice, are the same if at least half of the images looked at are equal pixel for
  pixel, counted in the class with fewer of them. All images are looked at, or of large datasets the
  first ones of each class, 64 MB in all. Images of a single value say nothing.

  Args:
    one: classes of a dataset.
    other: classes of the same dataset or of another.

  Returns:
    How many classes of `one` are also in `other`.
  """
  if one.arrays.images is other.arrays.images:
    return len(np.intersect1d(_starts(one), _starts(other)))
  if one.arrays.image_shape != other.arrays.image_shape:
    return 0
  holders: dict[bytes, list[int]] = {}  # the classes of `other` that have an image, by its hash
  sizes = []
  for number, hashes in enumerate(_hashes(other)):
    sizes.append(len(hashes))
    for each in hashes:
      holders.setdefault(each, []).append(number)
  return sum(_is_among(hashes, holders, sizes) for hashes in _hashes(one))


def _starts(classes: ClassSet) -> np.ndarray:
  """Returns where the images of each class begin, which does not change with their numbers."""
  return classes.arrays.starts[classes.classes]


def _is_among(hashes: set[bytes], holders: dict[bytes, list[int]], sizes: Sequence[int]) -> bool:
  """Tells whether a class with these images is among those of `holders`, of the given sizes."""
  counts: dict[int, int] = {}
  for each in hashes:
    for number in holders.get(each, ()):
      counts[number] = counts.get(number, 0) + 1
  return any(2 * count >= min(len(hashes), sizes[number]) for number, count in counts.items())


def _hashes(classes: ClassSet) -> list[set[bytes]]:
  """Returns the hashes of the images of each class, or of the first ones; blank ones left out."""
  arrays = classes.arrays
  image_bytes = int(np.prod(arrays.image_shape))
  most = max(1, _SAMPLE_BYTES // (image_bytes * len(classes.classes)))
  found = []
  for cls in classes.classes.tolist():
    images = arrays.gather(arrays.rows(cls, np.arange(min(most, int(arrays.sizes[cls])))))
    found.append(
      {
        hashlib.blake2b(image.tobytes(), digest_size=8).digest()
        for image in images
        if image.min() < image.max()
      }
    )
  return found


def digest(classes: ClassSet) -> str:
  """Returns a short text by which it can be told later whether the classes are still the same.

  It is made of the numbers of images of all classes of the dataset, of the numbers of the chosen
  classes, and of their names if the dataset has a class list (see `class_list`). It will not
  change with versions of this package or of NumPy. Pixels are not in it.

  Returns:
    12 hexadecimal digits, and 12 more if there are names. Compare two by `same_classes`.
  """
  numbers = classes.classes.tolist()
  first = _digits([classes.arrays.sizes.tolist(), numbers])
  names = classes.arrays.names
  return first + (_digits([names[number] for number in numbers]) if names else '')


def same_classes(before: str, now: str) -> bool:
  """Tells whether two digests can be of the same classes; names count if both have them."""
  if before[:_DIGITS] != now[:_DIGITS]:
    return False
  return before == now or _DIGITS in (len(before), len(now))


def _digits(value: object) -> str:
  """Returns the beginning of the SHA-256 of a value of plain lists, numbers and texts."""
  text = json.dumps(value, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


_BLOCK_BYTES = 1 << 24
_MAX_EXAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Scan:
  """What one pass over all pixels of a dataset finds.

  Attributes:
    hashes: uint64 [all images], class after class; equal for equal images.
    low: the smallest value of any pixel, 0..255.
    high: the largest value of any pixel, 0..255.
    blank: how many images have the same value everywhere.
    mean: the mean of all pixels, 0..255.
    bright: the share of bright pixels (128 and more), 0..1.
  """

  hashes: np.ndarray
  low: int
  high: int
  blank: int
  mean: float
  bright: float


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """How many images of a dataset have a twin, that is, another image of the same pixels.

  An image with twins in several places is counted once under each of the three headings.

  Attributes:
    in_class: images that have a twin in their own class.
    between_classes: images that have a twin in another class of their split.
    across: for each pair (split, other split), the images of either that have a twin in the other.
    examples: a few pairs of twins, each twin as (class, number in its class); pairs whose two
      images are in different splits come first.
  """

  in_class: int
  between_classes: int
  across: dict[tuple[str, str], int]
  examples: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


def scan(arrays: ClassArrays) -> Scan:
  """Reads all images of a dataset once, in blocks of a few megabytes."""
  block = max(1, _BLOCK_BYTES // int(np.prod(arrays.image_shape)))
  total = int(arrays.sizes.sum())
  bar = progress(arrays.name, total, 'images')
  hashes: np.ndarray = np.empty(total, np.uint64)
  low, high, blank, done = 255, 0, 0, 0
  brightness = bright = 0
  for rows in _blocks(arrays, block):
    images = arrays.gather(rows).reshape(len(rows), -1)
    lowest, highest = images.min(1), images.max(1)
    low, high = min(low, int(lowest.min())), max(high, int(highest.max()))
    blank += int((lowest == highest).sum())
    brightness += int(images.sum())
    bright += int((images >= layouts.BRIGHT).sum())
    for image in images:
      # 64 bits: among a million images the chance of two different ones with one hash is below
      # 1e-7.
      hashes[done] = int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), 'little')
      done += 1
    show(bar, done)
  pixels = total * math.prod(arrays.image_shape)
  return Scan(hashes, low, high, blank, brightness / pixels, bright / pixels)


def _blocks(arrays: ClassArrays, block: int) -> Iterator[np.ndarray]:
  """Yields the row numbers of all images, class after class, at most `block` at a time."""
  for start, size in zip(arrays.starts.tolist(), arrays.sizes.tolist(), strict=True):
    for first in range(0, size, block):
      yield np.arange(start + first, start + min(first + block, size))


def find_twins(hashes: np.ndarray, sizes: np.ndarray, split_of: Sequence[str]) -> Duplicates:
  """Counts the images that have a twin.

  Args:
    hashes: uint64 [all images], class after class, as `scan` gives them.
    sizes: int64 [classes], the number of images of each class.
    split_of: the name of the split of each class, [classes]. Classes with the name '' are in no
      split; together they are treated as one more split.
  """
  class_of: np.ndarray = np.repeat(np.arange(len(sizes)), sizes)
  first = np.cumsum(sizes) - sizes
  in_class = between = 0
  across: collections.Counter[tuple[str, str]] = collections.Counter()
  pairs: list[tuple[bool, int, int]] = []
  order = tuple(dict.fromkeys(split_of))
  for group in _groups(hashes):
    per_class = collections.Counter(class_of[group].tolist())
    per_split: dict[str, dict[int, int]] = {}
    for cls, count in per_class.items():
      per_split.setdefault(split_of[cls], {})[cls] = count
    in_class += sum(count for count in per_class.values() if count > 1)
    between += sum(sum(counts.values()) for counts in per_split.values() if len(counts) > 1)
    for pair in itertools.combinations([split for split in order if split in per_split], 2):
      across[pair] += sum(sum(per_split[split].values()) for split in pair)
    elsewhere = (
      row for row in group.tolist() if split_of[class_of[row]] != split_of[class_of[group[0]]]
    )
    pairs.append((len(per_split) == 1, int(group[0]), next(elsewhere, int(group[1]))))
  places = [
    tuple((int(class_of[row]), int(row - first[class_of[row]])) for row in rows)
    for _, *rows in sorted(pairs)[:_MAX_EXAMPLES]
  ]
  return Duplicates(in_class, between, dict(across), tuple(places))  # type: ignore[arg-type]


def _groups(hashes: np.ndarray) -> Iterator[np.ndarray]:
  """Yields, for each hash that occurs more than once, the rows that have it, in ascending order."""
  order = np.argsort(hashes, kind='stable')
  starts = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[:1]]))
  ends: np.ndarray = np.append(starts[1:], len(order))
  for number in np.flatnonzero(ends - starts > 1):
    yield order[starts[number] : ends[number]]


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
  found = _files(name, files.expanded(data_numpy_dir))
  listed = folder_lib.listed_classes(found.path, loaded.sizes)
  chosen = _splits(name, splits, loaded.num_classes, [entry.split for entry in listed])
  loaded = loaded.shuffled(shuffle_seed)
  scanned = scan(loaded)
  split_of = [''] * loaded.num_classes
  for split, classes in chosen.items():
    for cls in classes:
      split_of[cls] = split
  return Inspection(
    loaded, found, chosen, scanned, find_twins(scanned.hashes, loaded.sizes, split_of)
  )


def _files(name: str, root: pathlib.Path) -> Files:
  """Returns the files that `folder.load` reads for a dataset that is there."""
  file, folder = root / f'{name}.npy', root / name
  is_file = files.is_file(file)
  found = [file] if is_file else layouts.find_chunks(folder)
  first = folder / 'images.npy' if folder / 'images.npy' in found else found[0]
  with open(first, 'rb') as opened:
    dtype = str(files.read_header(opened, first).dtype)
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
    f'bright ({layouts.BRIGHT} and more)'
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
