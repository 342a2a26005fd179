"""Parts of all pictures: colours, lines of text, frames, and arrays that are put together.

A picture is a uint8 array [height, width, 3]. Small pictures are put above each other or side by
side to make a larger one.
"""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

# In pixels. TensorBoard stretches every picture to this width, and letters suffer from that.
WIDTH = 350
GROUND: Colour = (255, 255, 255)
INK: Colour = (0, 0, 0)
GREY: Colour = (96, 96, 96)
FRAME: Colour = (213, 94, 0)  # vermillion, which colour-blind people tell from grey and blue
BLUE: Colour = (0, 114, 178)
PALE: Colour = (249, 216, 184)
FONT_SIZE, SMALL = 12, 10  # pixels
# Colours of the values 0, 1/3, 2/3 and 1. They go from light to dark, so that a picture can be read
# without colours as well.
SEQUENTIAL = np.array([(255, 247, 214), (120, 198, 160), (34, 118, 158), (38, 28, 92)], np.float64)
# Colours of the values -1, 0 and 1.
DIVERGING = np.array([(5, 80, 160), (250, 250, 250), (200, 80, 0)], np.float64)


def sequential(values: np.ndarray) -> np.ndarray:
  """Return the colours of values in 0..1, from light to dark: uint8 with one more axis, of 3."""
  return _between(np.asarray(values, np.float64), SEQUENTIAL)


def diverging(values: np.ndarray) -> np.ndarray:
  """Return the colours of values in -1..1, blue below 0 and orange above, as `sequential` does."""
  return _between((np.asarray(values, np.float64) + 1.0) / 2.0, DIVERGING)


def _between(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
  places = np.linspace(0.0, 1.0, len(colours))
  channels = [np.interp(values, places, channel) for channel in colours.T]
  return np.stack(channels, -1).round().astype(np.uint8)


def ink_on(ground: Sequence[int]) -> Colour:
  """Return black or white, whichever is more readable on this colour."""
  return GROUND if np.dot(ground, (0.299, 0.587, 0.114)) < 140 else INK


@functools.cache
def font(size: int = FONT_SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
  """Return Pillow's own font, of this size in pixels."""
  return ImageFont.load_default(size)


def text_width(text: str, size: int = FONT_SIZE) -> int:
  """Return the width of a line of text in pixels."""
  return int(font(size).getlength(text)) + 1


def blank(height: int, width: int, colour: Colour = GROUND) -> np.ndarray:
  """Return a picture of one colour."""
  return np.full((height, width, 3), colour, np.uint8)


@functools.lru_cache(maxsize=2048)  # the same names are written again and again
def box(
  text: str, height: int, width: int, anchor: str = 'mm', ink: Colour = INK, size: int = FONT_SIZE
) -> np.ndarray:
  """Return a white picture with one line of text in it, which must not be changed.

  Args:
    text: the line.
    height: of the picture, in pixels.
    width: the same.
    anchor: the place of the text: 'mm' in the middle, 'lm' at the left, 'rm' at the right.
    ink: its colour.
    size: of the letters, in pixels.
  """
  image = Image.fromarray(blank(height, width))
  x = {'l': 0.0, 'm': width / 2, 'r': float(width)}[anchor[0]]
  ImageDraw.Draw(image).text((x, height / 2), text, fill=ink, anchor=anchor, font=font(size))
  picture = np.array(image)
  picture.setflags(write=False)
  return picture


def heading(title: str, *notes: str, width: int = WIDTH, size: int = FONT_SIZE) -> np.ndarray:
  """Return the head of a picture: a title above smaller notes, each wrapped to the width."""
  lines = [box(line, size + 4, width, 'lm', size=size) for line in _wrapped(title, width, size)]
  small = size - FONT_SIZE + SMALL
  for note in notes:
    lines += [
      box(line, small + 3, width, 'lm', GREY, small) for line in _wrapped(note, width, small)
    ]
  return below(*lines, blank(4, width))


@functools.lru_cache(maxsize=256)
def _wrapped(text: str, width: int, size: int) -> list[str]:
  """Wrap a text into lines of at most `width` pixels, as far as its words are short enough."""
  letters = len(text)
  while True:
    lines = textwrap.wrap(text, letters)
    widest = max(lines, key=lambda line: font(size).getlength(line))
    if letters <= 8 or font(size).getlength(widest) <= width:
      return lines
    letters = min(letters, len(widest)) - 1


def below(*pictures: np.ndarray) -> np.ndarray:
  """Stack pictures, aligned at the left."""
  width = max(picture.shape[1] for picture in pictures)
  return np.concatenate([with_margin(each, 0, width - each.shape[1]) for each in pictures])


def beside(*pictures: np.ndarray) -> np.ndarray:
  """Put pictures side by side, aligned at the top."""
  return below(*(picture.swapaxes(0, 1) for picture in pictures)).swapaxes(0, 1)


def in_rows(pictures: Sequence[np.ndarray], columns: int) -> list[np.ndarray]:
  """Put pictures side by side, as many as there are columns, and return the rows."""
  return [beside(*pictures[start : start + columns]) for start in range(0, len(pictures), columns)]


def with_margin(picture: np.ndarray, margin: int, right: int = 0) -> np.ndarray:
  """Put a white margin of this many pixels around a picture, and further pixels at its right."""
  sides = (margin, margin), (margin, margin + right), (0, 0)
  return np.pad(picture, sides, constant_values=255)


def framed(picture: np.ndarray, colour: Colour, thickness: int) -> np.ndarray:
  """Paint a frame over the edge of a picture."""
  image = picture.copy()
  image[:thickness] = image[-thickness:] = colour
  image[:, :thickness] = image[:, -thickness:] = colour
  return image


def enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
  """Turn each pixel into a square of `factor` x `factor` pixels."""
  return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def pixels(image: np.ndarray) -> np.ndarray:
  """Turn an image as the model sees it into a picture.

  Args:
    image: [H, W, C], uint8, or float from -1 to 1. Of images without three channels
      the first one is shown.
  """
  if image.dtype != np.uint8:
    image = np.clip((image + 1.0) * 128.0, 0, 255).round().astype(np.uint8)
  return image if image.shape[-1] == 3 else image[..., :1].repeat(3, axis=-1)


def fitted(image: np.ndarray, side: int) -> np.ndarray:
  """Resize a picture into a square of this side, in pixels, with its proportions kept."""
  height, width = image.shape[:2]
  scale = side / max(height, width)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  how = Image.Resampling.NEAREST if scale == int(scale) else Image.Resampling.BILINEAR
  return beside(np.asarray(Image.fromarray(image).resize(size, how)), blank(side, side - size[0]))


def colour_bar(low: str, high: str, signed: bool = False, width: int = WIDTH) -> np.ndarray:
  """Return a strip of colours between the texts of its smallest and its largest value.

  Args:
    low: what the first colour stands for.
    high: what the last colour stands for.
    signed: whether the colours are `diverging` rather than `sequential`.
    width: of the strip with its texts, in pixels.
  """
  colours = _between(np.linspace(0, 1, 120), DIVERGING if signed else SEQUENTIAL)
  sides = [text_width(text, SMALL) + 5 for text in (low, high)]
  length = max(40, min(120, width - sum(sides)))
  strip = colours[np.linspace(0, len(colours) - 1, length).round().astype(int)]
  strip = framed(strip[None].repeat(10, axis=0), GREY, 1)
  before, after = (
    box(text, 14, side, 'lm', GREY, SMALL)
    for text, side in zip((low, f' {high}'), sides, strict=True)
  )
  return beside(before, below(blank(2, length), strip), after)


def png(picture: np.ndarray) -> bytes:
  """Encode a picture as a PNG file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'PNG')
  return file.getvalue()
