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

from hypertransformer.converters import image_files
from hypertransformer.converters.image_files import Form
from hypertransformer.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
GREY = RGB[..., 0]
SAME = Form(8, 3)  # no resizing: pixels stay what they are


def _read(
  image: Image.Image, tmp_path: pathlib.Path, kind: str, form: Form = SAME, **options: object
) -> np.ndarray:
  path = tmp_path / 'image.dat'  # the content tells the format, not the name
  image.save(path, kind, **options)
  return image_files.read(str(path), form)


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM', 'TGA', 'WEBP'])
def test_the_format_is_told_by_the_content(kind: str, tmp_path: pathlib.Path) -> None:
  options = {'lossless': True} if kind == 'WEBP' else {}
  found = _read(Image.fromarray(RGB), tmp_path, kind, **options)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, RGB)


def test_a_jpeg_is_read_nearly_exactly(tmp_path: pathlib.Path) -> None:
  smooth = np.tile(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (400, 1, 3))
  found = _read(Image.fromarray(smooth), tmp_path, 'JPEG', Form(20, 3), quality=95)
  expected = smooth.reshape(20, 20, 20, 20, 3).mean((1, 3))
  np.testing.assert_allclose(found, expected, atol=5)


def test_grey_becomes_colour_and_colour_grey(tmp_path: pathlib.Path) -> None:
  np.testing.assert_array_equal(
    _read(Image.fromarray(GREY), tmp_path, 'PNG'), np.stack([GREY] * 3, -1)
  )
  luma = RGB @ np.array([0.299, 0.587, 0.114])
  found = _read(Image.fromarray(RGB), tmp_path, 'PNG', Form(8, 1))
  assert found.shape == (8, 8, 1)
  np.testing.assert_allclose(found[..., 0], luma, atol=1)


def test_one_bit_becomes_black_and_white(tmp_path: pathlib.Path) -> None:
  found = _read(Image.fromarray(GREY > 99), tmp_path, 'PNG', Form(8, 1))
  np.testing.assert_array_equal(found[..., 0], np.where(GREY > 99, 255, 0))


def test_colours_of_a_palette_are_looked_up(tmp_path: pathlib.Path) -> None:
  palette = Image.new('P', (8, 8))
  palette.putdata((GREY % 4).ravel().tolist())
  colours = np.array([[1, 2, 3], [200, 0, 0], [0, 200, 0], [9, 9, 250]], np.uint8)
  palette.putpalette(colours.ravel().tolist())
  np.testing.assert_array_equal(_read(palette, tmp_path, 'PNG'), colours[GREY % 4])
  clear = np.where((GREY % 4 == 1)[..., None], 255, colours[GREY % 4])
  np.testing.assert_array_equal(_read(palette, tmp_path, 'PNG', transparency=1), clear)


def test_alpha_lies_on_white(tmp_path: pathlib.Path) -> None:
  alpha = np.zeros((8, 8, 1), np.uint8)
  alpha[2:] = 128
  alpha[5:] = 255
  expected = RGB * (alpha / 255) + 255 * (1 - alpha / 255)
  found = _read(Image.fromarray(np.concatenate([RGB, alpha], -1)), tmp_path, 'PNG')
  np.testing.assert_allclose(found, expected, atol=1)
  found = _read(
    Image.fromarray(np.concatenate([GREY[..., None], alpha], -1), 'LA'), tmp_path, 'PNG', Form(8, 1)
  )
  np.testing.assert_allclose(
    found, GREY[..., None] * (alpha / 255) + 255 * (1 - alpha / 255), atol=1
  )


def test_inks_become_colours(tmp_path: pathlib.Path) -> None:
  ink = np.zeros((8, 8, 4), np.uint8)
  ink[:4, :, 0] = 255  # cyan above, white below
  found = _read(Image.fromarray(ink, 'CMYK'), tmp_path, 'TIFF')
  assert found[0, 0].tolist() == [0, 255, 255]
  assert found[7, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'PPM'])
def test_sixteen_bits_are_scaled_not_clipped(kind: str, tmp_path: pathlib.Path) -> None:
  deep = GREY.astype(np.uint16) * 256 + 77
  found = _read(Image.fromarray(deep), tmp_path, kind, Form(8, 1))
  np.testing.assert_allclose(found[..., 0], GREY, atol=1)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(value: float, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'image\.dat has pixels that are no finite numbers'):
    _read(Image.fromarray(np.array([[0.5, value]], np.float32)), tmp_path, 'TIFF')


def test_dark_and_bright_can_be_exchanged(tmp_path: pathlib.Path) -> None:
  found = _read(Image.fromarray(RGB), tmp_path, 'PNG', Form(8, 3, invert=True))
  np.testing.assert_array_equal(found, 255 - RGB)


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


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'JPEG', 'TIFF'])
@pytest.mark.parametrize('exif', [b'Exif\0\0', b'Exif\0\0MM\0*\xff\xff\xff\xff', b'?' * 40])
@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_an_image_with_broken_exif_is_used(kind: str, exif: bytes, tmp_path: pathlib.Path) -> None:
  if kind == 'TIFF':  # its orientation, a tag of its own, is no number from 1 to 8
    options: dict[str, object] = {'tiffinfo': {0x0112: 9 + len(exif)}}
  else:
    options = {'exif': exif} | ({'lossless': True} if kind == 'WEBP' else {})
  found = _read(Image.fromarray(RGB), tmp_path, kind, **options)
  np.testing.assert_allclose(found.astype(int), RGB, atol=255 if kind == 'JPEG' else 0)


def test_the_first_picture_of_an_animation_is_read(tmp_path: pathlib.Path) -> None:
  black, white = Image.new('L', (8, 8), 0), Image.new('L', (8, 8), 255)
  assert not _read(black, tmp_path, 'GIF', save_all=True, append_images=[white]).any()


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


@pytest.mark.parametrize(
  ('values', 'found'),
  [
    ((0, 3, 'squash'), 'image_size is 0; expected 1 to 4096'),
    ((84, 2, 'squash'), 'channels is 2; expected 1'),
    ((84, 3, 'pad'), "crop is 'pad'; expected one of squash, center"),
  ],
)
def test_a_form_out_of_range_is_an_error(values: tuple[int, int, str], found: str) -> None:
  with pytest.raises(InputError, match=found):
    Form(*values)


def _encoded(kind: str) -> bytes:
  data = io.BytesIO()
  Image.fromarray(np.tile(RGB, (8, 8, 1))).save(data, kind)
  return data.getvalue()


def _bomb(side: int) -> bytes:
  """Makes a PNG of a few bytes that promises side x side pixels."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  head = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0))
  return (
    b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
  )


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (_encoded('PNG')[:-400], 'is not a whole image'),
    (_encoded('JPEG')[:-400], r'is not a whole image \(image file is truncated'),
    (_encoded('GIF')[:30], 'is not'),
    (b'', 'is an empty file'),
    (b'<!DOCTYPE html><html>', 'is a web page, not an image'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n', '.*Git LFS'),
    (b'PK\x03\x04' + bytes(60), 'is a zip archive, .*not an image; unpack it'),
    (b'\x93NUMPY' + bytes(60), r'is a NumPy \.npy file, not an image'),
    (b'n01 3 4 5 6\n' * 20, 'is not an image of a format that Pillow reads'),
    (
      b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n',
      'is not an image of a format',
    ),
    (_bomb(60000), 'would unpack to more than 89478485 pixels'),
    (_bomb(10000), 'would unpack to more than 89478485 pixels'),
  ],
)
def test_broken_files_are_explained(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'bad.jpg'
  path.write_bytes(data)
  with image_files.bombs_refused(), pytest.raises(InputError, match=rf'^{path} {found}'):
    image_files.read(str(path), SAME)


def test_a_missing_file_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'gone\.jpg'):
    image_files.read(str(tmp_path / 'gone.jpg'), SAME)
