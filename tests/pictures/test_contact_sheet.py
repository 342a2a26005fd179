"""The contact sheet, a picture of some classes."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import contact_sheet

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
  ('shape', 'cell'),
  [
    ((28, 28, 1), (56, 56)),
    ((28, 28, 3), (56, 56)),
    ((10, 20, 3), (30, 60)),
    ((84, 84, 4), (84, 84)),
  ],
)
def test_each_row_has_the_images_of_its_class(
  shape: tuple[int, int, int], cell: tuple[int, int]
) -> None:
  rows = [
    (label, RNG.integers(0, 256, (count, *shape), dtype=np.uint8))
    for label, count in (('0', 3), ('1', 1))
  ]
  sheet = contact_sheet.draw(rows)
  assert sheet.shape[0] == 2 * (cell[0] + 4)
  left = sheet.shape[1] - 3 * (cell[1] + 4)
  for number, (_, images) in enumerate(rows):
    for column, image in enumerate(images):
      top, start = number * (cell[0] + 4) + 2, left + column * (cell[1] + 4) + 2
      shown = sheet[top : top + cell[0], start : start + cell[1]]
      expected = image if shape[-1] == 3 else image[..., :1].repeat(3, -1)
      step = cell[0] // shape[0]
      np.testing.assert_array_equal(shown[::step, ::step], expected)


def test_large_images_are_reduced_and_long_labels_cut() -> None:
  images = RNG.integers(0, 256, (2, 256, 128, 3), dtype=np.uint8)
  short = contact_sheet.draw([('0', images)])
  assert short.shape[0] == 132
  long = contact_sheet.draw([('long' * 50, images)])
  assert short.shape[1] < long.shape[1] < short.shape[1] + 200
