"""Grey images of 16 bits, 32 bits and floats: one scale for all images of a dataset."""

from __future__ import annotations

import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import image_folder, image_sources
from hypertransformer.converters.image_files import Form
from hypertransformer.converters.pixel_scale import Range, Scale, choose
from hypertransformer.errors import InputError

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def _convert(
  root: pathlib.Path, kind: str = 'PNG', white: float | None = None, **images: np.ndarray
) -> np.ndarray:
  """Saves an image as the only one of each class, converts all, and returns them [n, 8, 8]."""
  for name, pixels in images.items():
    (root / 'in' / name).mkdir(parents=True)
    Image.fromarray(pixels).save(root / 'in' / name / 'x.dat', kind)
  splits = image_sources.from_folders(root / 'in')
  image_folder.convert(splits, root / 'out', Form(8, 1), white_value=white)
  return np.load(root / 'out' / 'images.npy')[..., 0]


def _expected(share: float) -> np.ndarray:
  """The ramp from black to this share of white."""
  return np.rint(RAMP * share * 255)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
@pytest.mark.parametrize(
  ('top', 'white'), [(255, 255), (200, 255), (1000, 1023), (4001, 4095), (16383, 16383),
                     (65535, 65535), (40000, 65535), (1, 1)]
)  # fmt: skip
def test_white_is_the_top_of_the_bits_in_use(
  top: int, white: int, kind: str, tmp_path: pathlib.Path, warnings: list[str]
) -> None:
  pixels = np.rint(RAMP * top).astype(np.uint16)
  (found,) = _convert(tmp_path, kind, a=pixels)
  np.testing.assert_array_equal(found, np.rint(pixels * (255 / white)))
  (line,) = warnings
  assert f'from 0 to {top} (' in line
  assert f'0 becomes black and {white} white' in line


def test_one_scale_is_for_all_images(tmp_path: pathlib.Path) -> None:
  """A dark image stays dark, in whichever class it is."""
  bright, dark = (np.rint(RAMP * top).astype(np.uint16) for top in (4095, 1000))
  found = _convert(tmp_path, a=dark, b=bright)
  np.testing.assert_allclose(found[0], _expected(1000 / 4095), atol=1)
  np.testing.assert_allclose(found[1], _expected(1), atol=1)


@pytest.mark.parametrize('top', [255, 4095, 65535])
def test_files_of_8_and_16_bits_fit_together(top: int, tmp_path: pathlib.Path) -> None:
  found = _convert(
    tmp_path, a=np.rint(RAMP * 255).astype(np.uint8), b=np.rint(RAMP * top).astype(np.uint16)
  )
  np.testing.assert_array_equal(found[0], _expected(1))
  np.testing.assert_allclose(found[1], found[0], atol=1)


@pytest.mark.parametrize(('low', 'high'), [(255, 4096), (255, 65535), (4095, 65535)])
def test_files_of_16_bits_with_different_numbers_in_use_are_refused(
  low: int, high: int, tmp_path: pathlib.Path
) -> None:
  images = {'a': np.rint(RAMP * low).astype(np.uint16), 'b': np.rint(RAMP * high).astype(np.uint16)}
  with pytest.raises(InputError, match=rf'a/x\.dat has values up to {low} and .*b/x\.dat up to'):
    _convert(tmp_path, **images)
  assert not (tmp_path / 'out').exists()


def test_the_value_that_is_white_can_be_given(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  dark, bright = (np.rint(RAMP * top).astype(np.uint16) for top in (100, 65535))
  found = _convert(tmp_path, a=dark, b=bright, white=1000)
  np.testing.assert_allclose(found[0], _expected(0.1), atol=1)
  np.testing.assert_array_equal(found[1], np.minimum(np.rint(bright * 0.255), 255))
  assert warnings[-1] == 'values below 0 and above --white_value=1000 are cut'


@pytest.mark.parametrize('white', [0.0, -1.0, float('nan'), float('inf')])
def test_a_white_value_that_is_none_is_refused(white: float, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match='white_value is'):
    _convert(tmp_path, a=np.zeros((8, 8), np.uint8), white=white)


@pytest.mark.parametrize(
  ('low', 'high', 'black', 'white'),
  [
    *((0, 1, 0, 1), (0, 0.4, 0, 1), (0, 1.0000001, 0, 1.0000001), (0, 255, 0, 255)),
    *((0, 254.5, 0, 255), (0, 4001.5, 0, 4095), (-1, 1, -1, 1), (-1000, 3000, -1000, 3000)),
    *((0, 1e9, 0, 2**30 - 1), (-3, -2, -3, -2)),
  ],
)
def test_floats_get_the_scale_of_their_range(
  low: float, high: float, black: float, white: float, tmp_path: pathlib.Path
) -> None:
  pixels = (low + RAMP * (high - low)).astype(np.float32)
  (found,) = _convert(tmp_path, 'TIFF', a=pixels)
  expected = np.rint((pixels - np.float64(black)) * 255 / (white - black))
  np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=1)


@pytest.mark.parametrize('dtype', [np.int32, np.uint32])
def test_32_bits_are_read_with_and_without_sign(dtype: type, tmp_path: pathlib.Path) -> None:
  top = np.iinfo(dtype).max
  values = (RAMP * top).astype(dtype)
  path = tmp_path / 'in' / 'a' / 'x.tif'
  path.parent.mkdir(parents=True)
  path.write_bytes(_tiff(values))
  image_folder.convert(image_sources.from_folders(tmp_path / 'in'), tmp_path / 'out', Form(8, 1))
  found = np.load(tmp_path / 'out' / 'images.npy')[0, ..., 0]
  np.testing.assert_allclose(found, _expected(1), atol=1)


def _tiff(values: np.ndarray) -> bytes:
  """Makes a TIFF file of 32-bit numbers, which Pillow itself writes with a sign only."""
  height, width = values.shape
  tags = [
    *((256, 4, width), (257, 4, height), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8)),
    *((277, 3, 1), (278, 4, height), (279, 4, values.nbytes)),
    (339, 3, 2 if values.dtype.kind == 'i' else 1),
  ]
  data = values.astype(values.dtype.newbyteorder('<')).tobytes()
  head = struct.pack('<2sHI', b'II', 42, 8 + len(data)) + data + struct.pack('<H', len(tags))
  return (
    head + b''.join(struct.pack('<HHII', tag, kind, 1, to) for tag, kind, to in tags) + bytes(4)
  )


def _deep_colours(values: np.ndarray) -> bytes:
  """Makes a PNG with colours of 16 bits, which Pillow does not write."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
  head = chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 16, 2, 0, 0, 0))
  return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


@pytest.mark.parametrize(('top', 'is_refused'), [(4095, True), (16383, True), (65535, False)])
def test_colours_of_16_bits_are_refused_where_few_are_left(
  top: int, is_refused: bool, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'in' / 'a' / 'x.png'
  path.parent.mkdir(parents=True)
  path.write_bytes(_deep_colours(np.rint(np.stack([RAMP] * 3, -1) * top).astype(np.uint16)))
  splits = image_sources.from_folders(tmp_path / 'in')
  if is_refused:
    with pytest.raises(InputError, match=r'x\.png and 0 other images have colours of 16 bits'):
      image_folder.convert(splits, tmp_path / 'out', Form(8, 3))
  else:
    image_folder.convert(splits, tmp_path / 'out', Form(8, 3))
    found = np.load(tmp_path / 'out' / 'images.npy')[0, ..., 0]
    np.testing.assert_allclose(found, _expected(1), atol=1)


def test_colours_of_5_and_6_bits_are_not_taken_for_16(tmp_path: pathlib.Path) -> None:
  """Pillow calls its decoder of such BMP files BGR;16."""
  path = tmp_path / 'in' / 'a' / 'x.bmp'
  path.parent.mkdir(parents=True)
  head = struct.pack('<2sIHHI', b'BM', 66 + 128, 0, 0, 66)
  info = struct.pack('<IiiHHIIiiII', 40, 8, 8, 1, 16, 3, 128, 0, 0, 0, 0)
  masks = struct.pack('<III', 0xF800, 0x07E0, 0x001F)
  path.write_bytes(head + info + masks + struct.pack('<H', 0x1082) * 64)  # dark grey
  splits = image_sources.from_folders(tmp_path / 'in')
  image_folder.convert(splits, tmp_path / 'out', Form(8, 3))
  assert 10 < np.load(tmp_path / 'out' / 'images.npy').max() < 20


@pytest.mark.parametrize('top', [0, 1, 2])
def test_a_dataset_that_is_all_black_is_refused(top: int, tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=f'between 0 and {top}, so they are black; .*by 255'):
    _convert(tmp_path, a=np.rint(RAMP * top).astype(np.uint8))
  assert not (tmp_path / 'out').exists()


def test_images_of_8_bits_need_no_scale() -> None:
  assert choose([]) == Scale(0, 65535)


def test_a_blank_image_tells_nothing() -> None:
  assert choose([Range(0, 0, 'a'), Range(0, 4001, 'b'), Range(9, 9, 'c')]) == Scale(0, 4095)
