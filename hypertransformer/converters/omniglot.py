"""Convert the official Omniglot release into one uint8 array (docs/spec/data.md, section 2).

The release is two archives of drawings, alphabet/characterNN/NNNN_MM.png, zipped or unpacked. The
archives are untrusted: only the first 64 kB of a file are decompressed, and nothing is unpacked to
the disk.
"""

from __future__ import annotations

import itertools
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from hypertransformer.converters import classes
from hypertransformer.converters.classes import Release
from hypertransformer.data import files, images, specs
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

OFFICIAL = Release({'images_background': 964, 'images_evaluation': 659}, images=32_460, side=105)
_MAX_PNG_BYTES = 1 << 16  # a drawing takes less than 1 kB
_DOWNLOAD = 'download it again from github.com/brendenlake/omniglot (folder python/)'


class Archive(NamedTuple):
  """A split of the release, zipped or unpacked.

  Attributes:
    source: the zip file or folder.
    characters: the paths of the drawings of each character, by 'alphabet/character', in order.
    open: opens the drawing at a path.
  """

  source: pathlib.Path
  characters: dict[str, list[str]]
  open: Callable[[str], IO[bytes]]


def find(folder: pathlib.Path, release: Release = OFFICIAL) -> list[Archive]:
  """Find the splits of a release and check that they are complete, before anything is decoded.

  Raises:
    InputError: a split or a drawing is missing (the message names it).
  """
  files.require_folder(folder)
  found = [_open_archive(folder, name) for name in release.splits]
  for (source, characters, _), expected in zip(found, release.splits.values(), strict=True):
    if len(characters) != expected:
      raise InputError(f'{source} contains {len(characters)} characters; expected {expected}')
    for name, drawings in characters.items():
      if len(drawings) != release.samples:
        raise InputError(
          f'{source}: {name} has {len(drawings)} drawings; expected {release.samples}'
        )
  return found


def _open_archive(folder: pathlib.Path, name: str) -> Archive:
  """Open NAME.zip or the folder NAME, and list its drawings."""
  source, unpacked = folder / f'{name}.zip', folder / name
  if source.is_file():
    files.refuse_page_or_empty(source, 'a zip archive')
    try:
      archive = zipfile.ZipFile(source)
    except images.BROKEN as error:
      raise InputError(f'{source} is not a whole zip archive ({error}); {_DOWNLOAD}') from error
    return Archive(source, _characters(archive.namelist(), source), archive.open)
  if not unpacked.is_dir():
    raise InputError(f'{folder} contains neither {name}.zip nor the folder {name}; {_DOWNLOAD}')
  drawings = (path for path in unpacked.rglob('*') if path.is_file())
  paths = (path.relative_to(unpacked).as_posix() for path in drawings)
  return Archive(unpacked, _characters(paths, unpacked), lambda path: open(unpacked / path, 'rb'))


def class_entries(archives: Sequence[Archive]) -> list[ClassEntry]:
  """Return the split and the name, ALPHABET/CHARACTER, of each class in the order written.

  The splits of the complete dataset are the usual ones, which are not those of the archives (see
  `specs.PRESETS`). For other numbers of classes they are the archives.
  """
  names = [(archive.source.stem, name) for archive in archives for name in archive.characters]
  usual = [split for split, numbers in specs.PRESETS['omniglot'].items() for _ in numbers]
  if len(usual) == len(names):
    return [ClassEntry(split, name) for split, (_, name) in zip(usual, names, strict=True)]
  return [ClassEntry(split, name) for split, name in names]


def decode(archives: Sequence[Archive], image_size: int, release: Release = OFFICIAL) -> np.ndarray:
  """Decode drawings into one array, with bright ink (255) on a dark ground (0).

  Args:
    archives: what `find` returns.
    image_size: the width and height of the images returned, at most `release.side`.
    release: the size of the complete release.

  Returns:
    uint8 [characters, drawings, image_size, image_size, 1]. The splits are in their order; in each,
    alphabets, characters and drawings are sorted by name.

  Raises:
    InputError: a drawing is broken (the message names it), or `image_size` is out of range.
  """
  if not 1 <= image_size <= release.side:
    raise InputError(f'image_size is {image_size}; expected 1 to {release.side}')
  shape = (release.classes, release.samples, image_size, image_size, 1)
  result: np.ndarray = np.zeros(shape, np.uint8)
  rows = iter(result.reshape(-1, *shape[2:]))
  with progress('omniglot', release.images, 'drawings') as bar:
    for archive in archives:
      for path in itertools.chain(*archive.characters.values()):
        what = f'{archive.source}: {path}'
        try:
          with archive.open(path) as file:
            png = file.read(_MAX_PNG_BYTES)
        except images.BROKEN as error:
          raise InputError(f'{what} cannot be read ({error}); {_DOWNLOAD}') from error
        next(rows)[..., 0] = drawing_of(png, what, image_size, release.side)
        bar.update()
  return result


def _characters(paths: Iterable[str], source: pathlib.Path) -> dict[str, list[str]]:
  """Return the paths of the form .../alphabet/character/drawing.png by character, sorted."""
  characters: dict[tuple[str, str], list[str]] = {}
  leftovers = []
  for path in paths:
    parts = pathlib.PurePosixPath(path).parts
    if leftover := classes.leftover_in(path):
      leftovers.append(leftover)
    elif path.endswith('.png') and len(parts) >= 3:
      characters.setdefault((parts[-3], parts[-2]), []).append(path)
  classes.report_leftovers(source, leftovers)
  return {'/'.join(name): sorted(found) for name, found in sorted(characters.items())}


def drawing_of(png: bytes, what: str, image_size: int, side: int) -> np.ndarray:
  """Decode one drawing and make its ink bright.

  Args:
    png: the PNG file.
    what: its name in errors.
    image_size: the width and height of the result in pixels.
    side: the width and height of the drawing in pixels.

  Returns:
    uint8 [image_size, image_size].

  Raises:
    InputError: the file is broken, or is not a grey image of this size.
  """
  image = images.decode_png(png, what, side)
  if image.mode not in ('1', 'L'):
    raise InputError(f'{what} is an image of mode {image.mode}; expected 1-bit or 8-bit grey')
  return 255 - np.asarray(
    image.convert('L').resize((image_size, image_size), Image.Resampling.LANCZOS)
  )
