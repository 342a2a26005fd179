"""The Omniglot converter on a small made-up release, and on the real one where it is there."""

from __future__ import annotations

import contextlib
import io
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import omniglot
from hypertransformer.converters.classes import Release
from hypertransformer.errors import InputError

RELEASE = Release({'images_background': 3, 'images_evaluation': 2}, images=10, side=105)
# Splits, alphabets and characters, in the order in which the classes must come.
CHARACTERS = [
  ('images_background', 'Arctic', 'character01'),
  ('images_background', 'Arctic', 'character02'),
  ('images_background', 'Zulu', 'character01'),
  ('images_evaluation', 'Arctic', 'character01'),
  ('images_evaluation', 'Beta', 'character01'),
]


def _ink(cls: int, drawing: int) -> np.ndarray:
  """Make a drawing, bool [105, 105], True where there is ink."""
  ink = np.zeros((105, 105), bool)
  ink[10 + 15 * cls : 25 + 15 * cls, 20 + 40 * drawing : 50 + 40 * drawing] = True
  return ink


def _png(image: Image.Image) -> bytes:
  data = io.BytesIO()
  image.save(data, 'PNG')
  return data.getvalue()


def _files() -> dict[str, bytes]:
  """Make the files of the release, by their paths.

  The last class comes first, so that the right order is not there by chance.
  """
  files = {}
  for cls, (split, alphabet, character) in reversed(list(enumerate(CHARACTERS))):
    for drawing in (1, 0):
      path = f'{split}/{alphabet}/{character}/{cls + 1:04d}_{drawing + 1:02d}.png'
      files[path] = _png(Image.fromarray(~_ink(cls, drawing)))
  return files


def _unpacked(folder: pathlib.Path, files: dict[str, bytes]) -> None:
  for path, data in files.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def _zipped(folder: pathlib.Path, files: dict[str, bytes]) -> None:
  for split in RELEASE.splits:
    with zipfile.ZipFile(folder / f'{split}.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
      for path, data in files.items():
        if path.startswith(split):
          archive.writestr(path, data)


def _expected(size: int) -> np.ndarray:
  """Make what must be written: 255 minus the grey image, in which ink is 0, resized by LANCZOS."""
  images = [
    Image.fromarray(np.where(_ink(cls, drawing), 0, 255).astype(np.uint8))
    for cls in range(5)
    for drawing in range(2)
  ]
  small = [255 - np.asarray(image.resize((size, size), 1)) for image in images]  # 1: LANCZOS
  return np.stack(small).reshape(5, 2, size, size, 1)


@pytest.mark.parametrize('store', [_unpacked, _zipped])
@pytest.mark.parametrize('size', [28, 105])
def test_drawings_are_converted_in_the_order_of_their_names(
  store: Callable[[pathlib.Path, dict[str, bytes]], None],
  size: int,
  tmp_path: pathlib.Path,
  warnings: list[str],
) -> None:
  leftovers = (
    *('Arctic/@eaDir/1.png/SYNO.png', 'Arctic/@eaDir/2.png/SYNO.png', '#recycle/a/1.png'),
    *('Arctic/character01/._0001_01.png', '__MACOSX/Arctic/character01/x.png'),
    *('Arctic/character01/x.png:Zone.Identifier', 'Arctic/.ipynb_checkpoints/x.png'),
  )
  extra = {f'images_background/{path}': b'no image' for path in (*leftovers, 'Arctic/readme.txt')}
  store(tmp_path, _files() | extra)
  archives = omniglot.find(tmp_path, RELEASE)
  np.testing.assert_array_equal(omniglot.decode(archives, size, RELEASE), _expected(size))
  assert omniglot.class_entries(archives) == [
    (split, f'{alphabet}/{character}') for split, alphabet, character in CHARACTERS
  ]
  (line,) = warnings
  for name in ('@eaDir (2)', '#recycle (1)', '__MACOSX', '._0001_01.png'):
    assert name in line


def test_the_complete_dataset_has_its_usual_splits(tmp_path: pathlib.Path) -> None:
  names = {f'A/character{number:04}': ['x'] for number in range(1623)}
  entries = omniglot.class_entries([omniglot.Archive(tmp_path, names, bytes.fromhex)])
  assert [entries[number].split for number in (0, 1149, 1150, 1199, 1200, 1622)] == [
    *('train', 'train', 'val', 'val', 'test', 'test')
  ]
  assert entries[1622].name == 'A/character1622'


@pytest.mark.parametrize('name', ['/out.png', '../../a/b/out.png'])
def test_an_archive_writes_nothing(name: str, tmp_path: pathlib.Path) -> None:
  """Names that lead out of the folder are names and no more: nothing is unpacked to the disk."""
  root = tmp_path / 'deep' / 'er'
  root.mkdir(parents=True)
  _zipped(root, _files())
  with zipfile.ZipFile(root / 'images_background.zip', 'a') as archive:
    archive.writestr(name, b'hostile')
  before = sorted(tmp_path.rglob('*'))
  with contextlib.suppress(InputError):
    omniglot.decode(omniglot.find(root, RELEASE), 28, RELEASE)
  assert sorted(tmp_path.rglob('*')) == before


BROKEN = 'images_evaluation/Beta/character01/0005_02.png'  # the first file of its archive


def _without(path: str) -> Callable[[pathlib.Path], None]:
  return lambda root: _zipped(
    root, {name: data for name, data in _files().items() if path not in name}
  )


def _with(data: bytes, store: Callable[..., None] = _zipped) -> Callable[[pathlib.Path], None]:
  return lambda root: store(root, {**_files(), BROKEN: data})


def _broken_archive(change: Callable[[bytes], bytes]) -> Callable[[pathlib.Path], None]:
  def make(root: pathlib.Path) -> None:
    _zipped(root, _files())
    path = root / 'images_evaluation.zip'
    path.write_bytes(change(path.read_bytes()))

  return make


def _flipped(data: bytes) -> bytes:
  """Change a byte in the compressed data of the first file, so that its checksum is wrong."""
  start = 30 + len(BROKEN) + 40
  return data[:start] + bytes([data[start] ^ 255]) + data[start + 1 :]


BLANK = Image.new('1', (105, 105), 1)


@pytest.mark.parametrize(
  ('make', 'found'),
  [
    (lambda root: None, r'neither images_background\.zip nor'),
    (_without('Zulu'), r'images_background\.zip contains 2 characters; expected 3'),
    (_without('0004_02'), r'evaluation\.zip: Arctic/character01 has 1 drawings; expected 2'),
    (_broken_archive(lambda data: b'<!DOCTYPE html><title>404'), r'evaluation\.zip is a web page'),
    (_broken_archive(lambda data: data[:-40]), r'evaluation\.zip is not a whole zip archive'),
    (_broken_archive(_flipped), r'evaluation\.zip: .*0005_02\.png cannot be read'),
    (_with(b'\0' * (1 << 20)), r'0005_02\.png is not a whole PNG image'),
    (_with(_png(BLANK)[:60], _unpacked), r'0005_02\.png is not a whole PNG image'),
    (_with(_png(BLANK.resize((28, 28)))), r'0005_02\.png .*105 x 105 pixels .*28 x 28'),
    (_with(_png(BLANK.convert('RGB'))), r'0005_02\.png is an image of mode RGB'),
  ],
)
def test_bad_releases_are_refused(
  make: Callable[[pathlib.Path], None], found: str, tmp_path: pathlib.Path
) -> None:
  make(tmp_path)
  with pytest.raises(InputError, match=found):
    omniglot.decode(omniglot.find(tmp_path, RELEASE), 28, RELEASE)
