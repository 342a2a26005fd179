"""Images of one split of a published set, packed into one file larger than memory, read block by
block.

Either NAME.npz with an array `images`, or NAME_png.pkl with a list of images encoded as PNG. Both
come from strangers: the zip member is checked before it is unpacked, and nothing of a pickle is
ever called.
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

from hypertransformer.errors import InputError
from hypertransformer.files import npy, pickle_scan, safe_pickle, sniff

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)
PNG_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_MEMBER = 'images.npy'
_BLOCK_BYTES = 1 << 24
_MAX_PNG_BYTES = 1 << 20
_PNG_START = b'\x89PNG\r\n\x1a\n'
# Bytes in what Python 3 writes for Python 2 are text, in UTF-8, of one character per byte.
_PNG_START_AS_TEXT = _PNG_START.decode('latin1').encode('utf-8')
_TEXTS = {'GLOBAL', 'INST', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'}
_STRINGS = {'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}


@dataclasses.dataclass(frozen=True)
class Packed:
  """A file of images.

  Attributes: path: the file. blocks: reads it from the start: uint8 [up to 16 MB of images, side,
    side, 3], colours as OpenCV holds them (blue
      first, if the file was made with OpenCV). Raises InputError when the file turns out to be
      broken.
  """

  path: pathlib.Path
  blocks: Callable[[], Iterator[np.ndarray]]


def open_npz(path: pathlib.Path, images: int, side: int) -> Packed:
  """Looks at the header of `images` in a .npz file, stored or compressed; reads nothing else of it
  yet.

  Raises:
    InputError: not a whole .npz file, or it does not hold uint8 [images, side, side, 3].
  """
  shape = (images, side, side, 3)
  with _member(path) as (stream, size):
    header = npy.read_header(stream, path)
    begin = stream.tell()
  if header.dtype != np.uint8 or header.shape != shape or header.fortran_order:
    order = ' in Fortran order' if header.fortran_order else ''
    raise InputError(
      f"{path}: 'images' is {header}{order}; expected uint8 {list(shape)}, an image for each label"
    )
  expected = images * side * side * 3
  if size - begin != expected:
    raise InputError(
      f"{path}: 'images' is truncated: {header} needs {expected} bytes, it has {size - begin}; make or "
      'download it again'
    )
  return Packed(path, lambda: _npz_blocks(path, side))


@contextlib.contextmanager
def _member(path: pathlib.Path) -> Iterator[tuple[BinaryIO, int]]:
  """The array `images` of a .npz file as a stream, and its size in bytes once unpacked."""
  sniff.refuse_page_or_empty(path, 'a NumPy .npz file')
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
    raise InputError(
      f'{path} is not a whole .npz file ({error}); make or download it again'
    ) from error


def _npz_blocks(path: pathlib.Path, side: int) -> Iterator[np.ndarray]:
  image_bytes = side * side * 3
  step = max(1, _BLOCK_BYTES // image_bytes) * image_bytes
  with _member(path) as (stream, _):
    npy.read_header(stream, path)
    while data := stream.read(step):  # up to the end, where the checksum is compared
      if len(data) % image_bytes:
        raise ValueError('it ends in the middle of an image')
      yield np.frombuffer(data, np.uint8).reshape(-1, side, side, 3)


def open_png_pickle(path: pathlib.Path, side: int) -> Packed:
  """A pickled list of PNG files (bytes, or the uint8 arrays of OpenCV); its number is known when it
  has been read.

  Nothing is unpickled: PNG data are recognised while the opcodes are walked over.

  Raises:
    InputError: not readable, empty, or a web page.
  """
  sniff.refuse_page_or_empty(path, 'a pickle')
  return Packed(path, lambda: _png_blocks(path, side))


def _png_blocks(path: pathlib.Path, side: int) -> Iterator[np.ndarray]:
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
  """The PNG files in a pickle, in their order; one at a time is in memory."""
  with open(path, 'rb') as file:
    try:
      for item in pickle_scan.scan(file):
        if item.name in _TEXTS or item.name in _STRINGS:
          file.seek(item.start)
          head = file.read(min(item.length, len(_PNG_START_AS_TEXT)))
          is_text = item.name in _TEXTS
          if head.startswith(_PNG_START_AS_TEXT if is_text else _PNG_START):
            yield _rest_of_png(file, head, item.length, is_text)
          elif is_text:
            safe_pickle.refuse_text(head + file.read(min(item.length, 200) - len(head)))
    except pickle_scan.RefusedError as error:
      raise InputError(f'{path} is refused: {error}') from error
    except (ValueError, IndexError, OSError) as error:
      raise InputError(
        f'{path} is not a whole pickle ({error}); make or download it again'
      ) from error


def _rest_of_png(file: BinaryIO, head: bytes, length: int, is_text: bool) -> bytes:
  if length > _MAX_PNG_BYTES:
    raise pickle_scan.RefusedError(f'it holds a PNG image of {length} bytes')
  data = head + file.read(length - len(head))
  return data.decode('utf-8').encode('latin1') if is_text else data


def _decode(data: bytes, what: str, side: int) -> np.ndarray:
  """A PNG file as uint8 [side, side, 3], blue first, as OpenCV reads it; `what` names it in errors."""
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
