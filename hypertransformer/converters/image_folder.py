"""Convert images, given by split and class, into a dataset (docs/spec/data.md, section 1).

Images are decoded and written a block at a time, so a dataset may be far larger than the memory.
"""

from __future__ import annotations

import functools
import itertools
import math
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, BinaryIO

import numpy as np

from hypertransformer import cores
from hypertransformer.converters import classes
from hypertransformer.converters.image_sources import Images, Splits
from hypertransformer.data import files
from hypertransformer.data import images as images_lib
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.data.images import Form
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

_BLOCK_BYTES = 1 << 24  # of images that are decoded before they are written
_MAX_THREADS = 8
_DARK = 16  # if no pixel of a dataset is brighter, it has another scale, such as 12 bits


def convert(
  splits: Splits,
  path: pathlib.Path,
  form: Form,
  skip_broken: bool = False,
  overwrite: bool = False,
  white_value: float = images_lib.WHITE,
) -> list[str]:
  """Decode all images and write them as a dataset.

  Classes are numbered in the order of the splits and, within each, of its classes.

  Args:
    splits: the images by split and class; see `image_sources`.
    path: the folder to write; or a file NAME.npy, for which all classes must have the same size.
    form: the shape of the images written.
    skip_broken: whether images that cannot be read are skipped, and named on stderr.
    overwrite: whether an older folder may be replaced.
    white_value: the value that becomes white in images of more than 8 bits; black is 0.

  Returns:
    The lines of a summary: the classes of each split, and what was written.

  Raises:
    InputError: an image cannot be read, their values do not fit together or are
      all dark, the disk has no room, or classes of NAME.npy differ in size. Nothing is written
      then.
  """
  entries = [ClassEntry(split, name) for split, named in splits.items() for name in named]
  members = [images for named in splits.values() for images in named.values()]
  sizes = [len(images) for images in members]
  shape = _shape(path, entries, sizes, form)
  if not 0 < white_value < float('inf'):
    raise InputError(f'white_value is {white_value}; expected a number above 0, such as 4095')
  with classes.new_dataset(path, overwrite) as (file, write_classes):
    file.write(files.uint8_header(shape))
    skipped = sum(sizes)
    sizes = _write_images(file, members, form, white_value, skip_broken)
    skipped -= sum(sizes)
    if 0 in sizes:
      raise InputError(f'no image of the class {entries[sizes.index(0)].name!r} can be read')
    file.seek(0)
    file.write(files.uint8_header(_shape(path, entries, sizes, form)))  # of the same length
    write_classes(entries, sizes)
  return _summary(splits, path, form, sizes, skipped)


def _shape(
  path: pathlib.Path, entries: Sequence[ClassEntry], sizes: Sequence[int], form: Form
) -> tuple[int, ...]:
  """Return the shape of the array of all images, given the number of images of each class."""
  if path.suffix != '.npy':
    return sum(sizes), *form.shape
  for entry, size in zip(entries, sizes, strict=True):
    if size != sizes[0]:
      raise InputError(
        f'class {entry.name!r} has {size} images and class {entries[0].name!r} {sizes[0]}; a '
        'single .npy requires classes of equal size: give --output_path a folder, without .npy'
      )
  return len(sizes), sizes[0], *form.shape


def _summary(
  splits: Splits, path: pathlib.Path, form: Form, sizes: Sequence[int], skipped: int
) -> list[str]:
  lines = []
  first = 0
  dataset = path.stem if path.suffix == '.npy' else path.name
  for split, named in splits.items():
    end = first + len(named)
    lines.append(
      f'{split}: {len(named)} classes, {sum(sizes[first:end])} images: {dataset}:{first}-{end - 1}'
    )
    lines.append(f'  in this order: {classes.sequence(named)}')
    first = end
  shape = ' x '.join(map(str, (sum(sizes), *form.shape)))
  megabytes = sum(sizes) * math.prod(form.shape) / 1e6
  broken = f', {skipped} broken images skipped' if skipped else ''
  lines.append(f'wrote {path}: {len(sizes)} classes, uint8 {shape}, {megabytes:.1f} MB{broken}')
  return lines


def _mapped(function: Callable[[Any], Any], items: Sequence[Any], form: Form) -> Iterator[Any]:
  """Yield the results of a function of images in order; threads compute a block of them at a time.

  Pillow releases Python's lock while it decodes. Its warnings about metadata are not shown.
  """
  block = max(_MAX_THREADS, _BLOCK_BYTES // math.prod(form.shape))
  with (
    warnings.catch_warnings(),
    futures.ThreadPoolExecutor(min(cores.available(), _MAX_THREADS)) as pool,
    progress('images', len(items), 'images') as bar,
  ):
    warnings.simplefilter('ignore')
    for start in range(0, len(items), block):
      for result in pool.map(function, items[start : start + block]):
        yield result
        bar.update()


def _write_images(
  file: BinaryIO, members: Sequence[Images], form: Form, white: float, skip_broken: bool
) -> list[int]:
  """Write the pixels of all images, and return the number of images of each class.

  Raises:
    InputError: images cannot be read and may not be skipped, or all images are dark.
  """
  numbers = [number for number, images in enumerate(members) for _ in images]
  every = list(itertools.chain(*members))
  decode = functools.partial(_pixels_or_reason, form=form, white=white)
  sizes = [0] * len(members)
  brightest = 0
  for number, pixels in zip(numbers, _mapped(decode, every, form), strict=True):
    if isinstance(pixels, np.ndarray):
      file.write(pixels.tobytes())
      brightest = max(brightest, int(255 - pixels.min() if form.invert else pixels.max()))
      sizes[number] += 1
    elif skip_broken:
      print(f'skipped: {pixels}', file=sys.stderr)
    else:
      raise InputError(f'{pixels}; replace it, or give --skip_broken to skip all such images')
  if brightest <= _DARK:
    raise InputError(
      f'all pixels are between 0 and {brightest} of 255; scale the images to 0..255, or give '
      '--white_value for images of more than 8 bits'
    )
  return sizes


def _pixels_or_reason(image: str | np.ndarray, form: Form, white: float) -> np.ndarray | str:
  """Return the pixels of an image, or why it cannot be read."""
  try:
    return images_lib.read(image, form, white)
  except InputError as error:
    return str(error)
