"""Kernels, their change, and the tiles in which they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas, kernels

RNG = np.random.default_rng(3)


def test_the_change_is_relative_to_the_kernels_before() -> None:
  before = np.array([3.0, 4.0])
  assert kernels.relative_change(before, before) == 0
  assert kernels.relative_change(before + np.array([0.0, 1.0]), before) == pytest.approx(0.2)
  assert kernels.relative_change(before, 0 * before) == np.inf
  assert kernels.relative_change(0 * before, 0 * before) == 0


@pytest.mark.parametrize('shape', [(3, 3, 1, 8), (1, 1, 2, 2), (7, 7, 3, 64), (2, 5), (500, 3)])
def test_kernels_of_every_size_are_drawn(shape: tuple[int, ...]) -> None:
  kernel = RNG.normal(size=shape)
  for before in (kernel * 1.1, 0 * kernel, None):
    picture = kernels.draw(kernel, before)
    assert (picture.dtype, picture.shape[1] <= canvas.WIDTH) == (np.uint8, True)


def test_a_tile_shows_the_kernel_of_its_channels() -> None:
  kernel = np.zeros((2, 2, 3, 4))
  kernel[0, 1, 2, 3] = -5.0
  picture = kernels.mosaic(kernel / 5)
  scale, step = 12, 25
  blue = np.argwhere((picture == canvas.diverging(np.array(-1.0))).all(axis=-1))
  # Row 2, column 3 of the tiles; in it the upper right pixel.
  assert blue.min(axis=0).tolist() == [2 * step + 1, 3 * step + 1 + scale]
  assert len(blue) == scale**2


def test_a_layer_has_one_colour_scale_for_all_cnns() -> None:
  rows = {name: {'layer_1': np.full((2, 2), size)} for name, size in (('a', 1.0), ('b', 2.0))}
  picture = kernels.layers(rows, 'title')
  for value in (0.5, 1.0):
    assert (picture == canvas.diverging(np.array(value))).all(axis=-1).sum() > 200


def test_the_bars_of_changes_are_as_long_as_the_changes() -> None:
  picture = kernels.changes({'layer_1': (0.1, 0.01), 'layer_2': (0.4, float('nan'))}, 100)
  blue = (picture == np.array(canvas.BLUE)).all(axis=-1).sum(axis=1)
  assert sorted(set(blue.tolist())) == [0, 100, 400]
