"""Finds images that are equal pixel for pixel: in a class, between classes and across splits.

`scan` reads a dataset once and gives a hash of each image; `find` counts the hashes that occur more
than once. Two equal images are called twins here.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hypertransformer.datasets import plausible
from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.progress import Progress

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
  progress = Progress(arrays.name, total, 'images')
  hashes: np.ndarray = np.empty(total, np.uint64)
  low, high, blank, done = 255, 0, 0, 0
  brightness = bright = 0
  for rows in _blocks(arrays, block):
    images = arrays.gather(rows).reshape(len(rows), -1)
    lowest, highest = images.min(1), images.max(1)
    low, high = min(low, int(lowest.min())), max(high, int(highest.max()))
    blank += int((lowest == highest).sum())
    brightness += int(images.sum())
    bright += int((images >= plausible.BRIGHT).sum())
    for image in images:
      # 64 bits: among a million images the chance of two different ones with one hash is below
      # 1e-7.
      hashes[done] = int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), 'little')
      done += 1
    progress.update(done)
  pixels = total * math.prod(arrays.image_shape)
  return Scan(hashes, low, high, blank, brightness / pixels, bright / pixels)


def _blocks(arrays: ClassArrays, block: int) -> Iterator[np.ndarray]:
  """Yields the row numbers of all images, class after class, at most `block` at a time."""
  for start, size in zip(arrays.starts.tolist(), arrays.sizes.tolist(), strict=True):
    for first in range(0, size, block):
      yield np.arange(start + first, start + min(first + block, size))


def find(hashes: np.ndarray, sizes: np.ndarray, split_of: Sequence[str]) -> Duplicates:
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
