"""Converts images, given by split and class, into a dataset that training reads.

The result is a folder in this project's form, or a single .npy file (docs/spec/data.md, section 1).
Images are decoded and written a block at a time, so a dataset may be far larger than the memory.
Before that, all files are opened once to see whether they have more than 8 bits (`pixel_scale`).
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import BinaryIO

import numpy as np
from PIL import Image

from hypertransformer import cores
from hypertransformer.converters import (
  class_files,
  class_names,
  image_files,
  path_flags,
  pixel_scale,
)
from hypertransformer.converters.broken_images import BrokenImages
from hypertransformer.converters.image_files import Form
from hypertransformer.converters.image_sources import ImageClass, Split
from hypertransformer.converters.pixel_scale import Scale
from hypertransformer.data import class_list, files, specs
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

# How many bytes of images are decoded before they are written.
_BLOCK_BYTES = 1 << 24
_MAX_THREADS = 8
_BLACK = 2  # if no pixel of a dataset is brighter, it holds values of another scale


@dataclasses.dataclass(frozen=True)
class Written:
  """A dataset that has been written.

  Attributes:
    path: its folder or .npy file.
    sizes: the number of images of each class, in the order of the class numbers.
    splits: what it was made of, one split after the other.
    form: the shape of its images.
    skipped: how many images were left out because they could not be read.
  """

  path: pathlib.Path
  sizes: tuple[int, ...]
  splits: tuple[Split, ...]
  form: Form
  skipped: int

  def lines(self) -> Iterator[str]:
    """Yields the classes of each split, as flags take them and by name; then a summary."""
    first = 0
    for split in self.splits:
      last = first + len(split.classes) - 1
      images = sum(self.sizes[first : last + 1])
      yield (
        f'{split.name}: {last + 1 - first} classes, {images} images: '
        f'{dataset_name(self.path)}:{first}-{last}'
      )
      names = [cls.name for cls in split.classes]
      yield f'  in this order: {class_names.sequence(names)}'
      first = last + 1
    skipped = f', {self.skipped} broken images skipped' if self.skipped else ''
    shape = ' x '.join(map(str, (sum(self.sizes), *self.form.shape)))
    megabytes = sum(self.sizes) * np.prod(self.form.shape) / 1e6
    yield (
      f'wrote {self.path}: {len(self.sizes)} classes, uint8 {shape}, {megabytes:.1f} MB{skipped}'
    )


def dataset_name(path: pathlib.Path) -> str:
  """Returns the name by which flags call the dataset in a folder or .npy file."""
  return path.stem if path.suffix == '.npy' else path.name


def output_path(text: str, overwrite: bool = False) -> pathlib.Path:
  """Returns the folder NAME or the file NAME.npy that is to be written.

  Args:
    text: the flag --output_path.
    overwrite: whether an older dataset may be replaced.

  Raises:
    InputError: the path exists and may not be replaced, or flags could not call the dataset by this
      name.
  """
  if not text:
    raise InputError(
      '--output_path is not given; expected a folder to make, data_numpy_dir/NAME, or NAME.npy'
    )
  path = path_flags.given(text, 'output_path')
  if path.suffix == '.npy':
    files.output_file(str(path), path.name, overwrite)
    class_files.check(path, overwrite)
  else:
    files.check_folder(path, overwrite)
    file = path.with_name(f'{path.name}.npy')
    if file.exists():
      raise InputError(
        f'{file} is there and would be read in place of the folder {path}; remove it or give '
        'another name'
      )
  specs.parse_dataset(dataset_name(path).replace(':', '?'))
  return path


def convert(
  splits: Sequence[Split],
  path: pathlib.Path,
  form: Form,
  skip_broken: bool = False,
  overwrite: bool = False,
  white_value: float | None = None,
) -> Written:
  """Decodes all images and writes them as a dataset.

  Classes are numbered from 0 on in the order of the splits and, within each, of its classes.

  Args:
    splits: the images by split and class; see `image_sources`.
    path: what to write: a folder NAME with images.npy, class_sizes.npy and classes.csv (see
      `class_list`); or a file NAME.npy, for which all classes must have the same size, and
      NAME.classes.csv.
    form: the shape of the images written.
    skip_broken: whether to leave out images that cannot be read, and name them on stderr.
    overwrite: whether an older dataset at `path` may be replaced.
    white_value: which value is white in images of more than 8 bits; None if that is to be found out
      from all of them (see `pixel_scale`).

  Raises:
    InputError: images cannot be read (up to ten are named), their values do not fit together or are
      all black, the disk has no room, or NAME.npy is asked for and classes differ in size. Nothing
      is written then.
  """
  total = sum(split.num_images for split in splits)
  files.require_space(path, total * int(np.prod(form.shape)))
  broken = BrokenImages(skip_broken)
  entries = [ClassEntry(split.name, cls.name) for split in splits for cls in split.classes]
  if path.suffix == '.npy':
    counts = [len(cls.images) for split in splits for cls in split.classes]
    _require_equal(counts, splits)
    scale = _scale(splits, white_value)
    with class_files.atomic_array(path) as (file, listing):
      sizes = _write_images(file, (len(counts), counts[0]), splits, form, scale, broken)
      _require_equal(sizes, splits)
      file.seek(0)
      file.write(files.uint8_header((len(sizes), sizes[0], *form.shape)))
      class_list.write(listing, entries, sizes)
  else:
    scale = _scale(splits, white_value)
    with files.atomic_folder(path, overwrite) as folder:
      with open(folder / 'images.npy', 'wb') as file:
        sizes = _write_images(file, (total,), splits, form, scale, broken)
        file.seek(0)
        file.write(files.uint8_header((sum(sizes), *form.shape)))
      np.save(folder / 'class_sizes.npy', np.array(sizes, np.int64))
      class_list.write(folder / class_list.FILE_NAME, entries, sizes)
  return Written(path, tuple(sizes), tuple(splits), form, broken.count)


def _scale(splits: Sequence[Split], white_value: float | None) -> Scale:
  """Looks at all image files and returns the scale for those of more than 8 bits."""
  if white_value is not None and not 0 < white_value < float('inf'):
    raise InputError(f'white_value is {white_value}; expected a number above 0, such as 4095')
  files = [
    file
    for split in splits
    for cls in split.classes
    for file in cls.images
    if isinstance(file, str)
  ]
  bar = progress('images, first look', len(files), 'images')
  ranges = []
  with image_files.bombs_refused(), futures.ThreadPoolExecutor(_threads()) as pool:
    for done, found in enumerate(pool.map(image_files.range_of, files), 1):
      ranges += [found] if found else []
      show(bar, done)
  return pixel_scale.choose(ranges, white_value)


def _write_images(
  file: BinaryIO,
  leading: tuple[int, ...],
  splits: Sequence[Split],
  form: Form,
  scale: Scale,
  broken: BrokenImages,
) -> list[int]:
  """Writes a .npy file of all images, and returns the number of images of each class.

  Args:
    file: the file to write to.
    leading: the shape of the array before H, W and C: [classes, samples] or [all images]. If images
      are left out, the caller has to correct it afterwards.
    splits: the images by split and class.
    form: the shape of the images written.
    scale: what values of more than 8 bits mean.
    broken: gets the images that cannot be read.

  Raises:
    InputError: images cannot be read and may not be left out, a class has none that can, or all
      images are black.
  """
  classes = [cls for split in splits for cls in split.classes]
  sizes = [0] * len(classes)
  total = sum(len(cls.images) for cls in classes)
  bar = progress('images', total, 'images')
  done = brightest = 0
  file.write(files.uint8_header((*leading, *form.shape)))
  for number, tried, images in _decoded(classes, form, scale, broken):
    for image in images:
      file.write(image.tobytes())
      brightest = max(brightest, int(255 - image.min() if form.invert else image.max()))
    sizes[number] += len(images)
    done += tried
    show(bar, done)
  broken.check()
  for cls, size in zip(classes, sizes, strict=True):
    if not size:
      raise InputError(f'not one image of the class {cls.name!r} can be read; remove the class')
  if brightest <= _BLACK:
    raise InputError(
      f'all pixels of all images are between 0 and {brightest}, so they are black; expected values '
      'up to 255: multiply those of masks and of images from 0 to 1 by 255'
    )
  return sizes


def _decoded(
  classes: Sequence[ImageClass], form: Form, scale: Scale, broken: BrokenImages
) -> Iterator[tuple[int, int, list[np.ndarray]]]:
  """Decodes the images of all classes in order, a block at a time.

  Yields:
    The number of the class, how many images of it were tried, and the pixels of those that could be
    read, uint8 [H, W, C] each.
  """
  block = max(_MAX_THREADS, _BLOCK_BYTES // int(np.prod(form.shape)))
  decode = functools.partial(_image_or_reason, form=form, scale=scale)
  # Pillow releases the interpreter's lock while it decodes and resizes, so threads are of use.
  with image_files.bombs_refused(), futures.ThreadPoolExecutor(_threads()) as pool:
    for number, cls in enumerate(classes):
      for start in range(0, len(cls.images), block):
        images = []
        part = cls.images[start : start + block]
        for result in pool.map(decode, part):
          if isinstance(result, str):
            broken.add(result)
          else:
            images.append(result)
        yield number, len(part), images


def _threads() -> int:
  """Returns how many threads decode images."""
  return min(cores.available(), _MAX_THREADS)


def _image_or_reason(image: str | np.ndarray, form: Form, scale: Scale) -> np.ndarray | str:
  """Returns the pixels of an image file or of an image in memory, or why there are none."""
  try:
    if isinstance(image, str):
      return image_files.read(image, form, scale)
    return image_files.pixels(
      Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), form
    )
  except InputError as error:
    return str(error)


def _require_equal(sizes: Sequence[int], splits: Sequence[Split]) -> None:
  """Raises InputError unless all classes have the same number of images."""
  names = [cls.name for split in splits for cls in split.classes]
  for name, size in zip(names, sizes, strict=True):
    if size != sizes[0]:
      raise InputError(
        f'class {name!r} has {size} images and class {names[0]!r} {sizes[0]}; a single .npy needs '
        'classes of equal size: give --output_path a folder, without .npy'
      )
