"""Read image files of any format into uint8 pixels of one shape.

The files are untrusted: broken ones and decompression bombs are refused. Grey values of 16 bits, 32
bits or floats do not say which value is white, so one scale is chosen for all images of a dataset
(`choose_scale`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from hypertransformer.data import files
from hypertransformer.errors import InputError

# What zipfile and Pillow raise for broken archives and PNG images.
BROKEN = (
  *(OSError, EOFError, RuntimeError, ValueError, SyntaxError),
  *(zipfile.BadZipFile, zlib.error, struct.error),
)
CROPS = ('squash', 'center')
_MAX_SIDE = 4096
_BLACK = 16  # an image whose brightest pixel is below this, of 255, nearly vanishes


@dataclasses.dataclass(frozen=True)
class Form:
  """The shape and polarity of the images written.

  Attributes:
    size: the width and height in pixels.
    channels: 1 (grey) or 3 (RGB).
    crop: 'squash' resizes the whole image to a square, as for the published miniImageNet; 'center'
      first crops the largest square from the middle.
    invert: whether every value becomes 255 - value, as dark ink on white needs it.

  Raises:
    InputError: a value is out of range.
  """

  size: int = 84
  channels: int = 3
  crop: str = 'squash'
  invert: bool = False

  def __post_init__(self) -> None:
    """Check the values."""
    if not 1 <= self.size <= _MAX_SIDE:
      raise InputError(f'image_size is {self.size}; expected 1 to {_MAX_SIDE}')
    if self.channels not in (1, 3) or self.crop not in CROPS:
      found = f'channels is {self.channels} and crop {self.crop!r}'
      raise InputError(f'{found}; expected 1 or 3, and one of {CROPS}')

  @property
  def shape(self) -> tuple[int, int, int]:
    """The height, width and channels of an image."""
    return self.size, self.size, self.channels


class Scale(NamedTuple):
  """The grey values that become black (0) and white (255); values beyond are clipped."""

  black: float
  white: float

  def apply(self, values: np.ndarray) -> np.ndarray:
    """Return grey values of any type and shape as uint8 of the same shape."""
    scaled = (values.astype(np.float64) - self.black) * (255 / (self.white - self.black))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


FULL = Scale(0, 65535)  # all of 16 bits
# The smallest and the largest grey value of an image file, and its path.
ValueRange = tuple[float, float, str]


def read(image: str | np.ndarray, form: Form, scale: Scale = FULL) -> np.ndarray:
  """Read an image file, of an animation the first frame, and convert it to the form wanted.

  It is rotated as its EXIF data say (broken EXIF data are ignored), reduced to 8 bits by `scale`,
  put on white where it is transparent, cropped, resized by the LANCZOS filter, and inverted.

  Args:
    image: the path of the file, whose content tells the format; or uint8 [H, W, 1 or 3].
    form: the form wanted.
    scale: what grey values of more than 8 bits mean.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: the file is not a whole image, or it would unpack to too many pixels. The message
      begins with the path.
  """
  if isinstance(image, np.ndarray):
    return _pixels(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), form)
  with _opened(image) as opened:
    return _pixels(opened, form, scale)


def value_range(path: str) -> ValueRange | None:
  """Return the range of an image file with grey values of more than 8 bits.

  Returns:
    None for other images, which are not decoded, and for those that `read` refuses.
  """
  with contextlib.suppress(InputError), _opened(path) as image:
    if _is_deep(image):
      values = _values(image)
      return float(values.min()), float(values.max()), path
  return None


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
  """Open an image file; errors of Pillow in the block become an InputError with the path."""
  try:
    with Image.open(path, formats=_formats()) as image:
      if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
        raise ValueError(f'more than {Image.MAX_IMAGE_PIXELS} pixels')
      yield image
  except Exception as error:  # broken image data can raise any exception
    files.refuse_page_or_empty(pathlib.Path(path), 'an image')
    reason = ' '.join(str(error or type(error).__name__).split())
    raise InputError(f'{path} is not a whole image ({reason})') from error


@functools.cache
def _formats() -> tuple[str, ...]:
  """Return all formats but PostScript, a program that Pillow would pass to Ghostscript."""
  Image.init()
  return tuple(name for name in Image.ID if name != 'EPS')


def _pixels(image: Image.Image, form: Form, scale: Scale = FULL) -> np.ndarray:
  """Convert an opened image as `read` says."""
  image.draft(None, (2 * form.size, 2 * form.size))  # a JPEG is decoded at about this size
  image.load()
  with contextlib.suppress(Exception):
    ImageOps.exif_transpose(image, in_place=True)
  if _is_deep(image):
    image = Image.fromarray(scale.apply(_values(image)))
  if {'A', 'a'} & set(image.getbands()) or 'transparency' in image.info:
    white = Image.new('RGBA', image.size, 'white')
    white.alpha_composite(image.convert('RGBA'))
    image = white
  width, height = image.size
  side = min(width, height)
  left, upper = (width - side) // 2, (height - side) // 2
  box = (0, 0, width, height) if form.crop == 'squash' else (left, upper, left + side, upper + side)
  plain = image.convert('L' if form.channels == 1 else 'RGB')
  resized = plain.resize((form.size, form.size), Image.Resampling.LANCZOS, box=box)
  found = np.asarray(resized).reshape(form.shape)
  return 255 - found if form.invert else found


def _is_deep(image: Image.Image) -> bool:
  """Return whether an image has grey values of more than 8 bits."""
  return image.mode == 'F' or image.mode.startswith('I')


def _values(image: Image.Image) -> np.ndarray:
  """Return the grey values of an image, [H, W]."""
  values = np.asarray(image)
  if not np.isfinite(values).all():
    raise ValueError('it contains NaN or inf')
  return values


def choose_scale(ranges: Sequence[ValueRange]) -> Scale:
  """Choose one scale for all images with grey values of more than 8 bits, and log it.

  0 becomes black, and white is the largest number of the bits in use, but at least 255: 4095 if the
  largest value is 4001. For values up to 1, white is 1. If there are negative values, the smallest
  becomes black and the largest white.

  Args:
    ranges: those of all such images of a dataset; there may be none.

  Raises:
    InputError: an image would become black, because it uses fewer bits than others.
  """
  if not ranges:
    return FULL
  low = min(ranges)[0]
  high, brightest = max((high, path) for _, high, path in ranges)
  if low < 0:
    scale = Scale(low, max(high, low + 1))
  else:
    scale = Scale(0, max(high, 1) if high < 2 else 2 ** max(8, int(high).bit_length()) - 1)
  for lowest, highest, path in ranges:
    if highest > lowest and scale.apply(np.array(highest)) < _BLACK:
      raise InputError(
        f'{path} has values up to {highest:.9g}, which are black beside those of {brightest}, '
        f'up to {high:.9g}; give --white_value, or make 8-bit images of all'
      )
  logging.warning(
    'grey values of more than 8 bits, %.9g to %.9g: %.9g becomes black and %.9g white '
    '(--white_value chooses another)',
    *(low, high, *scale),
  )
  return scale


def decode_png(data: bytes, what: str, side: int) -> Image.Image:
  """Decode a PNG image of side x side pixels.

  Args:
    data: the PNG file.
    what: its name in errors.
    side: its width and height in pixels.

  Raises:
    InputError: it is broken or has another size.
  """
  try:
    with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
      size = image.size
      if size == (side, side):
        image.load()
        return image
  except BROKEN as error:
    raise InputError(f'{what} is not a whole PNG image ({error}); download it again') from error
  raise InputError(f'{what} has {size[0]} x {size[1]} pixels; expected {side} x {side}')
