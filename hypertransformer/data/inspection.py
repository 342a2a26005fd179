"""Inspection of datasets: a report of what a dataset holds, and comparisons of classes.

`report` is the command `inspect`. `shared_classes` finds training classes in a test
set, and `digest` tells whether a run resumes with the same classes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from hypertransformer.data import class_list, files, layouts, specs
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

# The usual benchmarks: (way, shot), that is, classes of a task and support images of each.
_USUAL_TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
_SAMPLE_BYTES = 1 << 26  # of the images that are compared by `shared_classes`
_BLOCK_BYTES = 1 << 24
_MAX_EXAMPLES = 5
_FIRST_IMAGES = 5  # of a class, by which it is known
_NO_IMAGE = 16 * '0'
_DIGITS = 24


def shared_classes(one: ClassSet, other: ClassSet) -> int:
  """Return how many classes of `one` are also in `other`.

  Classes of one dataset are compared by where their images are. Classes of two datasets are the
  same if half of the images are equal, counted in the class with fewer of them. Of large datasets
  the first images of each class are compared, 64 MB in all. Images of a single value are ignored.
  """
  if one.arrays.images is other.arrays.images:
    starts = [classes.arrays.starts[classes.classes] for classes in (one, other)]
    return len(np.intersect1d(*starts))
  if one.arrays.image_shape != other.arrays.image_shape:
    return 0
  others = list(_class_hashes(other))
  known = set().union(*others)
  return sum(
    not known.isdisjoint(hashes)
    and any(2 * len(hashes & those) >= min(len(hashes), len(those)) > 0 for those in others)
    for hashes in _class_hashes(one)
  )


def warn_of_shared_classes(classes: ClassSet, training: ClassSet, what: str) -> None:
  """Warn if classes that are called new, by the name `what`, are among those of training."""
  if shared := shared_classes(classes, training):
    logging.warning(
      '%d of the %d classes of %s are among the %d of --train_dataset: the accuracy on them is not '
      'that on new classes. Choose others, such as NAME:FIRST-LAST.',
      *(shared, len(classes.classes), what, len(training.classes)),
    )


def _class_hashes(classes: ClassSet) -> Iterator[set[bytes]]:
  """Yield the hashes of the first images of each class."""
  arrays = classes.arrays
  most = max(1, _SAMPLE_BYTES // (arrays.images[0].nbytes * len(classes.classes)))
  for cls in classes.classes.tolist():
    images = arrays.gather(arrays.rows(cls, range(min(most, int(arrays.sizes[cls])))))
    yield {_hash(image) for image in images if image.min() < image.max()}


def _hash(image: np.ndarray) -> bytes:
  # 64 bits: among a million images the chance of two different ones with one hash is below 1e-7.
  return hashlib.blake2b(image.tobytes(), digest_size=8).digest()


def digest(classes: ClassSet) -> str:
  """Return 24 hexadecimal digits that tell later whether the classes are still the same.

  They depend on the number of images of all classes of the dataset, on the numbers of the chosen
  classes and their names, but not on pixels. They do not change with versions of this package.
  """
  numbers = classes.classes.tolist()
  names = [classes.arrays.names[number] for number in numbers] if classes.arrays.names else []
  text = json.dumps([classes.arrays.sizes.tolist(), numbers, names], separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def images_of_classes(classes: ClassSet) -> str:
  """Return 16 hexadecimal digits for each class, of its first image that is not of a single value.

  They tell later, without the images, whether a class is the same. Without such an image among the
  first ones they are zeros.
  """
  arrays = classes.arrays
  found = []
  for cls in classes.classes.tolist():
    images = arrays.gather(arrays.rows(cls, range(min(_FIRST_IMAGES, int(arrays.sizes[cls])))))
    hashes = (_hash(image).hex() for image in images if image.min() < image.max())
    found.append(next(hashes, _NO_IMAGE))
  return ''.join(found)


def warn_of_classes_on_record(classes: ClassSet, earlier: Iterable[str], what: str) -> None:
  """Warn if classes that are called new, by the name `what`, were among those of training before.

  Args:
    classes: The classes.
    earlier: What `images_of_classes` returned of the training classes.
    what: Their name in the warning.
  """
  known = {digits for text in earlier for digits in _split(text)} - {_NO_IMAGE}
  if known and (shared := known & set(_split(images_of_classes(classes)))):
    logging.warning(
      '%d of the %d classes of %s were training classes of this run before it was resumed with '
      'other data: the accuracy on them is not that on new classes.',
      *(len(shared), len(classes.classes), what),
    )


def _split(digits: str) -> list[str]:
  return [digits[at : at + len(_NO_IMAGE)] for at in range(0, len(digits), len(_NO_IMAGE))]


def report(
  name: str, data_numpy_dir: str, splits: str = '', shuffle_seed: int = 0
) -> tuple[ClassArrays, list[str]]:
  """Read a whole dataset once and describe it.

  Args:
    name: The name of the dataset.
    data_numpy_dir: The directory that has its file or directory.
    splits: The splits to describe, in the form of the flag --eval_datasets, such as
      'train=NAME:0-63,test=NAME:64-99'. If it is empty, the splits are those of the class list;
      without one, the presets of a known dataset; and otherwise a single split 'all'.
    shuffle_seed: The seed of a permutation of the classes, as --shuffle_labels_seed of training; 0
      for none. `splits` are numbers of the permuted classes.

  Returns:
    The dataset and the lines of the report: classes and images, splits and the usual few-shot
    tasks that they have images for, and images that occur more than once.

  Raises:
    InputError: The dataset does not exist or is malformed, or a split has classes that the dataset
      does not have.
  """
  if specs.parse_dataset(name).classes is not None:
    raise InputError(f'{name!r} has labels; give the name of the dataset, and labels by --splits')
  loaded = folder_lib.load(name, data_numpy_dir)
  path = folder_lib.find(name, data_numpy_dir)
  assert path  # it has been loaded
  chosen = _splits(name, splits, loaded.num_classes) or _listed_splits(
    name, class_list.read(class_list.beside(path), loaded.sizes), loaded.num_classes
  )
  paths = layouts.chunks_of(path) if path.is_dir() else [path]
  first = path / 'images.npy' if path / 'images.npy' in paths else paths[0]
  arrays = loaded.shuffled(shuffle_seed)
  sizes = arrays.sizes
  hashes, pixel_lines = _scan(arrays)
  return arrays, [
    f'dataset:    {name}, {path}',
    f'on disk:    {sum(file.stat().st_size for file in paths) / 1e6:.1f} MB, '
    f'{files.header_of(first).dtype}',
    f'classes:    {len(sizes)}, {sizes.sum()} images',
    f'per class:  min {sizes.min()}, median {np.median(sizes):g}, max {sizes.max()} images',
    f'images:     {" x ".join(map(str, arrays.image_shape))} (height x width x channels)',
    *pixel_lines,
    *(line for split in chosen.items() for line in _split_lines(arrays, *split)),
    *_duplicate_lines(arrays, hashes, chosen),
  ]


def _splits(name: str, text: str, num_classes: int) -> dict[str, tuple[int, ...]]:
  """Return the classes of each split that the flag --splits names; each class may be in one."""
  found: dict[str, tuple[int, ...]] = {}
  for split, spec in specs.parse_eval_datasets(text) if text else ():
    classes = spec.classes or ()
    others = {cls for split in found.values() for cls in split}
    if spec.name != name or max(classes) >= num_classes or others & set(classes):
      raise InputError(
        f'--splits: {split}={spec} should name classes 0-{num_classes - 1} of {name!r} that are in '
        'no other split'
      )
    found[split] = classes
  return found


def _listed_splits(
  name: str, entries: Sequence[class_list.ClassEntry], num_classes: int
) -> dict[str, tuple[int, ...]]:
  """Return the classes of each split of the class list, or else of the presets."""
  presets = specs.PRESETS.get(name, {})
  if not entries and sum(map(len, presets.values())) == num_classes:
    return {split: tuple(classes) for split, classes in presets.items()}
  found: dict[str, tuple[int, ...]] = {}
  for cls in range(num_classes):
    split = entries[cls].split if entries else 'all'
    found[split] = (*found.get(split, ()), cls)
  return found


def _scan(arrays: ClassArrays) -> tuple[list[bytes], list[str]]:
  """Read all images once, in blocks.

  Returns:
    The hash of each image, class after class, and the lines about the pixels.
  """
  pixels = math.prod(arrays.image_shape)
  step = max(1, _BLOCK_BYTES // pixels)
  order = np.concatenate([arrays.rows(cls, range(size)) for cls, size in enumerate(arrays.sizes)])
  hashes: list[bytes] = []
  counts: np.ndarray = np.zeros(256, np.int64)  # of each value
  blank = 0
  with progress(arrays.name, len(order), 'images') as bar:
    for begin in range(0, len(order), step):
      images = arrays.gather(order[begin : begin + step])
      hashes += [_hash(image) for image in images]
      counts += np.bincount(images.ravel(), minlength=256)
      blank += int((np.ptp(images.reshape(len(images), pixels), 1) == 0).sum())
      bar.update(len(images))
  values, shares = np.flatnonzero(counts), counts / counts.sum()
  bright = 100 * shares[folder_lib.BRIGHT :].sum()
  return hashes, [
    f'values:     {values[0]} to {values[-1]}; {blank} images of a single value',
    f'brightness: mean {shares @ np.arange(256):.1f}, {bright:.1f} % of the pixels are bright '
    f'({folder_lib.BRIGHT} and more)',
  ]


def _split_lines(arrays: ClassArrays, split: str, classes: tuple[int, ...]) -> Iterator[str]:
  """Yield the classes of a split as flags take them, and the usual tasks that they suffice for."""
  smallest = int(arrays.sizes[list(classes)].min())
  spec = specs.DatasetSpec(arrays.name, classes)
  yield f'split:      {split}={spec}: {len(classes)} classes of at least {smallest} images'
  fits = [
    f'{way}-way {shot}-shot + {smallest - shot}'
    for way, shot in _USUAL_TASKS
    if way <= len(classes) and shot < smallest
  ]
  yield (
    f'            fits {", ".join(fits)} query images per class (the most without overlap)'
    if fits
    else '            fits none of the usual tasks'
  )


def _duplicate_lines(
  arrays: ClassArrays, hashes: Sequence[bytes], splits: dict[str, tuple[int, ...]]
) -> Iterator[str]:
  """Yield how many images occur more than once in a split, and in two splits."""
  split_of = {cls: split for split, classes in splits.items() for cls in classes}
  places: dict[bytes, list[tuple[int, int]]] = {}  # (class, index in the class) of each image
  images = ((cls, index) for cls, size in enumerate(arrays.sizes) for index in range(size))
  for key, place in zip(hashes, images, strict=True):
    places.setdefault(key, []).append(place)
  groups: dict[str, list[tuple[int, int]]] = {}
  for twins in places.values():
    if len(twins) > 1:
      where = dict.fromkeys(split_of.get(cls, 'no split') for cls, _ in twins)
      groups.setdefault(' and '.join(where), []).extend(twins)
  if not groups:
    yield 'duplicates: none'
  for splits_of, twins in groups.items():
    pair = ' = '.join(f'{_called(arrays, cls)}, image {index}' for cls, index in twins[:2])
    yield f'duplicates: {len(twins)} images occur more than once in {splits_of}, such as {pair}'


def _called(arrays: ClassArrays, cls: int) -> str:
  """Return the number of a class, with its name if that is known."""
  return f'class {cls} ({arrays.names[cls]})' if arrays.names else f'class {cls}'
