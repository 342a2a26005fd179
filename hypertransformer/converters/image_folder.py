"""Images by class -> a dataset that training reads, however large (spec: data.md section 1, the
flat layout).
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import pathlib
import sys
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import BinaryIO

import numpy as np
from PIL import Image

from hypertransformer import cores
from hypertransformer.converters import image_files
from hypertransformer.converters.image_files import Form
from hypertransformer.converters.image_sources import ImageClass, Split
from hypertransformer.datasets import specs
from hypertransformer.datasets.class_list import CLASS_LIST, CLASS_LIST_COLUMNS
from hypertransformer.errors import InputError
from hypertransformer.files import writing
from hypertransformer.progress import Progress

_MAX_NAMED = 10
# Images are decoded and written this many bytes at a time.
_BLOCK_BYTES = 1 << 24
_MAX_THREADS = 8


@dataclasses.dataclass(frozen=True)
class Written:
  """A converted dataset: where it is, image counts of its classes in order, its splits, files that
  were skipped.
  """

  path: pathlib.Path
  sizes: tuple[int, ...]
  splits: tuple[Split, ...]
  form: Form
  skipped: int

  def lines(self) -> Iterator[str]:
    """What to tell: the classes of each split, as they are written in flags, and the summary."""
    first = 0
    for split in self.splits:
      last = first + len(split.classes) - 1
      images = sum(self.sizes[first : last + 1])
      yield f'{split.name}: {last + 1 - first} classes, {images} images: {dataset_name(self.path)}:{first}-{last}'
      first = last + 1
    skipped = f', {self.skipped} broken images skipped' if self.skipped else ''
    shape = ' x '.join(map(str, (sum(self.sizes), *self.form.shape)))
    megabytes = sum(self.sizes) * np.prod(self.form.shape) / 1e6
    yield f'wrote {self.path}: {len(self.sizes)} classes, uint8 {shape}, {megabytes:.1f} MB{skipped}'


def dataset_name(path: pathlib.Path) -> str:
  return path.stem if path.suffix == '.npy' else path.name


def output_path(text: str, overwrite: bool = False) -> pathlib.Path:
  """The folder NAME, or the file NAME.npy, that --output_path means.

  Raises:
    InputError: it exists, or its name cannot be written in flags.
  """
  if not text:
    raise InputError(
      '--output_path is not given; expected a folder to make, data_numpy_dir/NAME, or NAME.npy'
    )
  path = pathlib.Path(text).expanduser()
  if path.suffix == '.npy':
    writing.output_file(str(path), path.name, overwrite)
  else:
    writing.check_folder(path, overwrite)
    file = path.with_name(f'{path.name}.npy')
    if file.exists():
      raise InputError(
        f'{file} is there and would be read in place of the folder {path}; remove it or give another '
        'name'
      )
  specs.parse_dataset(dataset_name(path).replace(':', '?'))
  return path


def convert(
  splits: Sequence[Split],
  path: pathlib.Path,
  form: Form,
  skip_broken: bool = False,
  overwrite: bool = False,
) -> Written:
  """Decodes all images and writes them, one split after the other: a class's number is its place in
  this order.

  Args: splits: see image_sources. path: NAME, a folder with images.npy, class_sizes.npy and
    classes.csv (class, split, name, images); or NAME.npy,
      for classes of equal size.
    form: the shape of the images written.
    skip_broken: leave out images that cannot be read, and name them on stderr.
    overwrite: replace what is at `path`.

  Raises: InputError: images that cannot be read (up to ten are named), no room on the disk, or
    classes of different sizes
      for NAME.npy. Nothing is written then.
  """
  total = sum(split.num_images for split in splits)
  writing.require_space(path, total * int(np.prod(form.shape)))
  broken = _Broken(skip_broken)
  if path.suffix == '.npy':
    counts = [len(cls.images) for split in splits for cls in split.classes]
    _require_equal(counts, splits)
    with writing.atomic_file(path) as file:
      sizes = _write_images(file, (len(counts), counts[0]), splits, form, broken)
      _require_equal(sizes, splits)
  else:
    with writing.atomic_folder(path, overwrite) as folder:
      with open(folder / 'images.npy', 'wb') as file:
        sizes = _write_images(file, (total,), splits, form, broken)
        file.seek(0)
        file.write(_header((sum(sizes), *form.shape)))
      np.save(folder / 'class_sizes.npy', np.array(sizes, np.int64))
      _write_class_list(folder / CLASS_LIST, splits, sizes)
  return Written(path, tuple(sizes), tuple(splits), form, broken.count)


class _Broken:
  """Images that could not be read."""

  def __init__(self, skip: bool) -> None:
    self.count = 0
    self._skip = skip
    self._reasons: list[str] = []

  def add(self, reason: str) -> None:
    """Raises InputError when ten have come together and none may be skipped."""
    self.count += 1
    if self._skip:
      print(f'skipped: {reason}', file=sys.stderr)
      return
    self._reasons.append(reason)
    if self.count == _MAX_NAMED:
      self.check()

  def check(self) -> None:
    """Raises InputError if there was one that may not be skipped."""
    if self._reasons:
      first = 'the first ' if self.count == _MAX_NAMED else ''
      listed = ''.join(f'\n  {reason}' for reason in self._reasons)
      raise InputError(
        f'{first}{self.count} images cannot be read; replace them, or give --skip_broken to leave out '
        f'all such images:{listed}'
      )


def _write_images(
  file: BinaryIO, leading: tuple[int, ...], splits: Sequence[Split], form: Form, broken: _Broken
) -> list[int]:
  """Writes a .npy of [*leading, H, W, C] and returns the number of images of each class."""
  classes = [cls for split in splits for cls in split.classes]
  sizes = [0] * len(classes)
  total = sum(len(cls.images) for cls in classes)
  progress = Progress('images', total, 'images')
  done = 0
  file.write(_header((*leading, *form.shape)))
  for number, tried, images in _decoded(classes, form, broken):
    for image in images:
      file.write(image.tobytes())
    sizes[number] += len(images)
    done += tried
    progress.update(done)
  broken.check()
  for cls, size in zip(classes, sizes, strict=True):
    if not size:
      raise InputError(f'not one image of the class {cls.name!r} can be read; remove the class')
  return sizes


def _decoded(
  classes: Sequence[ImageClass], form: Form, broken: _Broken
) -> Iterator[tuple[int, int, list[np.ndarray]]]:
  """(class number, images tried, those that could be read) in order, a block at a time."""
  block = max(_MAX_THREADS, _BLOCK_BYTES // int(np.prod(form.shape)))
  # Pillow decodes and resizes outside the interpreter's lock, so threads do it in parallel.
  with image_files.bombs_refused(), futures.ThreadPoolExecutor(_threads()) as pool:
    for number, cls in enumerate(classes):
      for start in range(0, len(cls.images), block):
        images = []
        part = cls.images[start : start + block]
        for result in pool.map(functools.partial(_image_or_reason, form=form), part):
          if isinstance(result, str):
            broken.add(result)
          else:
            images.append(result)
        yield number, len(part), images


def _threads() -> int:
  return min(cores.available(), _MAX_THREADS)


def _image_or_reason(image: str | np.ndarray, form: Form) -> np.ndarray | str:
  """The pixels, or why there are none."""
  try:
    if isinstance(image, str):
      return image_files.read(image, form)
    return image_files.pixels(
      Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), form
    )
  except InputError as error:
    return str(error)


def _header(shape: tuple[int, ...]) -> bytes:
  """The beginning of a .npy file of uint8. NumPy pads it so that its length does not depend on the
  first number.
  """
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  )
  return header.getvalue()


def _require_equal(sizes: Sequence[int], splits: Sequence[Split]) -> None:
  """Raises InputError unless all classes have the same number of images."""
  names = [cls.name for split in splits for cls in split.classes]
  for name, size in zip(names, sizes, strict=True):
    if size != sizes[0]:
      raise InputError(
        f'class {name!r} has {size} images and class {names[0]!r} {sizes[0]}; a single .npy needs '
        'classes of equal size: give --output_path a folder, without .npy'
      )


def _write_class_list(path: pathlib.Path, splits: Sequence[Split], sizes: Sequence[int]) -> None:
  """CSV: which class has which name, for people and for utils/inspect_data.py."""
  named = [(split.name, cls.name) for split in splits for cls in split.classes]
  # File names may be no text at all; such bytes are written as escapes.
  with open(path, 'w', encoding='utf-8', errors='backslashreplace', newline='') as file:
    table = csv.writer(file)
    table.writerow(CLASS_LIST_COLUMNS)
    for number, ((split, name), size) in enumerate(zip(named, sizes, strict=True)):
      table.writerow([number, split, name, size])
