"""Reads the layouts that a dataset can have on disk (docs/spec/data.md, section 1).

Whatever the layout, the result is the same: all images in one array, class after class, and the
number of images of each class.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from hypertransformer.data import files, pickles
from hypertransformer.errors import InputError


def find_chunks(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the chunks of a folder, in the order in which the original reads them.

  This is the order of their names as text, with chunk_10 before chunk_2. Another one would give
  classes other numbers than those that models were trained with.

  Raises:
    InputError: the folder cannot be read.
  """
  try:
    names = sorted(os.listdir(folder))
  except OSError as error:
    raise InputError(f'{folder} cannot be read ({files.reason(error)})') from error
  return [folder / name for name in names if name.endswith('.npy') and not name.startswith('.')]


def warn_of_order(chunks: Sequence[pathlib.Path]) -> None:
  """Logs a warning if chunks are read in another order than people would count them.

  Args:
    chunks: the files as `find` gives them, at least one.
  """
  counted = sorted(chunks, key=lambda path: _counted(path.name))
  for text, number in zip(chunks, counted, strict=True):
    if text != number:
      logging.warning(
        '%s: chunks are read in the order of their names as text, as by the original, so %s comes '
        'before %s and classes are numbered so; for another order write the numbers with zeros, '
        'as in 02',
        text.parent,
        text.name,
        number.name,
      )
      return


def _counted(name: str) -> list[tuple[int, int, str]]:
  """Returns a key by which names are sorted with the numbers in them by size."""
  pieces = re.findall(r'[0-9]+|[^0-9]+', name)
  # A number without leading zeros is the smaller one if it is shorter; numbers come before text.
  return [
    (0, len(digits), digits)
    if (digits := piece.lstrip('0')) != piece or piece.isdecimal()
    else (1, 0, piece)
    for piece in pieces
  ]


USUAL_CHANNELS = (1, 3, 4)
DARK = 2  # values of 0 to 2 only are no images on the scale 0..255
ROUNDING = 0.01  # so far floats may be outside of 0..255, as by 1.0000001 * 255
BRIGHT = 128  # from here on a pixel counts as bright
# So much of a large array is looked at before it is said to hold no value above DARK.
_SAMPLE_BYTES = 1 << 26
_RANGE_BLOCK_BYTES = 1 << 20

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
  step = max(1, _RANGE_BLOCK_BYTES // max(1, images[0].nbytes))
  starts = range(0, len(images), step)
  most = max(1, _SAMPLE_BYTES // _RANGE_BLOCK_BYTES)
  chosen = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).astype(np.int64))
  for number in chosen.tolist():
    yield images[starts[number] : starts[number] + step]


def share_of_bright(images: np.ndarray) -> float:
  """Returns the share of bright pixels (128 and more) of images uint8 [n, H, W, C], 0..1."""
  return float((images >= BRIGHT).mean())


# All images, uint8 [all images, H, W, C], class after class; and the number of images of each
# class, int64 [classes].
FlatImages = tuple[np.ndarray, np.ndarray]

_DTYPES = 'uint8 0..255, bool, or float 0..255'
# Arrays of floats are checked and converted this many bytes at a time, because a second array of
# their size might not fit into memory.
_BLOCK_BYTES = 1 << 26


def read_file(path: pathlib.Path) -> FlatImages:
  """Reads NAME.npy, an array [classes, samples, H, W, C] or [classes, samples, H, W].

  An array of uint8 stays memory-mapped; one of bool or float is converted in memory.

  Raises:
    InputError: the file does not hold such an array, or one that was hardly meant so (see
      `plausible`); the message says what was found.
  """
  array = files.map_array(path)
  if array.ndim not in (4, 5):
    raise InputError(
      f'{path} holds {array.dtype} {list(array.shape)}; expected '
      '[classes, samples, H, W, C] or [classes, samples, H, W]'
    )
  if array.ndim == 4:
    check_sides(array.shape, str(path))
    _, second, height, width = array.shape
    if second in USUAL_CHANNELS and height == width:
      logging.warning(
        '%s: %s is read as [classes, samples, H, W], so classes have %d images; if these are the '
        'channels, give the array its classes: [classes, samples, H, W, C]',
        path,
        list(array.shape),
        second,
      )
  else:
    check_axes(array.shape, str(path))
  images = to_uint8(array, str(path))
  if images.ndim == 4:
    images = images[..., np.newaxis]
  classes, samples = images.shape[:2]
  # For an array in C order, the usual one, this is a view; one in Fortran order is copied.
  flat = images.reshape(classes * samples, *images.shape[2:])
  check_range(flat, str(path))
  return flat, np.full(classes, samples, np.int64)


def read_folder(folder: pathlib.Path) -> FlatImages:
  """Reads the folder NAME/, in this project's form or in the original's.

  This project's form is a pair of files, images.npy and class_sizes.npy. The original's is a number
  of chunks *.npy, each a pickled list of arrays.

  Raises:
    InputError: the folder has neither form, or one of its files is broken; the message names it.
  """
  images, sizes = folder / 'images.npy', folder / 'class_sizes.npy'
  there = [files.exists(path) for path in (images, sizes)]
  if all(there):
    return _read_flat(images, sizes)
  if any(there):
    here, missing = (images, sizes) if there[0] else (sizes, images)
    raise InputError(
      f'{here} is there but {missing} is not; both are needed: convert the dataset again'
    )
  return _read_chunks(folder)


def _read_flat(images_path: pathlib.Path, sizes_path: pathlib.Path) -> FlatImages:
  """Reads this project's form of a folder; the images stay memory-mapped."""
  images = files.map_array(images_path)
  sizes = np.array(files.map_array(sizes_path))
  if images.ndim != 4 or images.dtype != np.uint8:
    raise InputError(
      f'{images_path} holds {images.dtype} {list(images.shape)}; expected uint8 '
      '[all images, H, W, C]'
    )
  check_axes(images.shape, str(images_path))
  if sizes.ndim != 1 or sizes.dtype.kind not in 'iu' or sizes.min() < 1:
    raise InputError(
      f'{sizes_path} holds {sizes.dtype} {list(sizes.shape)}; expected int64 '
      '[classes], the number of images of each class, at least 1'
    )
  total = sum(sizes.tolist())
  if total != len(images):
    raise InputError(
      f'{sizes_path} sums to {total} images, but {images_path} holds {len(images)}; '
      'the two do not belong together: convert the dataset again'
    )
  check_range(images, str(images_path))
  return images.reshape(images.shape), sizes.astype(np.int64)


def _read_chunks(folder: pathlib.Path) -> FlatImages:
  """Reads the original's form of a folder; all images go into memory."""
  chunks = find_chunks(folder)
  if not chunks:
    raise InputError(
      f'{folder} holds no .npy files; expected images.npy and class_sizes.npy, '
      'or chunks *.npy: convert the dataset again'
    )
  warn_of_order(chunks)
  logging.info('%s: %d chunks are read into memory', folder, len(chunks))
  arrays: list[np.ndarray] = []
  for path in chunks:
    for images in _chunk_classes(path):
      if arrays and images.shape[1:] != arrays[0].shape[1:]:
        raise InputError(
          f'{path}: class {len(arrays)} has images of {list(images.shape[1:])}, '
          f'earlier ones {list(arrays[0].shape[1:])}; expected one shape'
        )
      arrays.append(images)
  flat, sizes = _concatenate(arrays)
  check_range(flat, str(folder))
  return flat, sizes


def _chunk_classes(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yields the images of each class of one chunk, uint8 [samples, H, W, C]."""
  files.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    is_pickled = files.read_header(file, path).dtype.hasobject
  # If all classes of a list have the same size, np.save stores it as a plain array of numbers.
  classes = pickles.load_object_array(path) if is_pickled else files.map_array(path)
  if classes.ndim == 0 and isinstance(classes.item(), list | tuple):
    classes = classes.item()
  elif classes.ndim == 0:
    raise InputError(
      f'{path} holds a single {type(classes.item()).__name__}; expected a list of '
      'arrays, one per class'
    )
  for number, images in enumerate(classes):
    yield _class_images(images, f'{path}: entry {number}')


def _class_images(images: object, what: str) -> np.ndarray:
  """Returns one class of a chunk as uint8 [samples, H, W, C].

  Args:
    images: what the chunk holds for the class: an array of images, or a list of single images.
    what: the name of the class in errors.

  Raises:
    InputError: `images` is something else.
  """
  if isinstance(images, np.ndarray) and images.dtype.hasobject:  # an array of single images
    images = images.ravel().tolist()
  if not isinstance(images, np.ndarray) and not _is_list_of_arrays(images):
    raise InputError(
      f'{what} is a {type(images).__name__}; expected an array [samples, H, W, C], or a list of '
      'images'
    )
  try:
    array = np.asarray(images)
  except ValueError as error:
    raise InputError(f'{what} is not one array ({error}); expected [samples, H, W, C]') from error
  if array.ndim not in (3, 4) or array.size == 0:
    raise InputError(
      f'{what} is {array.dtype} {list(array.shape)}; expected the images of a '
      'class, [samples, H, W, C] or [samples, H, W]'
    )
  if array.ndim == 4:
    check_axes(array.shape, what)
  else:
    check_sides(array.shape, what)
  array = to_uint8(array, what)
  return array if array.ndim == 4 else array[..., np.newaxis]


def _is_list_of_arrays(images: object) -> bool:
  # NumPy also makes arrays of lists of other things, and these can fill the memory: with one long
  # string among many short ones, every element gets the room of the long one.
  return isinstance(images, list | tuple) and all(
    isinstance(image, np.ndarray) and not image.dtype.hasobject for image in images
  )


def _concatenate(arrays: list[np.ndarray]) -> FlatImages:
  """Joins the arrays of all classes, uint8 [samples, H, W, C] each.

  The list `arrays` is emptied meanwhile. Each array is freed as soon as it is copied, so that few
  images are in memory twice.
  """
  sizes = np.array([len(images) for images in arrays], np.int64)
  flat = np.empty((int(sizes.sum()), *arrays[0].shape[1:]), np.uint8)
  arrays.reverse()
  end = 0
  while arrays:
    images = arrays.pop()
    flat[end : end + len(images)] = images
    end += len(images)
  return flat, sizes


def to_uint8(array: np.ndarray, what: str) -> np.ndarray:
  """Converts pixels to uint8.

  An array of uint8 is returned as it is. Of bools, False becomes 0 and True 255. Floats are on the
  scale 0..255 and are rounded.

  Args:
    array: the pixels, in any shape that is not empty.
    what: the name of the array in errors.

  Raises:
    InputError: the array has another dtype, or it holds floats that are not finite, outside 0..255,
      or all at most 2 but not all 0, as on a scale of 0..1.
  """
  if array.dtype == np.uint8:
    return array
  if array.dtype == np.bool_:
    return np.asarray(array).astype(np.uint8) * np.uint8(255)
  if array.dtype.kind in 'iu':
    raise InputError(f'{what} holds {array.dtype}; expected {_DTYPES}: {_integer_advice(array)}')
  if array.dtype.kind != 'f':
    raise InputError(f'{what} holds {array.dtype}; expected {_DTYPES}: convert it to uint8')
  low, high = _float_range(array, what)
  if low < -ROUNDING or high > 255 + ROUNDING:
    raise InputError(f'{what} holds floats from {low:g} to {high:g}; expected 0..255')
  if 0 < high <= DARK:
    refuse_dark(low, high, what)
  result = np.empty(array.shape, np.uint8)
  for part, out in zip(_blocks(array), _blocks(result, array.dtype.itemsize), strict=True):
    out[...] = np.rint(part)
  return result


def _integer_advice(array: np.ndarray) -> str:
  """Returns what to do with whole numbers of another type, by those at the beginning of the array.

  Plain conversion would turn larger numbers than 255 into others.
  """
  block = next(_blocks(array))
  low, high = int(block.min()), int(block.max())
  if low >= 0 and high <= DARK:
    return 'convert it to uint8 and multiply by 255'
  if low < 0 or high > 255:
    return f'convert it to uint8, scaled to 0..255 (there are values from {low} to {high})'
  return 'convert it to uint8'


def _float_range(array: np.ndarray, what: str) -> tuple[float, float]:
  """Returns the smallest and the largest value; raises InputError unless all are finite."""
  low, high = float('inf'), float('-inf')
  for part in _blocks(array):
    if not np.isfinite(part).all():
      raise InputError(f'{what} holds NaN or infinite values; expected {_DTYPES}')
    low, high = min(low, float(part.min())), max(high, float(part.max()))
  return low, high


def _blocks(array: np.ndarray, itemsize: int = 0) -> Iterator[np.ndarray]:
  """Yields parts of an array along its first axis, of _BLOCK_BYTES at most where that is possible.

  Args:
    array: the array to cut; the parts are views of it.
    itemsize: bytes that one element is counted as; 0 for those that it has. Two arrays of one shape
      are cut alike if both are counted with the same.
  """
  entry_bytes = array[0].size * (itemsize or array.dtype.itemsize)
  step = max(1, _BLOCK_BYTES // entry_bytes)
  for start in range(0, len(array), step):
    yield array[start : start + step]
