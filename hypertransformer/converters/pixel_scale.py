"""Finds out what grey values of 16 bits, 32 bits and floats mean, and makes uint8 of them.

Such a file does not say which value is white. A camera of 12 bits writes 0 to 4095 into a file of
16 bits, and a program that has 8 bits may do so with 0 to 255; divided by 256, the first would
become nearly black and the second quite. So all images of a dataset are looked at first, and one
scale is chosen for all of them. It is not chosen for each image, because that would make dark
images bright and lose what tells classes apart.

- Values from 0 on: 0 becomes black, and white is the largest number that has as many bits as the
  largest value found, but at least 8: 4095 if that is 4001. A number of bits is what cameras and
  programs have. So the scale depends little on a single bright pixel, 8-bit values stay what they
  are beside images of 8 bits, and train and test images that are converted apart fit together.
- If all are at most 1, white is 1; between 1 and 2 (resizing overshoots a little), the largest one.
- If some are negative, the smallest becomes black and the largest white.

An image that nearly vanishes by that scale (its brightest pixel comes out below 16 of 255) was most
likely stored with another scale. Then the dataset is refused, unless --white_value says which value
is white. Colours of 16 bits are cut to their upper 8 bits by Pillow; they are refused if hardly
anything is left in these.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from absl import logging
from PIL import Image

from hypertransformer.errors import InputError

# Below this, of 255, an image is as good as black; 12 bits taken for 16 become 0 to 15.
_BLACK = 16
# Codes of Pillow's decoders for colours and for grey with alpha, each value of which has 16 bits.
_DEEP_COLOURS = re.compile(r'\b(?:RGB\w?|CMYK|LA);16[BLN]')
# Of colours of 16 bits, the upper 8 bits are below this if there were 14 bits or fewer in fact.
_FEW_COLOURS = 64


@dataclasses.dataclass(frozen=True)
class Range:
  """The smallest and the largest value in an image.

  Attributes:
    low: the smallest value.
    high: the largest value.
    path: the image file.
    is_colour: whether it has colours of 16 bits, of which Pillow gives the upper 8.
  """

  low: float
  high: float
  path: str
  is_colour: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
  """Which values become black (0) and white (255); those beyond are cut."""

  black: float
  white: float

  def apply(self, values: np.ndarray) -> np.ndarray:
    """Returns grey values of any type and shape as uint8 of the same shape."""
    scaled = (values.astype(np.float64) - self.black) * (255 / (self.white - self.black))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


FULL = Scale(0, 65535)  # all of 16 bits


def is_deep(image: Image.Image) -> bool:
  """Tells whether an image has grey values of more than 8 bits, or floats."""
  return image.mode == 'F' or image.mode.startswith('I')


def range_of(image: Image.Image, path: str) -> Range | None:
  """Decodes an opened image if it has more than 8 bits for each value; otherwise returns None.

  Raises:
    InputError: it has float pixels that are no finite numbers.
  """
  # Pillow has no mode for such colours; only the code of the decoder tells them.
  tiles = getattr(image, 'tile', ())
  is_colour = not is_deep(image) and any(_DEEP_COLOURS.search(str(tile[3])) for tile in tiles)
  if not is_deep(image) and not is_colour:
    return None
  values = np.asarray(image.convert('RGB')) if is_colour else _values(image)
  return Range(float(values.min()), float(values.max()), path, is_colour)


def eight_bit(image: Image.Image, scale: Scale) -> Image.Image:
  """Returns an image with grey of 8 bits, if it has more; others are returned as they are."""
  return Image.fromarray(scale.apply(_values(image))) if is_deep(image) else image


def _values(image: Image.Image) -> np.ndarray:
  """Returns the grey values of an image, [H, W]."""
  values = np.asarray(image)
  if not np.isfinite(values).all():
    raise InputError('has pixels that are no finite numbers (NaN or infinite)')
  # Pillow takes unsigned values of 32 bits for signed ones.
  is_unsigned = getattr(image, 'tag_v2', {}).get(_SAMPLE_FORMAT, (1,))[0] == 1
  return values.view(np.uint32) if values.dtype == np.int32 and is_unsigned else values


_SAMPLE_FORMAT = 339  # the tag of TIFF that says whether values are unsigned (1), signed or floats


def choose(ranges: Sequence[Range], white: float | None = None) -> Scale:
  """Chooses the scale for all images of a dataset, as described above, and warns of what was found.

  Args:
    ranges: those of all images with more than 8 bits for each value; there may be none.
    white: the value that becomes white, if it is known, --white_value; black is 0 then.

  Raises:
    InputError: an image would come out black, or colours of 16 bits use few of them.
  """
  _refuse_dark_colours([found for found in ranges if found.is_colour])
  grey = [found for found in ranges if not found.is_colour]
  if not grey:
    return FULL if white is None else Scale(0, white)
  low, high = min(found.low for found in grey), max(found.high for found in grey)
  scale = _scale(low, high) if white is None else Scale(0, white)
  dimmest = min(grey, key=lambda found: found.high)
  if white is None:
    _refuse_black(grey, scale)
  logging.warning(
    '%d images have grey values of 16 bits, 32 bits or floats, from %.9g to %.9g (the brightest of '
    'an image: %.9g to %.9g); %.9g becomes black and %.9g white%s',
    len(grey),
    low,
    high,
    dimmest.high,
    high,
    scale.black,
    scale.white,
    '; others can be chosen by --white_value' if white is None else '',
  )
  if white is not None and (high > white or low < 0):
    logging.warning('values below 0 and above --white_value=%.9g are cut', white)
  return scale


def _scale(low: float, high: float) -> Scale:
  """Returns the scale for values from `low` to `high`."""
  if low < 0:
    return Scale(low, max(high, low + 1))
  if high < 2:
    return Scale(0, max(high, 1))
  return Scale(0, 2 ** max(8, int(high).bit_length()) - 1)


def _refuse_black(ranges: Sequence[Range], scale: Scale) -> None:
  """Raises InputError if an image that is not blank would come out as good as black."""
  brightest = max(ranges, key=lambda found: found.high)
  for found in ranges:
    reached = (found.high - scale.black) * 255 / (scale.white - scale.black)
    if found.high > found.low and reached < _BLACK:
      raise InputError(
        f'{found.path} has values up to {found.high:.9g} and {brightest.path} up to '
        f'{brightest.high:.9g}; on one scale for all images the first would be black: were they '
        'stored with different numbers of bits? Make all of them 8-bit images, or give '
        f'--white_value={scale.white:.9g} if such images are meant to be dark'
      )


def _refuse_dark_colours(ranges: Sequence[Range]) -> None:
  """Raises InputError if colours of 16 bits have 14 bits or fewer in all images."""
  if ranges and max(found.high for found in ranges) < _FEW_COLOURS:
    found = max(ranges, key=lambda found: found.high)
    raise InputError(
      f'{found.path} and {len(ranges) - 1} other images have colours of 16 bits, but none above '
      f'{256 * found.high + 255:.9g} of 65535, so they would come out nearly black; expected all '
      'of the range to be used: make 8-bit images of them'
    )
