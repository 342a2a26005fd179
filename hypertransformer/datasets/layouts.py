"""Reads the layouts that a dataset can have on disk (docs/spec/data.md, section 1).

Whatever the layout, the result is the same: all images in one array, class after class, and the
number of images of each class.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
from absl import logging

from hypertransformer.datasets import chunk_files, plausible
from hypertransformer.errors import InputError
from hypertransformer.files import npy, paths, safe_pickle, sniff

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
  array = npy.map_array(path)
  if array.ndim not in (4, 5):
    raise InputError(
      f'{path} holds {array.dtype} {list(array.shape)}; expected '
      '[classes, samples, H, W, C] or [classes, samples, H, W]'
    )
  if array.ndim == 4:
    plausible.check_sides(array.shape, str(path))
    _, second, height, width = array.shape
    if second in plausible.USUAL_CHANNELS and height == width:
      logging.warning(
        '%s: %s is read as [classes, samples, H, W], so classes have %d images; if these are the '
        'channels, give the array its classes: [classes, samples, H, W, C]',
        path,
        list(array.shape),
        second,
      )
  else:
    plausible.check_axes(array.shape, str(path))
  images = to_uint8(array, str(path))
  if images.ndim == 4:
    images = images[..., np.newaxis]
  classes, samples = images.shape[:2]
  # For an array in C order, the usual one, this is a view; one in Fortran order is copied.
  flat = images.reshape(classes * samples, *images.shape[2:])
  plausible.check_range(flat, str(path))
  return flat, np.full(classes, samples, np.int64)


def read_folder(folder: pathlib.Path) -> FlatImages:
  """Reads the folder NAME/, in this project's form or in the original's.

  This project's form is a pair of files, images.npy and class_sizes.npy. The original's is a number
  of chunks *.npy, each a pickled list of arrays.

  Raises:
    InputError: the folder has neither form, or one of its files is broken; the message names it.
  """
  images, sizes = folder / 'images.npy', folder / 'class_sizes.npy'
  there = [paths.exists(path) for path in (images, sizes)]
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
  images = npy.map_array(images_path)
  sizes = np.array(npy.map_array(sizes_path))
  if images.ndim != 4 or images.dtype != np.uint8:
    raise InputError(
      f'{images_path} holds {images.dtype} {list(images.shape)}; expected uint8 '
      '[all images, H, W, C]'
    )
  plausible.check_axes(images.shape, str(images_path))
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
  plausible.check_range(images, str(images_path))
  return images.reshape(images.shape), sizes.astype(np.int64)


def _read_chunks(folder: pathlib.Path) -> FlatImages:
  """Reads the original's form of a folder; all images go into memory."""
  chunks = chunk_files.find(folder)
  if not chunks:
    raise InputError(
      f'{folder} holds no .npy files; expected images.npy and class_sizes.npy, '
      'or chunks *.npy: convert the dataset again'
    )
  chunk_files.warn_of_order(chunks)
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
  plausible.check_range(flat, str(folder))
  return flat, sizes


def _chunk_classes(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yields the images of each class of one chunk, uint8 [samples, H, W, C]."""
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    is_pickled = npy.read_header(file, path).dtype.hasobject
  # If all classes of a list have the same size, np.save stores it as a plain array of numbers.
  classes = safe_pickle.load_object_array(path) if is_pickled else npy.map_array(path)
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
    plausible.check_axes(array.shape, what)
  else:
    plausible.check_sides(array.shape, what)
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
  if low < -plausible.ROUNDING or high > 255 + plausible.ROUNDING:
    raise InputError(f'{what} holds floats from {low:g} to {high:g}; expected 0..255')
  if 0 < high <= plausible.DARK:
    plausible.refuse_dark(low, high, what)
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
  if low >= 0 and high <= plausible.DARK:
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
