"""Checks the images and labels of callers, and converts them for the model."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hypertransformer.data import images as image_files
from hypertransformer.data import layouts
from hypertransformer.errors import InputError, require

CLEARLY = 64  # by how many grey levels inverted images must be closer to the training data
SIMPLE = (bool, int, float, str)  # types of labels that arrays and files can hold


def opened(
  images: Any, image_shape: tuple[int, int, int], name: str, prepare: bool
) -> tuple[Any, str]:
  """Turn image files and Pillow images into arrays, and convert all images if that is wanted.

  Args:
    images: A list of paths or of Pillow images, which may be mixed; or an array or list of arrays.
    image_shape: S, S and C of the model.
    name: What the images are, for messages.
    prepare: Whether they are converted to S x S pixels and C channels as the converters do.

  Returns:
    uint8 [n, S, S, C] with `prepare`, else the images as they are; and what is done to the first
    one, a sentence, or '' if it has the form of the model.

  Raises:
    InputError: An image cannot be read or converted, or there is none.
  """
  files = isinstance(images, list | tuple) and any(
    isinstance(image, str | os.PathLike | Image.Image) for image in images
  )
  if not prepare:
    return [image_files.read(image, None) for image in images] if files else images, ''
  size, _, channels = image_shape
  given = images if files else [layouts.to_uint8(np.asarray(x), f'The {name}') for x in images]
  require(len(given) > 0, f'There are no {name}. Pass one or more.')
  found, wanted = map(_form, (image_files.shape_of(given[0]), image_shape))
  conversion = f'Images are converted from {found} to {wanted}.' if found != wanted else ''
  return image_files.read_all(given, image_files.Form(size, channels)), conversion


def _form(shape: tuple[int, int, int]) -> str:
  """Describe the form of an image [H, W, C]."""
  height, width, channels = shape
  kinds = {1: 'grey', 3: 'RGB', 4: 'RGBA'}
  return f'{width} x {height} pixels, {kinds.get(channels, "other channels")}'


def pixels(
  images: Any, image_shape: tuple[int, int, int], name: str, may_be_black: bool
) -> np.ndarray:
  """Check images and make them a float array.

  Args:
    images: [n, S, S, C], or [n, S, S] if C is 1, in 0..255, of any integer or float type.
    image_shape: S, S and C of the model.
    name: What the images are, for messages.
    may_be_black: Whether all pixels may be 0, as a single image's may.

  Returns:
    float32 [n, S, S, C], in 0..255.

  Raises:
    InputError: The images have another shape, type or range.
  """
  expected = f'[n, {", ".join(map(str, image_shape))}]'
  try:
    array = np.asarray(images)
  except ValueError as error:
    raise InputError(
      f'The {name} differ in shape. Pass one array {expected}, or use prepare=True.'
    ) from error
  require(
    array.dtype.kind in 'uif',
    f'The {name} are of type {array.dtype}. Pass numbers in 0..255, such as uint8.',
  )
  if image_shape[-1] == 1 and array.shape[1:] == image_shape[:2]:
    array = array[..., None]
  require(
    array.shape[1:] == image_shape and len(array) > 0,
    f'The {name} have shape {list(array.shape)}, but the model takes {expected}. Use prepare=True, '
    'move the channels to the last axis (np.moveaxis), and make a single image a batch by '
    'image[None].',
  )
  layouts.check_values(array, f'The array of {name}', may_be_black)
  return array.astype(np.float32)


def warn_if_inverted(images: np.ndarray, name: str, brightness: float) -> None:
  """Warn if images are clearly like inverted training images: dark ink on white, for example.

  Args:
    images: float32 [n, S, S, C], in 0..255.
    name: What the images are, for messages.
    brightness: The mean of the training data, in 0..255.
  """
  mean = float(images.mean())
  if abs(mean - brightness) > abs(255 - mean - brightness) + CLEARLY:
    warnings.warn(
      f'The {name} have a mean of {mean:.0f}, but the model was trained on images with a mean of '
      f'{brightness:.0f}. They seem to be inverted. Pass 255 - images.',
      stacklevel=5,
    )


def labels(given: Any, count: int) -> list[Hashable]:
  """Check labels and make them a list of plain Python values.

  Args:
    given: One hashable label for each image, in a list, an array or the like.
    count: The number of images.

  Raises:
    InputError: There are more or fewer labels, or one of them is missing or not hashable.
  """
  if hasattr(given, '__array__'):  # a column of a table, a tensor
    given = np.atleast_1d(np.asarray(given))
  require(
    isinstance(given, Iterable) and not isinstance(given, str | bytes),
    f'labels={given!r} is invalid. Pass a list or an array with one label per image.',
  )
  found = [label.item() if isinstance(label, np.generic) else label for label in given]
  require(
    len(found) == count, f'There are {len(found)} labels for {count} images. Pass one per image.'
  )
  for number, label in enumerate(found):
    missing = label is None or (isinstance(label, float) and math.isnan(label))
    require(
      isinstance(label, Hashable) and not missing,
      f'Label {number} is {label!r}. Pass numbers, names or other hashable values.',
    )
  return found


def classes(found: Sequence[Hashable], num_labels: int, fewest: int) -> list[Hashable]:
  """Return the classes of a support set, in the order in which the model numbers them.

  If all are whole numbers, they are sorted, so that 0..K-1 are the same for the model as in
  training. Other labels are in the order in which they appear, so that a name has no influence.

  Args:
    found: The labels of the support images.
    num_labels: K, the largest number of classes.
    fewest: The smallest number of classes.

  Raises:
    InputError: There are more or fewer classes.
  """
  distinct = list(dict.fromkeys(found))
  if not fewest <= len(distinct) <= num_labels:
    some = ', '.join(map(repr, distinct[:5])) + (', ...' if len(distinct) > 5 else '')
    wanted = f'exactly {num_labels}' if fewest == num_labels else f'{fewest} to {num_labels}'
    raise InputError(
      f'The labels have {len(distinct)} classes ({some}). Pass images of {wanted}, as this model '
      f'was trained with num_labels={num_labels}.'
    )
  whole = [label for label in distinct if type(label) is int]
  return [*sorted(whole)] if len(whole) == len(distinct) else distinct


def numbers(found: Sequence[Hashable], among: Sequence[Hashable]) -> np.ndarray:
  """Return the index of each label among the classes, int32 [n]."""
  places = {label: place for place, label in enumerate(among)}
  return np.array([places[label] for label in found], np.int32)


def balanced(numbers: np.ndarray) -> np.ndarray:
  """Return the rows of a support set, repeated so that each class has as many as the largest one.

  Args:
    numbers: The class of each image, int [n].

  Returns:
    Indices of images in ascending order, int [classes * size of the largest class].
  """
  rows = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
  return np.sort(np.concatenate([np.resize(own, max(map(len, rows))) for own in rows]))


def as_array(names: Sequence[Hashable]) -> np.ndarray:
  """Return labels as an array [n], of their type if it is the same simple one, else of objects."""
  kinds = {type(name) for name in names}
  if len(kinds) == 1 and kinds <= set(SIMPLE):
    return np.array(names)
  array: np.ndarray = np.empty(len(names), object)
  array[:] = names
  return array
