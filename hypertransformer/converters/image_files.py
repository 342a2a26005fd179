"""Reads image files of any format into uint8 pixels of one shape.

The files come from strangers, so broken ones and decompression bombs are refused with a message.
How grey pixels of more than 8 bits become uint8 is said in `pixel_scale`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from hypertransformer.converters import pixel_scale, signatures
from hypertransformer.converters.pixel_scale import Range, Scale
from hypertransformer.data import files
from hypertransformer.errors import InputError

CROPS = ('squash', 'center')
_MAX_SIDE = 4096
# To save time, a JPEG is decoded at a fraction of its size, but at no less than the size that is
# wanted times this.
_DRAFT_FACTOR = 2
# Encapsulated PostScript is a program, which Pillow would let Ghostscript run.
_REFUSED_FORMATS = ('EPS',)
# The tag of EXIF that says how an image lies, and what turns each of its values upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Form:
  """The shape that every image gets, and how.

  Attributes:
    size: the width and height in pixels.
    channels: 1 (grey) or 3 (RGB).
    crop: what is done with images that are not square. 'squash' resizes the whole image to the
      square and so changes its proportions, as was done for the published miniImageNet; 'center'
      first cuts the largest square out of the middle.
    invert: whether dark and bright are exchanged (255 - value), as dark ink on white paper needs it
      for a model that learned bright ink on black, such as that of Omniglot.

  Raises:
    InputError: one of them has a value that is not allowed.
  """

  size: int = 84
  channels: int = 3
  crop: str = 'squash'
  invert: bool = False

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

  By itself it refuses those of more than twice as many and only warns of the others. Its warnings
  about broken metadata, without which an image is used, are not shown.
  """
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', module=r'PIL\.')
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    yield


def read(path: str, form: Form, scale: Scale = pixel_scale.FULL) -> np.ndarray:
  """Reads one image file as `pixels` says; of an animation, the first picture.

  The format is recognised by the content of the file, not by its name.

  Args:
    path: the file.
    form: the shape wanted.
    scale: what values of more than 8 bits mean.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: the file is not an image, it is broken or cut short, or it would unpack to too many
      pixels. The message begins with the path.
  """
  with _opened(path) as image:
    return pixels(image, form, scale)


def range_of(path: str) -> Range | None:
  """Returns the range of the pixels of an image file, if it has more than 8 bits for each value.

  Returns:
    The range; None for an image of 8 bits or less, whose pixels are not even decoded, and for one
    that cannot be read, because `read` says what is wrong with it.
  """
  try:
    with _opened(path) as image:
      return pixel_scale.range_of(image, path)
  except InputError:
    return None


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
  """Opens an image file; what is wrong with it, also later in the block, becomes an InputError."""
  try:
    with Image.open(path, formats=_formats()) as image:
      yield image
  except InputError as error:
    raise InputError(f'{path} {error}') from error
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise InputError(
      f'{path} would unpack to more than {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs '
      'do; expected an image of fewer: make it smaller or remove it'
    ) from error
  except UnidentifiedImageError as error:
    files.refuse_page_or_empty(pathlib.Path(path), 'an image')
    signatures.refuse_other_file(pathlib.Path(path), 'an image')
    raise InputError(f'{path} is not an image of a format that Pillow reads') from error
  except Exception as error:  # broken image data can raise any exception at all
    raise InputError(f'{path} is not a whole image ({error or type(error).__name__})') from error


@functools.cache
def _formats() -> tuple[str, ...]:
  """Returns all formats that may be read."""
  Image.init()
  return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS)


def pixels(image: Image.Image, form: Form, scale: Scale = pixel_scale.FULL) -> np.ndarray:
  """Brings an opened image into the form wanted.

  It is turned upright, as its EXIF data say; broken EXIF data are left aside. Transparent parts are
  put on white, and values of more than 8 bits are reduced by `scale`. Then the image is cropped and
  resized by the LANCZOS filter, and inverted if that is wanted.

  Returns:
    uint8 [form.size, form.size, form.channels].

  Raises:
    InputError: the image has float pixels that are no finite numbers.
  """
  draft_size = _DRAFT_FACTOR * form.size
  image.draft(None, (draft_size, draft_size))  # only for JPEG; it does nothing to other formats
  image.load()  # it turns TIFF images upright itself, and they do not say so any more afterwards
  plain = _without_alpha(_upright(pixel_scale.eight_bit(image, scale), _orientation(image)))
  plain = plain.convert('L' if form.channels == 1 else 'RGB')
  resized = plain.resize(
    (form.size, form.size), Image.Resampling.LANCZOS, box=_box(plain.size, form.crop)
  )
  found = np.asarray(resized).reshape(form.shape)
  return 255 - found if form.invert else found


def _orientation(image: Image.Image) -> int:
  """Returns how an image lies by its EXIF data, 1 to 8; 1 is upright.

  If the data are broken or missing, it is taken as upright.
  """
  try:
    value = image.getexif().get(_ORIENTATION, 1)
  except Exception:  # broken data can raise any exception; broken pixels do so again when decoded
    return 1
  return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
  """Turns an image upright whose EXIF data say this."""
  turn = _UPRIGHT.get(orientation)
  return image if turn is None else image.transpose(turn)


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
