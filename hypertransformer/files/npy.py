"""Reads .npy files of NumPy, and explains what is wrong with those that cannot be used.

The header is looked at before anything else. It says what the file claims to hold, so a wrong file
is found before its data are touched.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
import warnings
from typing import Any, BinaryIO

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.files import paths, sniff

_MAX_HEADER_BYTES = 10_000  # NumPy's own limit for headers of strangers
_MAX_AXES = 32  # of NumPy 1
_MAX_BYTES = (1 << 63) - 1
_MAX_REASON = 100  # letters


@dataclasses.dataclass(frozen=True)
class Header:
  """What a .npy file says it holds.

  Attributes:
    shape: the shape of the array.
    dtype: the type of its elements.
    fortran_order: whether the first axis is the one that runs fastest in the file.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  fortran_order: bool = False

  def __str__(self) -> str:
    return f'{self.dtype} {list(self.shape)}'


def read_header(file: BinaryIO, path: pathlib.Path) -> Header:
  """Reads the header of a .npy file.

  Args:
    file: the open file, at the beginning of the header; afterwards it is at the data.
    path: the name of the file in errors.

  Raises:
    InputError: there is no header, or a broken one.
  """
  readers = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
  }
  try:
    version = np.lib.format.read_magic(file)
    if version not in readers:  # version 3.0 is for structured arrays only
      raise ValueError(f'version {version} of the format')
    count_bytes, read = readers[version]
    count = file.read(count_bytes)
    length = int.from_bytes(count, 'little')
    if length > _MAX_HEADER_BYTES:  # a small zip file can hold a header of many GB
      raise ValueError(f'a header of {length} bytes')
    with warnings.catch_warnings():  # Python warns of doubtful code, and a header is code
      warnings.simplefilter('ignore')
      shape, fortran_order, dtype = read(io.BytesIO(count + file.read(length)))
    _check_claims(shape, dtype)
  except Exception as error:  # a broken header, being Python code, can raise any exception
    raise InputError(
      f'{paths.shown(path)} is not a NumPy .npy file, or a broken one ({_short(error)}); make or '
      'download it again'
    ) from error
  return Header(shape, dtype, fortran_order)


def _check_claims(shape: tuple[Any, ...], dtype: np.dtype) -> None:
  """Raises ValueError for a shape or type that no array of numbers or objects can have."""
  if len(shape) > _MAX_AXES:
    raise ValueError(f'an array of {len(shape)} axes')
  for number, size in enumerate(shape):
    if type(size) is not int or size < 0:  # NumPy lets True through, which counts as an int
      raise ValueError(f'axis {number} has the size {str(size)[:20]}')
    if size > _MAX_BYTES:
      raise ValueError(f'axis {number} is larger than any memory')
  if dtype.fields is not None or dtype.subdtype is not None:
    raise ValueError('it holds records of several fields; expected plain numbers')
  if dtype.itemsize == 0:
    raise ValueError(f'its items of type {dtype} have no size')
  # NumPy refuses this product too, and leaves out the axes of size 0.
  if math.prod(max(size, 1) for size in shape) * dtype.itemsize > _MAX_BYTES:
    raise ValueError('the array is larger than any memory')


def _short(error: Exception) -> str:
  """Returns the reason of an error on one line, cut if it is long, as it may quote the file."""
  text = ' '.join(str(error).split()) or type(error).__name__
  if not text.isprintable():
    text = ascii(text)[1:-1]
  return text if len(text) <= _MAX_REASON else f'{text[:_MAX_REASON]}...'


def header_of(path: pathlib.Path) -> Header:
  """Returns what a .npy file says it holds; raises InputError if it is not a .npy file."""
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    return read_header(file, path)


def uint8_header(shape: tuple[int, ...]) -> bytes:
  """Returns the beginning of a .npy file that holds a uint8 array of this shape, in C order.

  The data are to follow it. NumPy pads headers, so those of all images [classes, samples, H, W, C]
  or [all images, H, W, C] have the same length, 128 bytes. A header can thus be written again with
  another shape when the number of images has become known.
  """
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  )
  return header.getvalue()


def map_array(path: pathlib.Path) -> np.memmap:
  """Opens a .npy file of numbers as a memory map that can only be read.

  Raises:
    InputError: the file is not a .npy file (if it is a web page, the message says so), it holds
      Python objects, its array is empty, or it is cut short.
  """
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  name = paths.shown(path)
  with open(path, 'rb') as file:
    header = read_header(file, path)
    begin = file.tell()
    available = path.stat().st_size - begin
  if header.dtype.hasobject:
    raise InputError(
      f'{name} holds Python objects ({header}); expected an array of numbers: save it as uint8'
    )
  if 0 in header.shape:
    raise InputError(f'{name} holds an empty array ({header}); expected at least one image')
  needed = math.prod(header.shape) * header.dtype.itemsize
  if available < needed:
    raise InputError(
      f'{name} is truncated: {header} needs {needed} bytes, the file has '
      f'{available}; make or download it again'
    )
  order = 'F' if header.fortran_order else 'C'
  return np.memmap(path, header.dtype, 'r', begin, header.shape, order)  # type: ignore[call-overload]
