"""Checks the images and labels that callers give, and converts them for the model.

The functions raise InputError for what the caller cannot have meant.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from hypertransformer.errors import InputError

ROUNDING = 0.01  # so far floats may be outside of 0..255, as by 1.0000001 * 255
DARK = 2  # values of 0 to 2 only are no pixels on the scale 0..255
# Other orders of the axes: the call that mends it, the axis of the channels, those of the sides.
_ORDERS = (
  ('np.moveaxis(images, 1, -1)', 1, (2, 3)),  # [n, C, S, S]
  ('np.moveaxis(images, 2, -1)', 2, (1, 3)),  # [n, S, C, S]
  ('np.moveaxis(images, 3, 0)', 2, (0, 1)),  # [S, S, C, n]
  ('np.moveaxis(images, 0, -1)', 0, (2, 3)),  # [C, n, S, S]
)

SIMPLE = (bool, int, float, str)  # types of labels that arrays and files can hold


def pixels(
  images: Any, image_shape: tuple[int, int, int], name: str, may_be_black: bool
) -> np.ndarray:
  """Checks images and makes them a float array.

  Args:
    images: [n, S, S, C], or [n, S, S] if C is 1, in 0..255, of any type of whole or floating
      numbers.
    image_shape: S, S and C of the model.
    name: what the images are, for messages.
    may_be_black: whether all pixels may be 0, as a single image's may.

  Returns:
    float32 [n, S, S, C], in 0..255.
  """
  expected = f'[n, {", ".join(map(str, image_shape))}]'
  try:
    array = np.asarray(images)
  except ValueError as error:
    raise InputError(
      f'{name} have images of different shapes; expected one array {expected}.'
    ) from error
  if array.dtype.kind not in 'uif':
    hint = ': multiply them by 255' if array.dtype.kind == 'b' else ''
    raise InputError(f'{name} are {array.dtype}; expected numbers 0..255, such as uint8{hint}.')
  if array.shape[1:] == image_shape[:2] and image_shape[-1] == 1:
    array = array[..., None]
  if array.shape[1:] != image_shape:
    raise InputError(
      f'{name} have the shape {list(array.shape)}; the model was trained on {expected}'
      f'{_shape_hint(array.shape, image_shape)}'
    )
  if len(array) == 0:
    raise InputError(f'{name} are empty; expected at least one image {expected}.')
  _check_range(array, name, may_be_black)
  return array.astype(np.float32)


def _shape_hint(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> str:
  """The end of a message about images of this shape: what to do."""
  if shape in (image_shape, image_shape[:2]):
    return ': of a single image make a batch by image[None].'
  moved = _moved(shape, image_shape)
  if moved:
    return f': the axes are in another order; give {moved}.'
  if len(shape) in (3, 4) and shape[1:3] == image_shape[:2]:
    colours = 'grey' if image_shape[-1] == 1 else 'colour'
    return f': give images with {image_shape[-1]} channels ({colours}).'
  size = f'{image_shape[0]} x {image_shape[1]}'
  return f': resize images to {size} pixels first, as the training data was.'


def _moved(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> str:
  """The call of NumPy that gives images of this shape the axes [n, S, S, C]; '' if none does.

  Square images of another size than the model's are recognised too.
  """
  side, _, channels = image_shape
  if len(shape) == 3:
    if shape == (channels, side, side):
      return 'np.moveaxis(images, 0, -1)[None]'
    return 'np.moveaxis(images, 2, 0)' if shape[:2] == (side, side) and channels == 1 else ''
  for call, axis, (one, other) in _ORDERS if len(shape) == 4 else ():
    if shape[axis] == channels and shape[one] == shape[other]:
      return call if shape[one] == side else f'{call}, resized to {side} x {side} pixels'
  return ''


def _check_range(array: np.ndarray, name: str, may_be_black: bool) -> None:
  """Raises InputError for values that are not pixels in 0..255."""
  low, high = array.min(), array.max()
  if not (np.isfinite(low) and np.isfinite(high)):
    raise InputError(f'{name} hold values that are no numbers (NaN or infinite); expected 0..255.')
  if low < -ROUNDING or high > 255 + ROUNDING:
    raise InputError(
      f'{name} are in {low:g}..{high:g}; expected pixels in 0..255, not normalised: the model does '
      'that itself.'
    )
  if high == 0 and not may_be_black:
    raise InputError(f'{name} are all black (0); expected pixels in 0..255.')
  if 0 < high <= DARK:
    raise InputError(
      f'{name} are in {low:g}..{high:.8g}, as if white were 1; expected 0..255: multiply them '
      'by 255.'
    )


def labels(given: Any, count: int) -> list[Hashable]:
  """Checks labels and makes them a list of plain Python values.

  Args:
    given: one hashable label for each image, in a list, an array or the like.
    count: the number of images.
  """
  if isinstance(given, np.ndarray):
    if given.ndim != 1:
      raise InputError(
        f'labels have the shape {list(given.shape)}; expected one label per image, [{count}].'
      )
    given = given.tolist()
  if isinstance(given, str | bytes) or not isinstance(given, Iterable):
    raise InputError(f'labels are {given!r}; expected a list or an array with one label per image.')
  found = [label.item() if isinstance(label, np.generic) else label for label in given]
  if len(found) != count:
    raise InputError(
      f'there are {len(found)} labels for {count} images; expected one label per image.'
    )
  for number, label in enumerate(found):
    _check_label(number, label)
  return found


def _check_label(number: int, label: Any) -> None:
  """Raises InputError for something that is no label; number: its place, counted from 0."""
  if not isinstance(label, Hashable):
    raise InputError(
      f'label {number} is {label!r}; expected something that can be told apart, such as a whole '
      'number or a name.'
    )
  if label is None or (isinstance(label, float) and math.isnan(label)):
    raise InputError(f'label {number} is {label}; every image needs a label.')


def classes(found: Sequence[Hashable], num_labels: int, fewer: bool = False) -> list[Hashable]:
  """The classes of a support set, in the order in which the model numbers them.

  If all are whole numbers, they are ordered by size, so that 0..K-1 are the same for the model as
  in training. Other labels are in the order in which they appear, so that a name has no influence.

  Args:
    found: the labels of the support images.
    num_labels: K; there must be exactly so many classes.
    fewer: allows 2 to K classes.
  """
  distinct = list(dict.fromkeys(found))
  least, told = (2, f'2 to {num_labels}') if fewer else (num_labels, f'exactly {num_labels}')
  if not least <= len(distinct) <= num_labels:
    some = ', '.join(map(repr, distinct[:5])) + (', ...' if len(distinct) > 5 else '')
    raise InputError(
      f'the labels are of {len(distinct)} classes ({some}); this model tells {told} apart '
      '(num_labels of its training): give images of so many.'
    )
  whole = [label for label in distinct if type(label) is int]
  return [*sorted(whole)] if len(whole) == len(distinct) else distinct


def numbers(found: Sequence[Hashable], among: Sequence[Hashable]) -> np.ndarray:
  """The place of each label among the classes, int32 [n]."""
  places = {label: place for place, label in enumerate(among)}
  return np.array([places[label] for label in found], np.int32)


def as_array(names: Sequence[Hashable]) -> np.ndarray:
  """Labels as an array [n].

  It has the type of the labels if they all have the same simple one; else it is of objects.
  """
  kinds = {type(name) for name in names}
  if len(kinds) == 1 and kinds <= set(SIMPLE):
    return np.array(names)
  array: np.ndarray = np.empty(len(names), object)
  array[:] = names
  return array
