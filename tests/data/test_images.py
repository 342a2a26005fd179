"""Image files of every kind, and the pixels that they become."""

from __future__ import annotations

import io
import pathlib
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import image_folder, image_sources
from hypertransformer.data import images
from hypertransformer.data.images import Form
from hypertransformer.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
GREY = RGB[..., 0]
SAME = Form(8, 3)  # no resizing: pixels stay what they are


def _read(
  image: Image.Image, tmp_path: pathlib.Path, kind: str, form: Form = SAME, **options: object
) -> np.ndarray:
  path = tmp_path / 'image.dat'  # the content tells the format, not the name
  image.save(path, kind, **options)
  return images.read(str(path), form)


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM', 'TGA', 'WEBP'])
def test_the_format_is_told_by_the_content(kind: str, tmp_path: pathlib.Path) -> None:
  options = {'lossless': True} if kind == 'WEBP' else {}
  found = _read(Image.fromarray(RGB), tmp_path, kind, **options)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, RGB)


def test_grey_becomes_colour_and_colour_grey(tmp_path: pathlib.Path) -> None:
  np.testing.assert_array_equal(
    _read(Image.fromarray(GREY), tmp_path, 'PNG'), np.stack([GREY] * 3, -1)
  )
  luma = RGB @ np.array([0.299, 0.587, 0.114])
  found = _read(Image.fromarray(RGB), tmp_path, 'PNG', Form(8, 1))
  assert found.shape == (8, 8, 1)
  np.testing.assert_allclose(found[..., 0], luma, atol=1)


def test_cmyk_becomes_rgb_and_an_animation_its_first_frame(tmp_path: pathlib.Path) -> None:
  cmyk = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).convert('CMYK')
  assert (_read(cmyk, tmp_path, 'TIFF') == (200, 100, 50)).all()
  frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (40, 200)]
  for kind in ('GIF', 'TIFF'):
    found = _read(frames[0], tmp_path, kind, save_all=True, append_images=frames[1:])
    assert (found == 40).all()


def test_alpha_lies_on_white(tmp_path: pathlib.Path) -> None:
  alpha = np.zeros((8, 8, 1), np.uint8)
  alpha[2:] = 128
  alpha[5:] = 255
  expected = RGB * (alpha / 255) + 255 * (1 - alpha / 255)
  found = _read(Image.fromarray(np.concatenate([RGB, alpha], -1)), tmp_path, 'PNG')
  np.testing.assert_allclose(found, expected, atol=1)


# How the stored pixels are turned upright, for each orientation of EXIF.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.transpose(1, 0, 2),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
  8: np.rot90,
}


@pytest.mark.parametrize('orientation', TURNS)
def test_images_are_turned_upright(orientation: int, tmp_path: pathlib.Path) -> None:
  exif = Image.Exif()
  exif[0x0112] = orientation
  for kind in ('PNG', 'TIFF'):
    found = _read(Image.fromarray(RGB), tmp_path, kind, exif=exif)
    np.testing.assert_array_equal(found, TURNS[orientation](RGB))


@pytest.mark.parametrize('exif', [b'Exif\0\0', b'Exif\0\0MM\0*\xff\xff\xff\xff', b'?' * 40])
@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_an_image_with_broken_exif_is_used(exif: bytes, tmp_path: pathlib.Path) -> None:
  np.testing.assert_array_equal(_read(Image.fromarray(RGB), tmp_path, 'PNG', exif=exif), RGB)


@pytest.mark.parametrize('size', [(40, 20), (20, 40)])
def test_center_cuts_and_squash_squeezes(size: tuple[int, int], tmp_path: pathlib.Path) -> None:
  """The image has a white square in the middle of black.

  The square fills what `center` cuts out, and it is half of what `squash` makes.
  """
  wide = Image.new('L', size, 0)
  wide.paste(
    255, ((size[0] - 20) // 2, (size[1] - 20) // 2, (size[0] + 20) // 2, (size[1] + 20) // 2)
  )
  assert (_read(wide, tmp_path, 'PNG', Form(20, 1, 'center')) == 255).all()
  squashed = _read(wide, tmp_path, 'PNG', Form(20, 1, 'squash'))
  assert abs(squashed.mean() - 127.5) < 3
  assert squashed[10, 10] == 255
  assert squashed[0, 0] == 0


def _encoded(kind: str) -> bytes:
  data = io.BytesIO()
  Image.fromarray(np.tile(RGB, (8, 8, 1))).save(data, kind)
  return data.getvalue()


def _png(side: int, bits: int, data: bytes) -> bytes:
  """Make a PNG of RGB pixels that promises side x side pixels, whatever the data are."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  head = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, bits, 2, 0, 0, 0))
  return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (_encoded('PNG')[:-400], 'cannot be read as an image'),
    (_encoded('JPEG')[:-400], 'cannot be read as an image'),
    (_encoded('GIF')[:30], 'cannot be read'),
    (b'', 'is an empty file'),
    (b'<!DOCTYPE html><html>', 'is a web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n', '.*Git LFS'),
    (b'n01 3 4 5 6\n' * 20, 'cannot be read as an image'),
    (
      b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n',
      'cannot be read as an image',
    ),
    (_png(60000, 8, bytes(1000)), r'cannot be .* pixels'),
    (_png(10000, 8, bytes(1000)), r'cannot be .* pixels'),
  ],
)
@pytest.mark.filterwarnings('ignore:Image size')
def test_broken_files_are_explained(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'bad.jpg'
  path.write_bytes(data)
  with pytest.raises(InputError, match=rf'^{path} {found}'):
    images.read(str(path), SAME)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def _convert(root: pathlib.Path, white: float = 65535, **files: np.ndarray) -> np.ndarray:
  """Save an image as the only one of each class, convert all, and return them [n, 8, 8]."""
  for name, pixels in files.items():
    (root / 'in' / name).mkdir(parents=True)
    kind = 'TIFF' if pixels.dtype.kind == 'f' else 'PNG'
    Image.fromarray(pixels).save(root / 'in' / name / 'x.dat', kind)
  splits = image_sources.from_folders(root / 'in')
  image_folder.convert(splits, root / 'out', Form(8, 1), white_value=white)
  return np.load(root / 'out' / 'images.npy')[..., 0]


@pytest.mark.parametrize(
  ('kind', 'high', 'white'),
  [(np.uint16, 40000, 65535), (np.uint16, 4001, 4095), (np.uint16, 1, 1), (np.float32, 0.4, 1)],
)
def test_white_is_the_same_for_all_images(
  kind: type, high: float, white: float, tmp_path: pathlib.Path
) -> None:
  """A dark image stays dark, and 8-bit images are as they were."""
  plain = np.rint(RAMP * 255).astype(np.uint8)
  values = (RAMP * high).astype(kind)
  found = _convert(tmp_path, white, a=values, b=plain)
  np.testing.assert_allclose(found[0], np.rint(values * (255.0 / white)), atol=1)
  np.testing.assert_array_equal(found[1], plain)


@pytest.mark.parametrize('high', [4095.5, -1, np.nan, np.inf])
def test_values_that_are_not_from_black_to_white_are_refused(
  high: float, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=r'a/x\.dat .*0 to 4095.*--white_value'):
    _convert(tmp_path, 4095, a=np.full((8, 8), high, np.float32))
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('white', [65535.0, 2.0**32 - 1])
def test_unsigned_values_of_32_bits_are_refused(white: float, tmp_path: pathlib.Path) -> None:
  """Pillow reads them as if they were signed."""
  path = tmp_path / 'x.tif'
  tags = {256: 1, 257: 1, 258: 32, 259: 1, 262: 1, 273: 134, 277: 1, 278: 1, 279: 4, 339: 1}
  entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
  head = struct.pack('<2sHIH', b'II', 42, 8, len(tags)) + entries
  path.write_bytes(head.ljust(134, b'\0') + struct.pack('<I', 3_000_000_000))
  with pytest.raises(InputError, match=r'x\.tif '):
    images.read(str(path), Form(1, 1), white)


@pytest.mark.parametrize('white', [0.0, -1.0, float('nan'), float('inf')])
def test_a_white_value_out_of_range_is_refused(white: float, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match='white_value'):
    _convert(tmp_path, a=np.zeros((8, 8), np.uint8), white=white)


@pytest.mark.parametrize(
  ('kind', 'top'), [(np.uint8, 0), (np.uint8, 1), (np.uint16, 255), (np.uint16, 4095)]
)
def test_a_dataset_that_is_all_dark_is_refused(
  kind: type, top: int, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match='--white_value'):
    _convert(tmp_path, a=np.rint(RAMP * top).astype(kind))
  assert not (tmp_path / 'out').exists()
