"""Converts the official Omniglot release into one uint8 array (docs/spec/data.md, section 2).

The release is two archives of drawings, alphabet/characterNN/NNNN_MM.png, zipped or unpacked. The
archives come from strangers, so sizes are checked before anything is decompressed, and nothing is
unpacked to the disk.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from hypertransformer.converters import leftovers, signatures
from hypertransformer.converters.packed_images import PNG_ERRORS, ZIP_ERRORS
from hypertransformer.data import files, specs
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

# A drawing of the release takes less than 1 kB. A file that is much larger is something else, or a
# decompression bomb.
_MAX_PNG_BYTES = 1 << 16
_DOWNLOAD = 'download it again from github.com/brendenlake/omniglot (folder python/)'

# For each (alphabet, character), the paths of its drawings.
Characters = dict[tuple[str, str], list[str]]
# A function that gives the bytes of the drawing at a path of Characters.
Reader = Callable[[str], bytes]
# For each split that was found: its name, its archive or folder, its characters, their reader.
Found = tuple[str, pathlib.Path, Characters, Reader]


@dataclasses.dataclass(frozen=True)
class Release:
  """What a complete release holds.

  Attributes:
    splits: for each split, the name of its archive or folder and the number of its characters; in
      the order in which the classes are written.
    drawings: the number of drawings of each character.
    side: the width and height of a drawing in pixels.
  """

  splits: tuple[tuple[str, int], ...]
  drawings: int
  side: int


OFFICIAL = Release((('images_background', 964), ('images_evaluation', 659)), drawings=20, side=105)


def convert(folder: pathlib.Path, image_size: int = 28, release: Release = OFFICIAL) -> np.ndarray:
  """Reads a release into one array, with bright ink (255) on a dark ground (0).

  Args:
    folder: the folder that has each split as NAME.zip or as the folder NAME.
    image_size: the width and height of the images returned, in pixels; at most `release.side`.
    release: what to expect: the official release, unless a test makes a small one.

  Returns:
    uint8 [characters, drawings, image_size, image_size, 1]. The splits are in their order; in each,
    alphabets, characters and drawings are sorted by name.

  Raises:
    InputError: a split or a drawing is missing, broken or incomplete (the message names it), or
      `image_size` is out of range.
  """
  _check_size(image_size, release)
  return decode(find(folder, release), image_size, release)


def find(folder: pathlib.Path, release: Release = OFFICIAL) -> list[Found]:
  """Finds the splits of a release and checks that they are complete, before anything is decoded.

  Raises:
    InputError: as `convert`.
  """
  files.require_folder(folder)
  return [_open_split(folder, name, count, release.drawings) for name, count in release.splits]


def class_entries(splits: Sequence[Found]) -> list[ClassEntry]:
  """Returns the split and the name, ALPHABET/CHARACTER, of each class in the order written.

  The splits of the complete dataset are the usual ones, which are not those of the archives (see
  `specs.PRESETS`). For other numbers of classes they are the archives.
  """
  found = [
    ClassEntry(name, '/'.join(character))
    for name, _, characters, _ in splits
    for character in sorted(characters)
  ]
  usual = [split for split, classes in specs.PRESETS['omniglot'].items() for _ in classes]
  if len(usual) != len(found):
    return found
  return [entry._replace(split=split) for entry, split in zip(found, usual, strict=True)]


def decode(splits: Sequence[Found], image_size: int, release: Release = OFFICIAL) -> np.ndarray:
  """Decodes the drawings that were found; see `convert`."""
  _check_size(image_size, release)
  classes = sum(len(characters) for _, _, characters, _ in splits)
  images: np.ndarray = np.zeros((classes, release.drawings, image_size, image_size, 1), np.uint8)
  flat = images.reshape(-1, image_size, image_size, 1)
  bar = progress('omniglot', len(flat), 'drawings')
  done = 0
  for _, source, characters, read in splits:
    for _, paths in sorted(characters.items()):
      for path in sorted(paths):
        flat[done, :, :, 0] = drawing_of(read(path), f'{source}: {path}', image_size, release.side)
        done += 1
      show(bar, done)
  return images


def _check_size(image_size: int, release: Release) -> None:
  if not 1 <= image_size <= release.side:
    raise InputError(
      f'image_size is {image_size}; expected 1 to {release.side}, the pixels of a '
      'drawing of the release'
    )


def _open_split(folder: pathlib.Path, name: str, count: int, drawings: int) -> Found:
  """Finds a split and checks that it is complete.

  Args:
    folder: the folder of the release.
    name: the name of the split.
    count: the number of characters that it should have.
    drawings: the number of drawings that each character should have.

  Raises:
    InputError: it is missing, broken or incomplete.
  """
  archive, unpacked = folder / f'{name}.zip', folder / name
  if folder.name == name and not archive.exists() and not unpacked.exists():
    raise InputError(f'{folder} is the folder of one split; give the folder that it is in')
  if archive.is_dir():
    raise InputError(f'{archive} is a folder; if it is the unpacked archive, call it {name}')
  if archive.is_file():
    source = archive
    paths, read = _open_zip(archive)
  elif unpacked.is_dir():
    source = unpacked
    paths, read = _open_folder(unpacked)
  else:
    raise InputError(
      f'neither {archive} nor the folder {unpacked} is there; expected the official '
      f'Omniglot release, zipped or unpacked: {_DOWNLOAD}'
    )
  characters = _characters(paths, source)
  _check_counts(source, characters, count, drawings)
  return name, source, characters, read


def _open_zip(path: pathlib.Path) -> tuple[list[str], Reader]:
  """Returns the names of all files in an archive, and the function that reads one of them."""
  files.refuse_page_or_empty(path, 'a zip archive')
  try:
    archive = zipfile.ZipFile(path)
  except ZIP_ERRORS as error:
    signatures.refuse_pointer(path, 'a zip archive')
    raise InputError(f'{path} is not a whole zip archive ({error}); {_DOWNLOAD}') from error

  def read(name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _MAX_PNG_BYTES:
      raise InputError(
        f'{path}: {name} would unpack to {size} bytes; expected a drawing of at '
        f'most {_MAX_PNG_BYTES}; {_DOWNLOAD}'
      )
    try:
      return archive.read(name)
    except ZIP_ERRORS as error:
      raise InputError(f'{path}: {name} cannot be unpacked ({error}); {_DOWNLOAD}') from error

  return archive.namelist(), read


def _open_folder(path: pathlib.Path) -> tuple[list[str], Reader]:
  """Returns the names of the PNG files in an unpacked split, and the function that reads one."""

  def read(name: str) -> bytes:
    try:
      with open(path / name, 'rb') as file:
        return file.read(_MAX_PNG_BYTES)
    except OSError as error:
      raise InputError(f'{path / name} cannot be read ({error.strerror}); {_DOWNLOAD}') from error

  return list(_files_in(path)), read


def _files_in(folder: pathlib.Path) -> Iterator[str]:
  """Yields the paths of all files below a folder, relative to it; linked folders are followed.

  Of folders that are passed over only the path is given, with / at its end.
  """
  seen = set()
  for above, folders, names in os.walk(folder, followlinks=True):
    real = os.path.realpath(above)
    if real in seen:
      raise InputError(f'{above} is a link to a folder that is here already; remove it')
    seen.add(real)
    passed = [name for name in folders if leftovers.is_leftover(name, is_file=False)]
    folders[:] = [name for name in folders if name not in passed]
    for name in (*names, *(f'{name}/' for name in passed)):
      yield pathlib.Path(os.path.relpath(above, folder), name).as_posix() + '/' * name.endswith('/')


def _characters(paths: Sequence[str], source: pathlib.Path) -> Characters:
  """Groups files of the form .../alphabet/character/drawing.png by character.

  All other files are left out, and so are leftovers of systems, which a warning names.
  """
  characters: Characters = {}
  passed = []
  for path in paths:
    parts = pathlib.PurePosixPath(path).parts
    left_over = leftovers.passed_in_path(path)
    if left_over is not None:
      passed.append(left_over)
    elif path.endswith('.png') and len(parts) >= 3:
      characters.setdefault((parts[-3], parts[-2]), []).append(path)
  leftovers.report(source, passed)
  return characters


def _check_counts(source: pathlib.Path, characters: Characters, count: int, drawings: int) -> None:
  """Raises InputError unless there are `count` characters of `drawings` drawings each."""
  if len(characters) != count:
    raise InputError(
      f'{source} holds {len(characters)} characters (folders of .png drawings); '
      f'expected {count}, alphabet/characterNN/NNNN_MM.png; {_DOWNLOAD}'
    )
  for (alphabet, character), paths in sorted(characters.items()):
    if len(paths) != drawings:
      raise InputError(
        f'{source}: {alphabet}/{character} holds {len(paths)} drawings; expected '
        f'{drawings}; {_DOWNLOAD}'
      )


def drawing_of(png: bytes, what: str, image_size: int, side: int) -> np.ndarray:
  """Decodes one drawing and makes its ink bright.

  Args:
    png: the PNG file.
    what: its name in errors.
    image_size: the width and height of the result in pixels.
    side: the width and height that the drawing should have in pixels.

  Returns:
    uint8 [image_size, image_size].

  Raises:
    InputError: the file is broken, or is not a grey image of this size.
  """
  if files.is_web_page(png):
    raise InputError(f'{what} is a web page, not a PNG image; {_DOWNLOAD}')
  signatures.refuse_other(png[: signatures.HEAD_BYTES], what, 'a PNG image')
  try:
    with Image.open(io.BytesIO(png), formats=('PNG',)) as image:
      if image.size != (side, side) or image.mode not in ('1', 'L'):
        raise InputError(
          f'{what} is a {image.width} x {image.height} image of mode {image.mode}; '
          f'expected {side} x {side}, 1-bit or 8-bit grey; {_DOWNLOAD}'
        )
      grey = image.convert('L').resize((image_size, image_size), Image.Resampling.LANCZOS)
  except InputError:
    raise
  except PNG_ERRORS as error:
    raise InputError(f'{what} is not a whole PNG image ({error}); {_DOWNLOAD}') from error
  return 255 - np.asarray(grey)
