"""NumPy .npy files: the header looked at first, so that every wrong file is named and explained."""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
from typing import BinaryIO

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.files import sniff

# NumPy's own limit for headers that are not trusted is 10,000.
_MAX_HEADER_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Header:
  """What a .npy file says it holds."""

  shape: tuple[int, ...]
  dtype: np.dtype
  fortran_order: bool = False

  def __str__(self) -> str:
    return f'{self.dtype} {list(self.shape)}'


def read_header(file: BinaryIO, path: pathlib.Path) -> Header:
  """Reads the header and leaves `file` at the data. Raises InputError when it is not a header."""
  readers = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
  }
  try:
    version = np.lib.format.read_magic(file)
    if version not in readers:  # 3.0 is written for structured arrays only
      raise ValueError(f'version {version} of the format')
    count_bytes, read = readers[version]
    count = file.read(count_bytes)
    length = int.from_bytes(count, 'little')
    if length > _MAX_HEADER_BYTES:  # inside a zip, a small file can hold GB of spaces
      raise ValueError(f'a header of {length} bytes')
    shape, fortran_order, dtype = read(io.BytesIO(count + file.read(length)))
  except Exception as error:  # the header is Python text: broken, it can raise any exception
    raise InputError(
      f'{path} is not a NumPy .npy file, or a broken one ({error}); make or download it again'
    ) from error
  return Header(shape, dtype, fortran_order)


def header_of(path: pathlib.Path) -> Header:
  """What a .npy file says it holds. Raises InputError when it is not one."""
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    return read_header(file, path)


def map_array(path: pathlib.Path) -> np.memmap:
  """Opens a .npy file of plain numbers memory-mapped and read-only; any shape but an empty one.

  Raises:
    InputError: not a .npy file (a web page is told so), an object array, empty, or truncated.
  """
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    header = read_header(file, path)
    available = path.stat().st_size - file.tell()
  if header.dtype.hasobject:
    raise InputError(
      f'{path} holds Python objects ({header}); expected an array of numbers: save it as uint8'
    )
  if 0 in header.shape:
    raise InputError(f'{path} holds an empty array ({header}); expected at least one image')
  needed = math.prod(header.shape) * header.dtype.itemsize
  if available < needed:
    raise InputError(
      f'{path} is truncated: {header} needs {needed} bytes, the file has '
      f'{available}; make or download it again'
    )
  return np.lib.format.open_memmap(path, mode='r')
