"""Reads files that pack many images, and may be larger than the memory, block by block.

There are two forms, each with the images of one split of a published set: NAME.npz with an array
`images`, and NAME_png.pkl with a list of images that are encoded as PNG. The files come from
strangers. So the array in a .npz file, which is a zip archive, is checked before it is unpacked,
and nothing that a pickle names is ever called.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from hypertransformer.converters import signatures
from hypertransformer.data import files, pickles
from hypertransformer.errors import InputError

# What zipfile and Pillow raise for archives and PNG images that are broken.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)
PNG_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_MEMBER = 'images.npy'
_BLOCK_BYTES = 1 << 24
_MAX_PNG_BYTES = 1 << 20
_PNG_START = b'\x89PNG\r\n\x1a\n'
# In pickles that Python 3 writes for Python 2, bytes are stored as text. It has one character for
# each byte and is encoded in UTF-8.
_PNG_START_AS_TEXT = _PNG_START.decode('latin1').encode('utf-8')
# Opcodes whose argument is text, and those whose argument is bytes.
_TEXT_OPCODES = {'GLOBAL', 'INST', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'}
_BYTE_OPCODES = {
  'BINSTRING',
  'SHORT_BINSTRING',
  'BINBYTES',
  'SHORT_BINBYTES',
  'BINBYTES8',
  'BYTEARRAY8',
}


@dataclasses.dataclass(frozen=True)
class Packed:
  """A file of images that is ready to be read.

  Attributes:
    path: the file.
    blocks: reads the file from the start and yields blocks of images, uint8 [n, side, side, 3], of
      up to 16 MB each. PNG images have blue first, as OpenCV holds them; arrays have the order of
      colours of the file. It raises InputError when the file turns out to be broken.
  """

  path: pathlib.Path
  blocks: Callable[[], Iterator[np.ndarray]]


def open_npz(path: pathlib.Path, images: int, side: int) -> Packed:
  """Opens a .npz file, whether it is compressed or not; only the header of its array is read yet.

  Args:
    path: the file.
    images: the number of images that it should hold.
    side: the width and height that they should have in pixels.

  Raises:
    InputError: this is not a whole .npz file, or its array `images` is not uint8
      [images, side, side, 3].
  """
  shape = (images, side, side, 3)
  with _member(path) as (stream, size):
    header = files.read_header(stream, path)
    begin = stream.tell()
  if header.dtype != np.uint8 or header.shape != shape or header.fortran_order:
    order = ' in Fortran order' if header.fortran_order else ''
    raise InputError(
      f"{path}: 'images' is {header}{order}; expected uint8 {list(shape)}, an image for each label"
    )
  expected = images * side * side * 3
  if size - begin != expected:
    raise InputError(
      f"{path}: 'images' is truncated: {header} needs {expected} bytes, it has {size - begin}; "
      'make or download it again'
    )
  return Packed(path, lambda: _npz_blocks(path, side))


@contextlib.contextmanager
def _member(path: pathlib.Path) -> Iterator[tuple[BinaryIO, int]]:
  """Opens the array `images` in a .npz file.

  Yields:
    A stream of its unpacked bytes, header included, and how many bytes the archive says there are.

  Raises:
    InputError: the archive is broken or has no such array. This includes errors in the `with` block
      that come from the archive.
  """
  files.refuse_page_or_empty(path, 'a NumPy .npz file')
  try:
    with zipfile.ZipFile(path) as archive:
      if _MEMBER not in archive.namelist():
        names = ', '.join(name[:40] for name in archive.namelist()[:8]) or 'nothing'
        raise InputError(f"{path} holds {names}; expected an array 'images' ({_MEMBER})")
      with archive.open(_MEMBER) as stream:
        yield stream, archive.getinfo(_MEMBER).file_size  # type: ignore[misc]
  except InputError:
    raise
  except ZIP_ERRORS as error:
    signatures.refuse_pointer(path, 'a NumPy .npz file')
    raise InputError(
      f'{path} is not a whole .npz file ({error}); make or download it again'
    ) from error


def _npz_blocks(path: pathlib.Path, side: int) -> Iterator[np.ndarray]:
  """Yields the images of a .npz file in blocks, uint8 [n, side, side, 3]."""
  image_bytes = side * side * 3
  step = max(1, _BLOCK_BYTES // image_bytes) * image_bytes
  with _member(path) as (stream, _):
    files.read_header(stream, path)
    # The stream is read to its end, because the checksum is compared there.
    while data := stream.read(step):
      if len(data) % image_bytes:
        raise ValueError('it ends in the middle of an image')
      yield np.frombuffer(data, np.uint8).reshape(-1, side, side, 3)


def open_png_pickle(path: pathlib.Path, side: int) -> Packed:
  """Opens a pickled list of PNG files, which are bytes or the uint8 arrays of OpenCV.

  How many there are is known only when all have been read. The pickle is never loaded: the PNG
  files are recognised by their first bytes on a walk over its opcodes (see `pickle_scan`).

  Args:
    path: the pickle file.
    side: the width and height that the images should have in pixels.

  Raises:
    InputError: the file cannot be read, is empty, or is a web page.
  """
  files.refuse_page_or_empty(path, 'a pickle')
  signatures.refuse_other_file(path, 'a pickle')
  return Packed(path, lambda: _png_blocks(path, side))


def _png_blocks(path: pathlib.Path, side: int) -> Iterator[np.ndarray]:
  """Yields the images of a pickle of PNG files in blocks, uint8 [n, side, side, 3], blue first."""
  step = max(1, _BLOCK_BYTES // (side * side * 3))
  block: list[np.ndarray] = []
  for number, data in enumerate(_png_files(path)):
    block.append(_decode(data, f'{path}: image {number}', side))
    if len(block) == step:
      yield np.stack(block)
      block = []
  if block:
    yield np.stack(block)


def _png_files(path: pathlib.Path) -> Iterator[bytes]:
  """Yields the PNG files in a pickle, in their order; only one at a time is in memory."""
  with open(path, 'rb') as file:
    try:
      for item in pickles.scan(file):
        if item.name in _TEXT_OPCODES or item.name in _BYTE_OPCODES:
          file.seek(item.start)
          head = file.read(min(item.length, len(_PNG_START_AS_TEXT)))
          is_text = item.name in _TEXT_OPCODES
          if head.startswith(_PNG_START_AS_TEXT if is_text else _PNG_START):
            yield _rest_of_png(file, head, item.length, is_text)
          elif is_text:
            pickles.refuse_text(head + file.read(min(item.length, 200) - len(head)))
    except pickles.RefusedError as error:
      raise InputError(f'{path} is refused: {error}') from error
    except (ValueError, IndexError, OSError) as error:
      raise InputError(
        f'{path} is not a whole pickle ({error}); make or download it again'
      ) from error


def _rest_of_png(file: BinaryIO, head: bytes, length: int, is_text: bool) -> bytes:
  """Reads a whole PNG file out of a pickle.

  Args:
    file: the pickle, just behind `head`.
    head: what has been read of the PNG file already.
    length: the bytes that it takes in the pickle.
    is_text: whether its bytes are stored there as text.
  """
  if length > _MAX_PNG_BYTES:
    raise pickles.RefusedError(f'it holds a PNG image of {length} bytes')
  data = head + file.read(length - len(head))
  return data.decode('utf-8').encode('latin1') if is_text else data


def _decode(data: bytes, what: str, side: int) -> np.ndarray:
  """Decodes a PNG file as OpenCV does: uint8 [side, side, 3], blue first.

  Args:
    data: the PNG file.
    what: its name in errors.
    side: the width and height that it should have in pixels.

  Raises:
    InputError: it is broken or has another size.
  """
  try:
    with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
      if image.size != (side, side):
        raise InputError(
          f'{what} is {image.width} x {image.height} pixels; expected {side} x {side}'
        )
      return np.asarray(image.convert('RGB'))[..., ::-1]
  except InputError:
    raise
  except PNG_ERRORS as error:
    raise InputError(
      f'{what} is not a whole PNG image ({error}); make or download it again'
    ) from error
