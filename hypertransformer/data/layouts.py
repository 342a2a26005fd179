"""The layouts of datasets on disk (docs/spec/data.md, section 1), and the checks of their pixels.

Whatever the layout, the result is one array of all images, class after class, and the number of
images of each class. Images that can be read but have wrong axes or another scale would train a
poor model without an error, so they are refused.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
from absl import logging

from hypertransformer.data import files, pickles
from hypertransformer.errors import InputError

# All images, uint8 [all images, H, W, C], class after class; and the number of images of each
# class, int64 [classes].
FlatImages = tuple[np.ndarray, np.ndarray]

USUAL_CHANNELS = (1, 3, 4)
_ROUNDING = 0.01  # tolerance of floats outside 0..255
_DARK = 2  # images whose values are all at most 2 are on another scale
_BLOCK_BYTES = 1 << 24  # large arrays are checked and converted in blocks


def check_axes(shape: tuple[int, ...], what: str) -> None:
  """Refuse an array of images whose channels are not in the last axis.

  More than 4 channels are allowed if the sides of the images are longer.

  Args:
    shape: [..., H, W, C].
    what: The name of the array in errors.

  Raises:
    InputError: One side of the images has the size of the channels, or the channels that of a side.
  """
  height, width, channels = shape[-3:]
  channels_first = len(shape) == 5 and channels > 4 and shape[1] in USUAL_CHANNELS
  sides_agree = (height in USUAL_CHANNELS) == (width in USUAL_CHANNELS)
  few_channels = channels < min(height, width) and not channels_first
  if not sides_agree or not (channels in USUAL_CHANNELS or few_channels):
    raise InputError(
      f'{what} has the shape {list(shape)}, that is, images of {height} x {width} pixels with '
      f'{channels} channels; expected the channels (1, 3 or 4) in the last axis: move them there '
      'by np.moveaxis, or add an axis for the channels or classes'
    )


def check_values(images: np.ndarray, what: str, may_be_black: bool = False) -> None:
  """Refuse pixels that are not on the scale 0..255.

  Of a uint8 array no more is read than up to the first value above 2.

  Args:
    images: Numbers of any type, in memory or memory-mapped; not empty.
    what: The name of the array in errors.
    may_be_black: Whether all pixels may be 0.

  Raises:
    InputError: There are values outside 0..255, such as NaN, or none above 2.
  """
  low, high = np.inf, -np.inf
  for block in _blocks(images):
    low, high = np.minimum(low, block.min()), np.maximum(high, block.max())  # NaN stays NaN
    if images.dtype == np.uint8 and high > _DARK:
      return
  if low == high == 0 and may_be_black:
    return
  if not (low >= -_ROUNDING and _DARK < high <= 255 + _ROUNDING):
    raise InputError(
      f'{what} has values from {low:g} to {high:.8g}; expected pixels in 0..255, not normalized: '
      'multiply them by 255 if white is 1'
    )


def to_uint8(array: np.ndarray, what: str) -> np.ndarray:
  """Convert pixels to uint8.

  Integers and floats are on the scale 0..255, and floats are rounded; of bools, True becomes 255.

  Args:
    array: The pixels, in any shape that is not empty; uint8 is returned unchanged.
    what: The name of the array in errors.

  Raises:
    InputError: The pixels have another type or scale (see `check_values`); they may be all 0.
  """
  if array.dtype == np.uint8:
    return array
  if array.dtype == np.bool_:
    return np.asarray(array).astype(np.uint8) * np.uint8(255)
  if array.dtype.kind not in 'iuf':
    raise InputError(f'{what} has the type {array.dtype}; expected uint8 0..255')
  check_values(array, what, may_be_black=True)
  result = np.empty(array.shape, np.uint8)
  step = len(next(_blocks(array)))
  for start in range(0, len(array), step):
    result[start : start + step] = np.rint(array[start : start + step])
  return result


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
  """Yield parts of an array along its first axis, of about _BLOCK_BYTES each."""
  step = max(1, _BLOCK_BYTES // array[0].nbytes)
  for start in range(0, len(array), step):
    yield array[start : start + step]


def read_file(path: pathlib.Path) -> FlatImages:
  """Read NAME.npy, an array [classes, samples, H, W, C] or [classes, samples, H, W].

  An array of uint8 stays memory-mapped; others are converted in memory.

  Raises:
    InputError: The file does not hold such an array, or its pixels have another scale.
  """
  return flat(files.map_array(path), str(path))


def flat(array: np.ndarray, what: str) -> FlatImages:
  """Return an array [classes, samples, H, W, C] or [classes, samples, H, W] as flat images.

  Args:
    array: The images.
    what: The name of the array in errors.

  Raises:
    InputError: The array has other axes, or its pixels have another scale.
  """
  if array.ndim not in (4, 5):
    raise InputError(
      f'{what} holds {array.dtype} {list(array.shape)}; expected [classes, samples, H, W, C] or '
      '[classes, samples, H, W]'
    )
  shape = array.shape if array.ndim == 5 else (*array.shape, 1)
  check_axes(shape, what)
  if array.ndim == 4 and shape[1] in USUAL_CHANNELS:
    logging.warning(
      '%s: %s is read as [classes, samples, H, W]; if the second axis is that of the channels, '
      'save [classes, samples, H, W, C]',
      what,
      list(array.shape),
    )
  # For an array in C order, the usual one, this is a view; one in Fortran order is copied.
  images = to_uint8(array, what).reshape(shape[0] * shape[1], *shape[2:])
  check_values(images, what)
  return images, np.full(shape[0], shape[1], np.int64)


def read_folder(folder: pathlib.Path) -> FlatImages:
  """Read the directory NAME/, in this project's form or in the original's.

  This project's form is a pair of files, images.npy and class_sizes.npy; the images stay
  memory-mapped. The original's is a number of chunks *.npy, each a pickled list of arrays.

  Raises:
    InputError: The directory has neither form, or one of its files is malformed.
  """
  images_path, sizes_path = folder / 'images.npy', folder / 'class_sizes.npy'
  if not images_path.exists() and not sizes_path.exists():
    return _read_chunks(folder)
  images, sizes = files.map_array(images_path), np.array(files.map_array(sizes_path))
  if images.ndim != 4 or images.dtype != np.uint8:
    raise InputError(
      f'{images_path} holds {images.dtype} {list(images.shape)}; expected uint8 [images, H, W, C]'
    )
  if (
    sizes.ndim != 1
    or sizes.dtype.kind not in 'iu'
    or sizes.min() < 1
    or sum(sizes.tolist()) != len(images)
  ):
    raise InputError(
      f'{sizes_path} does not hold the number of images of each class; they should sum to the '
      f'{len(images)} images of images.npy: convert the dataset again'
    )
  check_axes(images.shape, str(images_path))
  check_values(images, str(images_path))
  return images.reshape(images.shape), sizes.astype(np.int64)


def chunks_of(folder: pathlib.Path) -> list[pathlib.Path]:
  """Return the .npy files of a directory in the order in which the original reads them.

  This is the order of their names as text, with chunk_10 before chunk_2. Another order would number
  the classes differently.

  Raises:
    InputError: The directory cannot be read.
  """
  files.require_folder(folder)
  return sorted(path for path in folder.glob('*.npy') if not path.name.startswith('.'))


def _read_chunks(folder: pathlib.Path) -> FlatImages:
  """Read the original's form of a directory; all images go into memory."""
  chunks = chunks_of(folder)
  if not chunks:
    raise InputError(
      f'{folder} has no .npy files; expected images.npy and class_sizes.npy, or chunks *.npy: '
      'convert the dataset again'
    )
  if chunks != sorted(chunks, key=lambda path: (len(path.name), path.name)):
    logging.warning(
      '%s: chunks are read, and classes numbered, in the order of the names as text: %s; for '
      'another order pad the numbers with zeros, as in 02',
      folder,
      ', '.join(path.name for path in chunks[:9]),
    )
  logging.info('%s: reading %d chunks into memory', folder, len(chunks))
  arrays: list[np.ndarray] = []
  for path in chunks:
    for number, images in enumerate(_chunk(path)):
      arrays.append(_class_images(images, f'{path}: entry {number}'))
      if arrays[-1].shape[1:] != arrays[0].shape[1:]:
        raise InputError(
          f'{path}: entry {number} has images of {list(arrays[-1].shape[1:])}, earlier ones '
          f'{list(arrays[0].shape[1:])}; expected one shape'
        )
  sizes = np.array([len(images) for images in arrays], np.int64)
  flat = joined(arrays)
  check_values(flat, str(folder))
  return flat, sizes


def _chunk(path: pathlib.Path) -> np.ndarray:
  """Return what a chunk holds, an entry for each class."""
  # If all classes of a list have the same size, np.save stores it as a plain array of numbers.
  is_pickled = files.header_of(path).dtype.hasobject
  classes = pickles.load_object_array(path) if is_pickled else files.map_array(path)
  if classes.ndim == 0:
    raise InputError(f'{path} holds a single {classes.dtype}; expected an array for each class')
  return classes


def _class_images(images: object, what: str) -> np.ndarray:
  """Return one class of a chunk as uint8 [samples, H, W, C]; `what` is its name in errors."""
  if not isinstance(images, np.ndarray) or images.ndim not in (3, 4) or images.size == 0:
    found = f'{images.dtype} {list(images.shape)}' if isinstance(images, np.ndarray) else 'another'
    raise InputError(f'{what} is {found}; expected an array [samples, H, W, C] or [samples, H, W]')
  images = images if images.ndim == 4 else images[..., np.newaxis]
  check_axes(images.shape, what)
  return to_uint8(images, what)


def joined(parts: list[np.ndarray], rows: np.ndarray | None = None) -> np.ndarray:
  """Join arrays of images, and empty the list so that each is freed as soon as it is copied.

  Args:
    parts: Images, uint8 [n, H, W, C] each.
    rows: [all images], the row of each image in the result; None to keep their order.

  Returns:
    The images, uint8 [all images, H, W, C].
  """
  flat = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.uint8)
  parts.reverse()
  done = 0
  while parts:
    images = parts.pop()
    place = slice(done, done + len(images))
    flat[place if rows is None else rows[place]] = images
    done += len(images)
  return flat
