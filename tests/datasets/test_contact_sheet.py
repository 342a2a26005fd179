"""The contact sheet, a picture of random classes."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from hypertransformer.datasets import contact_sheet
from hypertransformer.datasets.arrays import ClassArrays
from hypertransformer.errors import InputError

RNG = np.random.default_rng(0)


def _arrays(
  shape: tuple[int, int, int] = (28, 28, 3), sizes: tuple[int, ...] = (3, 5, 1)
) -> ClassArrays:
  images = RNG.integers(0, 256, (sum(sizes), *shape), dtype=np.uint8)
  return ClassArrays('x', images, np.cumsum(sizes) - sizes, np.array(sizes))


@pytest.mark.parametrize(
  ('shape', 'cell'),
  [
    ((28, 28, 1), (56, 56)),
    ((28, 28, 3), (56, 56)),
    ((10, 20, 3), (60, 30)),
    ((84, 84, 3), (84, 84)),
    ((256, 128, 3), (64, 128)),
  ],
)
def test_each_row_has_images_of_its_class(
  shape: tuple[int, int, int], cell: tuple[int, int]
) -> None:
  arrays = _arrays(shape)
  sheet, classes = contact_sheet.draw(arrays, 0, (), 12, 4)
  assert classes == [0, 1, 2]
  assert sheet.mode == ('L' if shape[2] == 1 else 'RGB')
  left = sheet.width - 4 * (cell[0] + 2)
  pixels = np.asarray(sheet).reshape(sheet.height, sheet.width, shape[2])
  assert sheet.height == 3 * (cell[1] + 2)
  if max(shape) > 128:
    return  # reduced, so pixels differ
  for row, size in enumerate(arrays.sizes):
    shown = set()
    for column in range(min(size, 4)):
      top, start = row * (cell[1] + 2), left + column * (cell[0] + 2)
      step_y, step_x = cell[1] // shape[0], cell[0] // shape[1]
      shown.add(pixels[top : top + cell[1] : step_y, start : start + cell[0] : step_x].tobytes())
    samples = {image.tobytes() for image in arrays.gather(arrays.rows(row, range(size)))}
    assert len(shown) == min(size, 4)
    assert shown <= samples


def test_the_seed_chooses_the_classes(tmp_path: pathlib.Path) -> None:
  arrays = _arrays(sizes=(4,) * 50)
  chosen = [
    contact_sheet.save(tmp_path / f'{number}.png', arrays, seed, rows=5)
    for number, seed in enumerate((1, 1, 2))
  ]
  assert chosen[0] == chosen[1] == sorted(chosen[0])
  assert len(set(chosen[0])) == 5
  assert chosen[0] != chosen[2]
  assert (tmp_path / '0.png').read_bytes() == (tmp_path / '1.png').read_bytes()
  with Image.open(tmp_path / '2.png') as image:
    assert image.format == 'PNG'


def test_names_are_written_beside_the_images(tmp_path: pathlib.Path) -> None:
  arrays = _arrays(sizes=(1, 1))
  plain, _ = contact_sheet.draw(arrays, 0, (), 12, 1)
  named, _ = contact_sheet.draw(arrays, 0, ['a', 'Ünïcode/' + 'long' * 20], 12, 1)
  assert named.width > plain.width
  letters = np.asarray(named)[58:116, :150].max(), np.asarray(named)[58:116, :150].min()
  assert letters[0] > 150 > letters[1]


def test_refused_are_other_files_other_channels_and_existing_sheets(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'sheet\.jpg is not a \.png file'):
    contact_sheet.save(tmp_path / 'sheet.jpg', _arrays())
  with pytest.raises(InputError, match='has 2 channels; a contact sheet can show 1 or 3'):
    contact_sheet.save(tmp_path / 'sheet.png', _arrays((8, 8, 2)))
  assert os.listdir(tmp_path) == []
  (tmp_path / 'sheet.png').write_bytes(b'old')
  with pytest.raises(InputError, match=r'sheet\.png exists already; .*--overwrite'):
    contact_sheet.save(tmp_path / 'sheet.png', _arrays())
  assert (tmp_path / 'sheet.png').read_bytes() == b'old'
  contact_sheet.save(tmp_path / 'sheet.png', _arrays(), overwrite=True)
  assert (tmp_path / 'sheet.png').read_bytes() != b'old'
