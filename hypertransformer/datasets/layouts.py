"""The layouts of a dataset on disk, read as flat images and class sizes (spec: data.md 1)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.files import npy, safe_pickle, sniff

# Flat images uint8 [all images, H, W, C], class after class, and how many each class has.
FlatImages = tuple[np.ndarray, np.ndarray]

_DTYPES = 'uint8 0..255, bool, or float 0..255'
# Floats are checked and converted this many bytes at a time, to stay far below their whole size.
_BLOCK_BYTES = 1 << 26


def read_file(path: pathlib.Path) -> FlatImages:
  """NAME.npy: [classes, samples, H, W, C] or [classes, samples, H, W]; uint8 stays memory-mapped.

  Raises:
    InputError: not such an array: what was found and what is expected.
  """
  array = npy.map_array(path)
  if array.ndim not in (4, 5):
    raise InputError(
      f'{path} holds {array.dtype} {list(array.shape)}; expected '
      '[classes, samples, H, W, C] or [classes, samples, H, W]'
    )
  images = to_uint8(array, str(path))
  if images.ndim == 4:
    if images.shape[-1] in (1, 3):
      logging.warning(
        '%s: %s is read as [classes, samples, H, W], so images are %d wide; if these '
        'are [images, H, W, C], give the array its classes',
        path,
        list(images.shape),
        images.shape[-1],
      )
    images = images[..., np.newaxis]
  classes, samples = images.shape[:2]
  # A view for the usual C order; an array in Fortran order is copied here.
  flat = images.reshape(classes * samples, *images.shape[2:])
  return flat, np.full(classes, samples, np.int64)


def read_folder(folder: pathlib.Path) -> FlatImages:
  """NAME/: images.npy and class_sizes.npy, or else the object-array chunks of the original.

  Raises:
    InputError: neither is there, or a file of it is broken (named).
  """
  images, sizes = folder / 'images.npy', folder / 'class_sizes.npy'
  if images.exists() and sizes.exists():
    return _read_flat(images, sizes)
  if images.exists() or sizes.exists():
    here, missing = (images, sizes) if images.exists() else (sizes, images)
    raise InputError(
      f'{here} is there but {missing} is not; both are needed: convert the dataset again'
    )
  return _read_chunks(folder)


def _read_flat(images_path: pathlib.Path, sizes_path: pathlib.Path) -> FlatImages:
  """Our own layout, memory-mapped."""
  images = npy.map_array(images_path)
  sizes = np.array(npy.map_array(sizes_path))
  if images.ndim != 4 or images.dtype != np.uint8:
    raise InputError(
      f'{images_path} holds {images.dtype} {list(images.shape)}; expected uint8 '
      '[all images, H, W, C]'
    )
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
  return images.reshape(images.shape), sizes.astype(np.int64)


def _read_chunks(folder: pathlib.Path) -> FlatImages:
  """The original's layout: pickled lists of per-class arrays; all of it goes into memory."""
  paths = sorted(path for path in folder.glob('*.npy') if not path.name.startswith('.'))
  if not paths:
    raise InputError(
      f'{folder} holds no .npy files; expected images.npy and class_sizes.npy, '
      'or chunks *.npy: convert the dataset again'
    )
  logging.info('%s: %d chunks are read into memory', folder, len(paths))
  arrays: list[np.ndarray] = []
  for path in paths:
    for images in _chunk_classes(path):
      if arrays and images.shape[1:] != arrays[0].shape[1:]:
        raise InputError(
          f'{path}: class {len(arrays)} has images of {list(images.shape[1:])}, '
          f'earlier ones {list(arrays[0].shape[1:])}; expected one shape'
        )
      arrays.append(images)
  return _concatenate(arrays)


def _chunk_classes(path: pathlib.Path) -> Iterator[np.ndarray]:
  """The classes of one chunk, each uint8 [samples, H, W, C]."""
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    is_pickled = npy.read_header(file, path).dtype.hasobject
  # np.save of a list whose classes are all of one size gives a plain array, not an object one.
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
  """One class of a chunk as uint8 [samples, H, W, C]; `what` names it in errors."""
  if isinstance(images, np.ndarray) and images.dtype.hasobject:  # of single images
    images = images.ravel().tolist()
  if not isinstance(images, np.ndarray) and not _is_list_of_arrays(images):
    raise InputError(
      f'{what} is a {type(images).__name__}; expected an array [samples, H, W, C], or a list of images'
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
  array = to_uint8(array, what)
  return array if array.ndim == 4 else array[..., np.newaxis]


def _is_list_of_arrays(images: object) -> bool:
  # Of other things, such as a long string among many short ones, NumPy could make an array that
  # fills the memory.
  return isinstance(images, list | tuple) and all(
    isinstance(image, np.ndarray) and not image.dtype.hasobject for image in images
  )


def _concatenate(arrays: list[np.ndarray]) -> FlatImages:
  """Joins and empties `arrays`: each is freed once copied, so nothing is in memory twice."""
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
  """Pixels as uint8: itself if it is so already, bool as 0 and 255, float 0..255 rounded.

  Args:
    array: at least one pixel, any shape.
    what: its name in errors.

  Raises:
    InputError: another dtype, or floats that are not finite or outside 0..255, or only within 0..1.
  """
  if array.dtype == np.uint8:
    return array
  if array.dtype == np.bool_:
    return np.asarray(array).astype(np.uint8) * np.uint8(255)
  if array.dtype.kind != 'f':
    raise InputError(f'{what} holds {array.dtype}; expected {_DTYPES}: convert it to uint8')
  low, high = _float_range(array, what)
  if low < 0 or high > 255:
    raise InputError(f'{what} holds floats from {low:g} to {high:g}; expected 0..255')
  if high <= 1:
    raise InputError(
      f'{what} holds floats from {low:g} to {high:g}; that looks like 0..1, '
      'expected 0..255: multiply by 255'
    )
  result = np.empty(array.shape, np.uint8)
  for part, out in zip(_blocks(array), _blocks(result, array.dtype.itemsize), strict=True):
    out[...] = np.rint(part)
  return result


def _float_range(array: np.ndarray, what: str) -> tuple[float, float]:
  """The smallest and the largest value; InputError when one is not finite."""
  low, high = float('inf'), float('-inf')
  for part in _blocks(array):
    if not np.isfinite(part).all():
      raise InputError(f'{what} holds NaN or infinite values; expected {_DTYPES}')
    low, high = min(low, float(part.min())), max(high, float(part.max()))
  return low, high


def _blocks(array: np.ndarray, itemsize: int = 0) -> Iterator[np.ndarray]:
  """Views along the first axis of up to _BLOCK_BYTES (`itemsize` in place of the array's own)."""
  entry_bytes = array[0].size * (itemsize or array.dtype.itemsize)
  step = max(1, _BLOCK_BYTES // entry_bytes)
  for start in range(0, len(array), step):
    yield array[start : start + step]
