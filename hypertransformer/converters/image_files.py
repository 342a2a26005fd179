"""Image files of any format -> uint8 pixels of one shape. The files come from strangers."""

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
# A JPEG may be decoded at a fraction of its size, as long as it stays this many times the target.
_DRAFT_GAP = 2
# PostScript is a program, which Pillow would hand to Ghostscript.
_NEVER_READ = ('EPS',)


@dataclasses.dataclass(frozen=True)
class Form:
  """The shape that every image gets.

  Attributes: size: width and height in pixels. channels: 1 (grey) or 3 (RGB). crop: 'squash'
    resizes the whole image to the square, changing its proportions, as the published miniImageNet
      was made; 'center' cuts the largest square out of the middle first.
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
    return self.size, self.size, self.channels


@contextlib.contextmanager
def bombs_refused() -> Iterator[None]:
  """Within it Pillow refuses every image above Image.MAX_IMAGE_PIXELS; outside, only above twice
  that.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    yield


def read(path: str, form: Form) -> np.ndarray:
  """One image file, its format told by its content; the first picture of an animation. See
  `pixels`.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises: InputError: not an image, broken, truncated, or too large to be unpacked; the message
    begins with the path.
  """
  try:
    with Image.open(path, formats=_formats()) as image:
      return pixels(image, form)
  except InputError as error:
    raise InputError(f'{path} {error}') from error
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise InputError(
      f'{path} would unpack to more than {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs do; '
      'expected an image of fewer: make it smaller or remove it'
    ) from error
  except UnidentifiedImageError as error:
    sniff.refuse_page_or_empty(pathlib.Path(path), 'an image')
    raise InputError(f'{path} is not an image of a format that Pillow reads') from error
  except Exception as error:  # broken image data can raise any exception at all
    raise InputError(f'{path} is not a whole image ({error or type(error).__name__})') from error


@functools.cache
def _formats() -> tuple[str, ...]:
  Image.init()
  return tuple(name for name in Image.ID if name not in _NEVER_READ)


def pixels(image: Image.Image, form: Form) -> np.ndarray:
  """An opened image turned upright (EXIF), on white where transparent, as 8 bits, cropped and
  resized by LANCZOS.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: 32-bit pixels, whose range is unknown.
  """
  image.draft(None, (_DRAFT_GAP * form.size, _DRAFT_GAP * form.size))  # JPEG only; others ignore it
  upright = ImageOps.exif_transpose(image)
  plain = _without_alpha(_eight_bit(upright)).convert('L' if form.channels == 1 else 'RGB')
  resized = plain.resize(
    (form.size, form.size), Image.Resampling.LANCZOS, box=_box(plain.size, form.crop)
  )
  return np.asarray(resized).reshape(form.shape)


def _eight_bit(image: Image.Image) -> Image.Image:
  """16-bit grey as its upper 8 bits; Pillow itself would clip it to white. (It reads 16-bit colours
  as 8 bits.)
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
  """Transparent parts become white, as on a page; dropping the alpha would bare whatever colour is
  below it.
  """
  if not {'A', 'a'} & set(image.getbands()) and 'transparency' not in image.info:
    return image
  ground = Image.new('RGBA', image.size, 'white')
  ground.alpha_composite(image.convert('RGBA'))
  return ground


def _box(size: tuple[int, int], crop: str) -> tuple[int, int, int, int]:
  """Left, upper, right, lower edge of what is kept."""
  width, height = size
  if crop == 'squash':
    return 0, 0, width, height
  side = min(width, height)
  left, upper = (width - side) // 2, (height - side) // 2
  return left, upper, left + side, upper + side
