"""Reads image files of any format into uint8 pixels of one shape.

The files come from strangers, so broken ones and decompression bombs are refused with a message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hypertransformer.errors import InputError
from hypertransformer.files import sniff

CROPS = ('squash', 'center')
_MAX_SIDE = 4096
# To save time, a JPEG is decoded at a fraction of its size, but at no less than the size that is
# wanted times this.
_DRAFT_FACTOR = 2
# Encapsulated PostScript is a program, which Pillow would let Ghostscript run.
_REFUSED_FORMATS = ('EPS',)


@dataclasses.dataclass(frozen=True)
class Form:
  """The shape that every image gets, and how.

  Attributes:
    size: the width and height in pixels.
    channels: 1 (grey) or 3 (RGB).
    crop: what is done with images that are not square. 'squash' resizes the whole image to the
      square and so changes its proportions, as was done for the published miniImageNet; 'center'
      first cuts the largest square out of the middle.

  Raises:
    InputError: one of them has a value that is not allowed.
  """

  size: int = 84
  channels: int = 3
  crop: str = 'squash'

  def __post_init__(self) -> None:
    if not 1 <= self.size <= _MAX_SIDE:
      raise InputError(f'image_size is {self.size}; expected 1 to {_MAX_SIDE}')
    if self.channels not in (1, 3):
      raise InputError(f'channels is {self.channels}; expected 1 (grey) or 3 (RGB)')
    if self.crop not in CROPS:
      raise InputError(f'crop is {self.crop!r}; expected one of {", ".join(CROPS)}')

  @property
  def shape(self) -> tuple[int, int, int]:
    """The shape of an image: height, width and channels."""
    return self.size, self.size, self.channels


@contextlib.contextmanager
def bombs_refused() -> Iterator[None]:
  """Makes Pillow refuse all images of more than Image.MAX_IMAGE_PIXELS within the `with` block.

  By itself it refuses those of more than twice as many and only warns of the others.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    yield


def read(path: str, form: Form) -> np.ndarray:
  """Reads one image file as `pixels` says; of an animation, the first picture.

  The format is recognised by the content of the file, not by its name.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: the file is not an image, it is broken or cut short, or it would unpack to too many
      pixels. The message begins with the path.
  """
  try:
    with Image.open(path, formats=_formats()) as image:
      return pixels(image, form)
  except InputError as error:
    raise InputError(f'{path} {error}') from error
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise InputError(
      f'{path} would unpack to more than {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs '
      'do; expected an image of fewer: make it smaller or remove it'
    ) from error
  except UnidentifiedImageError as error:
    sniff.refuse_page_or_empty(pathlib.Path(path), 'an image')
    raise InputError(f'{path} is not an image of a format that Pillow reads') from error
  except Exception as error:  # broken image data can raise any exception at all
    raise InputError(f'{path} is not a whole image ({error or type(error).__name__})') from error


@functools.cache
def _formats() -> tuple[str, ...]:
  """Returns all formats that may be read."""
  Image.init()
  return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS)


def pixels(image: Image.Image, form: Form) -> np.ndarray:
  """Brings an opened image into the form wanted.

  It is turned upright, as its EXIF data say. Transparent parts are put on white, and colours are
  reduced to 8 bits. Then it is cropped and resized by the LANCZOS filter.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: the image has pixels of 32 bits, whose range is not known.
  """
  draft_size = _DRAFT_FACTOR * form.size
  image.draft(None, (draft_size, draft_size))  # only for JPEG; it does nothing to other formats
  upright = ImageOps.exif_transpose(image)
  plain = _without_alpha(_eight_bit(upright)).convert('L' if form.channels == 1 else 'RGB')
  resized = plain.resize(
    (form.size, form.size), Image.Resampling.LANCZOS, box=_box(plain.size, form.crop)
  )
  return np.asarray(resized).reshape(form.shape)


def _eight_bit(image: Image.Image) -> Image.Image:
  """Reduces grey of 16 bits to its upper 8 bits; Pillow itself would clip it to white.

  Colours of 16 bits are already 8 bits when Pillow has read them.
  """
  if image.mode == 'F':
    raise InputError('has float pixels, whose range is unknown; expected 8 or 16 bits')
  if not image.mode.startswith('I'):
    return image
  values = np.asarray(image)
  if values.min() < 0 or values.max() > 65535:
    raise InputError(f'has pixels from {values.min()} to {values.max()}; expected 8 or 16 bits')
  return Image.fromarray((values >> 8).astype(np.uint8))


def _without_alpha(image: Image.Image) -> Image.Image:
  """Puts an image that may be transparent on white, as on a page.

  If the alpha channel were only dropped, transparent parts would show whatever colour they have.
  """
  if not {'A', 'a'} & set(image.getbands()) and 'transparency' not in image.info:
    return image
  ground = Image.new('RGBA', image.size, 'white')
  ground.alpha_composite(image.convert('RGBA'))
  return ground


def _box(size: tuple[int, int], crop: str) -> tuple[int, int, int, int]:
  """Returns the left, upper, right and lower edge of what is kept of an image of `size`."""
  width, height = size
  if crop == 'squash':
    return 0, 0, width, height
  side = min(width, height)
  left, upper = (width - side) // 2, (height - side) // 2
  return left, upper, left + side, upper + side
