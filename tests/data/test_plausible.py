"""Images that can be read but were not meant so: other axes, scale 0..1, dark ink on white."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from hypertransformer.data import folder as folder_lib
from hypertransformer.data import layouts
from hypertransformer.errors import InputError

RIGHT = (60, 20, 28, 28, 1)


@pytest.mark.parametrize(
  ('shape', 'call'),
  [
    ((60, 20, 1, 28, 28), '2, -1'),
    ((60, 20, 3, 84, 84), '2, -1'),
    ((60, 20, 28, 1, 28), '3, -1'),
    ((60, 28, 28, 1, 20), '4, 1'),
    ((60, 1, 20, 28, 28), '1, -1'),
    ((60, 1, 28, 28, 20), r'\(1, 4\), \(4, 1\)'),
    ((3, 60, 20, 28, 28), '0, -1'),
    ((28, 28, 4, 60, 20), r'\(3, 4\), \(0, 1\)'),
    ((5, 5, 3, 28, 28), '2, -1'),  # rather than [H, W, C, classes, samples]
    ((60, 20, 3, 28, 32), '2, -1'),  # images that are not square
    ((60, 20, 28, 3, 32), '3, -1'),
    ((60, 20, 2, 28, 28), '2, -1'),  # unusual numbers of channels
    ((60, 20, 13, 64, 64), '2, -1'),
    ((60, 1, 28, 28), '1, -1'),
    ((1200, 28, 3, 28), '2, -1'),
    ((28, 28, 3, 1200), '3, 0'),
    ((3, 1200, 28, 28), '0, -1'),
    ((1200, 13, 64, 64), '1, -1'),
  ],
)
def test_other_axes_are_refused_with_the_call_that_mends_them(
  shape: tuple[int, ...], call: str
) -> None:
  with pytest.raises(InputError, match=rf'^x holds .*: save np\.moveaxis\(array, {call}\)$'):
    layouts.check_axes(shape, 'x')
  source, destination = eval(call.replace('\\', ''))
  moved = np.moveaxis(np.broadcast_to(0, shape), source, destination).shape
  layouts.check_axes(moved, 'x')  # the advice is right


@pytest.mark.parametrize('shape', [(60, 20, 28, 28, 28), (60, 20, 9, 9, 200), (60, 28, 28, 60)])
def test_more_channels_than_pixels_on_a_side_are_refused(shape: tuple[int, ...]) -> None:
  with pytest.raises(InputError, match=r'expected the channels in the last axis: put them there$'):
    layouts.check_axes(shape, 'x')


@pytest.mark.parametrize(
  'shape',
  [
    RIGHT,
    (60, 20, 84, 84, 3),
    (60, 20, 3, 28, 4),  # low images: the last axis is as usual
    (4, 3, 5, 6, 2),
    (3, 3, 28, 28, 2),
    (60, 20, 1, 28, 1),
    (1, 1, 1, 1, 1),
    (60, 20, 64, 64, 13),
    (3, 28, 28, 1),
  ],
)
def test_usual_axes_pass(shape: tuple[int, ...]) -> None:
  layouts.check_axes(shape, 'x')


def test_many_channels_are_warned_of(tmp_path: pathlib.Path, warnings: list[str]) -> None:
  np.save(tmp_path / 'x.npy', np.full((6, 2, 16, 16, 13), 9, np.uint8))
  assert folder_lib.load('x', str(tmp_path)).image_shape == (16, 16, 13)
  assert warnings == [
    'dataset x has images of 16 x 16 pixels with 13 channels; expected 1, 3 or 4 in the last axis'
  ]


@pytest.mark.parametrize('shape', [(60, 28, 28, 1), (60, 20, 3, 28), (20, 28, 4)])
def test_a_side_that_is_rather_the_channels_is_refused(shape: tuple[int, ...]) -> None:
  with pytest.raises(InputError, match=r'if they are pixels, save array\[\.\.\., np\.newaxis\]$'):
    layouts.check_sides(shape, 'x')
  layouts.check_axes((*shape, 1), 'x')  # what the message advises is taken
  layouts.check_sides((60, 20, 28, 28), 'x')
  layouts.check_sides((60, 20, 4, 4), 'x')


@pytest.mark.parametrize(
  ('images', 'found'),
  [
    (np.linspace(0, 1.0000001, 2 * 3 * 16).reshape(2, 3, 4, 4, 1), r'from 0 to 1\.0000001; that'),
    (np.linspace(0, 2, 2 * 3 * 16, dtype=np.float32).reshape(2, 3, 4, 4, 1), 'from 0 to 2; that'),
    (np.eye(4, dtype=np.uint8) + np.zeros((2, 3, 1, 1), np.uint8), 'from 0 to 1; that looks like'),
    (np.full((2, 3, 4, 4, 1), 2, np.uint8), 'from 0 to 2; that looks like 0..1'),
    (np.eye(4, dtype=np.int64) + np.zeros((2, 3, 1, 1), np.int64), 'int64; .*and multiply by 255'),
    (np.full((2, 3, 4, 4, 1), 0, np.uint8), 'zeros only'),
    (np.full((2, 3, 4, 4, 1), False), 'zeros only'),
    (np.full((2, 3, 4, 4, 1), 4095, np.uint16), r'scaled to 0\.\.255 \(there are values .*4095'),
    (np.full((2, 3, 4, 4, 1), -1, np.int8), r'scaled to 0\.\.255 \(there are values from -1'),
  ],
)
def test_another_scale_is_refused(images: np.ndarray, found: str, tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / 'x.npy', images)
  with pytest.raises(InputError, match=rf'x\.npy holds .*{found}'):
    folder_lib.load('x', str(tmp_path))


@pytest.mark.parametrize('value', [3, 255, np.float32(2.6), True])
def test_any_value_above_2_is_enough(value: Any, tmp_path: pathlib.Path) -> None:
  images = np.zeros((2, 3, 4, 4, 1), np.asarray(value).dtype if value is not True else bool)
  images = images.astype(np.uint8) if images.dtype == np.int64 else images
  images[-1, -1, -1, -1] = value
  np.save(tmp_path / 'x.npy', images)
  assert folder_lib.load('x', str(tmp_path)).num_classes == 2


def test_what_was_refused_is_taken_when_it_is_multiplied(tmp_path: pathlib.Path) -> None:
  images = np.linspace(-1e-7, 1.0000001, 2 * 3 * 16).reshape(2, 3, 4, 4, 1)
  np.save(tmp_path / 'x.npy', images * 255)
  found = folder_lib.load('x', str(tmp_path)).images
  assert (found.min(), found.max()) == (0, 255)


class _Counted(np.ndarray):
  """An array that counts the bytes of the parts that are taken of it."""

  taken = 0

  def __getitem__(self, key: Any) -> Any:
    part = super().__getitem__(key)
    if isinstance(key, slice):
      _Counted.taken += part.nbytes
    return np.asarray(part)


@pytest.mark.parametrize(('first', 'most'), [(9, 1 << 14), (1, 1 << 18)])
def test_of_a_large_array_a_sample_is_read(
  first: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
  """It stops at the first value above 2, and otherwise at the size of a sample."""
  monkeypatch.setattr(layouts, '_RANGE_BLOCK_BYTES', 1 << 14)
  monkeypatch.setattr(layouts, '_SAMPLE_BYTES', 1 << 18)
  _Counted.taken = 0
  images = np.full((4096, 32, 32, 1), first, np.uint8).view(_Counted)
  if first > layouts.DARK:
    layouts.check_range(images, 'x')
  else:
    with pytest.raises(InputError, match='multiply by 255'):
      layouts.check_range(images, 'x')
  assert 0 < _Counted.taken <= most


def test_a_large_array_is_not_refused_for_black_images(
  monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
  monkeypatch.setattr(layouts, '_RANGE_BLOCK_BYTES', 4)
  monkeypatch.setattr(layouts, '_SAMPLE_BYTES', 16)
  layouts.check_range(np.zeros((100, 2, 2, 1), np.uint8), 'x')
  assert warnings == ['x: 4 of 100 images were looked at and are black']
  images = np.zeros((100, 2, 2, 1), np.uint8)
  images[99] = 9  # the last images are looked at too
  layouts.check_range(images, 'x')
  assert len(warnings) == 1


def test_the_sample_is_of_images_even_if_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(layouts, '_RANGE_BLOCK_BYTES', 1)
  layouts.check_range(np.full((2, 8, 8, 1), 9, np.uint8), 'x')


def test_bright_pixels_are_counted() -> None:
  images = np.array([127, 128, 255, 0], np.uint8).reshape(1, 2, 2, 1)
  assert layouts.share_of_bright(images) == 0.5


def test_a_black_class_of_floats_is_taken() -> None:
  assert layouts.to_uint8(np.zeros((1, 2, 2, 1)), 'x').dtype == np.uint8
