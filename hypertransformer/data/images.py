"""Read image files of any format into uint8 pixels of one shape.

The files are untrusted: broken ones and decompression bombs are refused. Grey values of 16 bits, 32
bits or floats do not say which value is white; it is the same one for all images of a dataset.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from hypertransformer.data import files
from hypertransformer.errors import InputError

# What zipfile and Pillow raise for broken archives and PNG images.
BROKEN = (
  *(OSError, EOFError, RuntimeError, ValueError, SyntaxError),
  *(zipfile.BadZipFile, zlib.error, struct.error),
)
CROPS = ('squash', 'center')
WHITE = 65535.0  # by default, of grey values of more than 8 bits


@dataclasses.dataclass(frozen=True)
class Form:
  """The shape and polarity of the images written.

  Attributes:
    size: the width and height in pixels.
    channels: 1 (grey) or 3 (RGB).
    crop: 'squash' resizes the whole image to a square, as for the published miniImageNet; 'center'
      first crops the largest square from the middle.
    invert: whether every value becomes 255 - value, as dark ink on white needs it.
  """

  size: int = 84
  channels: int = 3
  crop: str = 'squash'
  invert: bool = False

  @property
  def shape(self) -> tuple[int, int, int]:
    """The height, width and channels of an image."""
    return self.size, self.size, self.channels


Readable = str | os.PathLike[str] | np.ndarray | Image.Image


def read(image: Readable, form: Form | None, white: float = WHITE) -> np.ndarray:
  """Read an image file, of an animation the first frame, and convert it to the form wanted.

  It is rotated as its EXIF data say (broken EXIF data are ignored), reduced to 8 bits, put on
  white where it is transparent, cropped, resized by the LANCZOS filter, and inverted.

  Args:
    image: the path of the file, whose content tells the format; or a Pillow image; or uint8 [H, W]
      or [H, W, 1 or 3].
    form: the form wanted; None to leave the image as it is.
    white: the value that is white if grey values have more than 8 bits; black is 0.

  Returns:
    uint8 [form.size, form.size, form.channels]; without a form [H, W] or [H, W, C].

  Raises:
    InputError: the file is not a whole image, it would unpack to too many pixels, or it has values
      outside of 0 to `white`. The message begins with the path.
  """
  with _as_pillow(image) as opened:
    return np.asarray(opened) if form is None else _pixels(opened, form, white)


def shape_of(image: Readable) -> tuple[int, int, int]:
  """Return the height, width and channels of what `read` reads; a file is not decoded."""
  with _as_pillow(image) as opened:
    return opened.height, opened.width, len(opened.getbands())


def _as_pillow(image: Readable) -> contextlib.AbstractContextManager[Image.Image]:
  if isinstance(image, np.ndarray):
    image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  return image.copy() if isinstance(image, Image.Image) else _opened(os.fspath(image))


def read_all(images: Sequence[Readable], form: Form) -> np.ndarray:
  """Read several images as `read` does, into one array [n, form.size, form.size, channels]."""
  return np.stack([read(image, form) for image in images])


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
    raise InputError(f'{path} cannot be read as an image ({reason})') from error


@functools.cache
def _formats() -> tuple[str, ...]:
  """Return all formats but PostScript, a program that Pillow would pass to Ghostscript."""
  Image.init()
  return tuple(name for name in Image.ID if name != 'EPS')


def _pixels(image: Image.Image, form: Form, white: float = WHITE) -> np.ndarray:
  """Convert an opened image as `read` says."""
  image.draft(None, (2 * form.size, 2 * form.size))  # a JPEG is decoded at about this size
  image.load()
  with contextlib.suppress(Exception):
    ImageOps.exif_transpose(image, in_place=True)
  if image.mode == 'F' or image.mode.startswith('I'):
    image = _in_8_bits(np.asarray(image), white)
  if {'A', 'a'} & set(image.getbands()) or 'transparency' in image.info:
    ground = Image.new('RGBA', image.size, 'white')
    ground.alpha_composite(image.convert('RGBA'))
    image = ground
  width, height = image.size
  side = min(width, height)
  left, upper = (width - side) // 2, (height - side) // 2
  box = (0, 0, width, height) if form.crop == 'squash' else (left, upper, left + side, upper + side)
  plain = image.convert('L' if form.channels == 1 else 'RGB')
  resized = plain.resize((form.size, form.size), Image.Resampling.LANCZOS, box=box)
  found = np.asarray(resized).reshape(form.shape)
  return 255 - found if form.invert else found


def _in_8_bits(values: np.ndarray, white: float) -> Image.Image:
  """Return grey values, [H, W], as an image of 8 bits."""
  if not (values.min() >= 0 and values.max() <= white):  # NaN fails too
    raise ValueError(
      f'values from {values.min():g} to {values.max():.9g}; expected 0 to {white:g}, or give '
      '--white_value'
    )
  return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


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
      if image.size != (side, side):
        raise ValueError(f'it has {image.width} x {image.height}')
      image.load()
      return image
  except BROKEN as error:
    raise InputError(
      f'{what} is not a whole PNG image of {side} x {side} pixels ({error}); download it again'
    ) from error
