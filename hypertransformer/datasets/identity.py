"""Tells whether two choices of classes are the same ones, and how many classes are in both.

`shared_classes` is for a test set that has training classes in it. `digest` is for a run that goes
on with classes other than before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from hypertransformer.datasets.arrays import ClassSet

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
