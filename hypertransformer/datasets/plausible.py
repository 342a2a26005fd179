"""Finds images that can be read but were not meant so: their axes, scale and polarity.

Training on such images ends in a poor model without any error. Nothing here reads more than a
sample of a large file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from absl import logging

from hypertransformer.errors import InputError

USUAL_CHANNELS = (1, 3, 4)
DARK = 2  # values of 0 to 2 only are no images on the scale 0..255
ROUNDING = 0.01  # so far floats may be outside of 0..255, as by 1.0000001 * 255
BRIGHT = 128  # from here on a pixel counts as bright
# So much of a large array is looked at before it is said to hold no value above DARK.
_SAMPLE_BYTES = 1 << 26
_BLOCK_BYTES = 1 << 20

_Axes = int | tuple[int, ...]
# For arrays of 5 and of 4 axes: the axes that people have elsewhere, and their right places.
_MOVES: dict[int, tuple[tuple[_Axes, _Axes], ...]] = {
  5: (
    (2, -1),  # [classes, samples, C, H, W]
    (3, -1),  # [classes, samples, H, C, W]
    (4, 1),  # [classes, H, W, C, samples]
    (1, -1),  # [classes, C, samples, H, W]
    (0, -1),  # [C, classes, samples, H, W]
    ((3, 4), (0, 1)),  # [H, W, C, classes, samples]
  ),
  4: (
    (1, -1),  # [images, C, H, W]
    (2, -1),  # [images, H, C, W]
    (3, 0),  # [H, W, C, images]
    (0, -1),  # [C, images, H, W]
  ),
}


def check_axes(shape: tuple[int, ...], what: str) -> None:
  """Refuses an array of images whose last axis is not that of the channels.

  Any number of channels is allowed as long as the sides of the images are longer and no other axis
  is rather that of the channels.

  Args:
    shape: [classes, samples, H, W, C], or [images, H, W, C].
    what: the name of the array in errors.

  Raises:
    InputError: the axes are in another order. The message has the call of NumPy that mends it.
  """
  *_, height, width, channels = shape
  if channels in USUAL_CHANNELS:
    return
  move = _move(shape)
  many = channels > max(USUAL_CHANNELS)
  form = '[classes, samples, H, W, C]' if len(shape) == 5 else '[images, H, W, C]'
  read = f'as {form} are images of {height} x {width} pixels with {channels} channels'
  if move or (many and channels >= max(height, width)):
    raise InputError(
      f'{what} holds {list(shape)}, which {read}; expected the channels in the last axis: '
      + ('save np.moveaxis(array, {}, {})'.format(*move) if move else 'put them there')
    )


def _move(shape: tuple[int, ...]) -> tuple[_Axes, _Axes] | None:
  """Returns the arguments of np.moveaxis that put the channels last; None if they may be there.

  Square images are taken to be right, unless there are many channels and one image of each class,
  which rather is [classes, C, H, W, samples]. Otherwise the moves that people need are tried until
  one gives square images with a usual number of channels. If none does, the channels are that axis
  of the images which is 1, 3 or 4, or else the first one where it is the smallest and the last one
  has as many channels as no image has.
  """
  *_, height, width, channels = shape
  many = channels > max(USUAL_CHANNELS)
  if height == width:
    return ((1, 4), (4, 1)) if many and len(shape) == 5 and shape[1] == 1 else None
  for move in _MOVES[len(shape)]:
    moved = np.moveaxis(np.broadcast_to(np.uint8(0), shape), *move).shape
    if moved[-1] in USUAL_CHANNELS and moved[-2] == moved[-3]:
      return move
  first = len(shape) - 3
  for axis in (first, first + 1):
    if shape[axis] in USUAL_CHANNELS:
      return axis, -1
  looks_first = many and height < width <= channels
  return (first, -1) if looks_first else None


def check_sides(shape: tuple[int, ...], what: str) -> None:
  """Refuses images without an axis of channels if one of their sides is rather that axis.

  Args:
    shape: [classes, samples, H, W], or [samples, H, W].
    what: the name of the array in errors.

  Raises:
    InputError: one side of the images is 1, 3 or 4 and the other is not. The message says what to
      do in either case.
  """
  *_, height, width = shape
  if (height in USUAL_CHANNELS) == (width in USUAL_CHANNELS):
    return
  form = '[classes, samples, H, W' if len(shape) == 4 else '[samples, H, W'
  raise InputError(
    f'{what} holds {list(shape)}, which as {form}] are images of {height} x {width} pixels; if one '
    f'of these is the channels, give the array as {form}, C] (array.reshape, np.moveaxis); if '
    'they are pixels, save array[..., np.newaxis]'
  )


def check_range(images: np.ndarray, what: str) -> None:
  """Refuses images that are on a scale of 0 to 1, or all black.

  It stops at the first value above 2. Of a large array a sample of 64 MB is looked at, spread over
  it. If this is black altogether, that is only warned of.

  Args:
    images: uint8 [images, H, W, C], in memory or memory-mapped.
    what: the name of the array in errors.

  Raises:
    InputError: there is no value above 2.
  """
  high, seen = 0, 0
  for block in _sample(images):
    high, seen = max(high, int(block.max())), seen + len(block)
    if high > DARK:
      return
  if high == 0 and seen < len(images):
    logging.warning('%s: %d of %d images were looked at and are black', what, seen, len(images))
  else:
    refuse_dark(0, high, what)


def refuse_dark(low: float, high: float, what: str) -> None:
  """Raises the InputError about values from `low` to `high`, which are in 0..2."""
  if high == 0:
    raise InputError(f'{what} holds zeros only, black images; expected 0..255: make it again')
  raise InputError(
    f'{what} holds values from {low:g} to {high:.8g}; that looks like 0..1, expected 0..255: '
    'multiply by 255'
  )


def _sample(images: np.ndarray) -> Iterator[np.ndarray]:
  """Yields blocks of an array along its first axis: all of a small one, some of a large one.

  The first block comes first; the others are spread evenly up to the last.
  """
  step = max(1, _BLOCK_BYTES // max(1, images[0].nbytes))
  starts = range(0, len(images), step)
  most = max(1, _SAMPLE_BYTES // _BLOCK_BYTES)
  chosen = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).astype(np.int64))
  for number in chosen.tolist():
    yield images[starts[number] : starts[number] + step]


def share_of_bright(images: np.ndarray) -> float:
  """Returns the share of bright pixels (128 and more) of images uint8 [n, H, W, C], 0..1."""
  return float((images >= BRIGHT).mean())
