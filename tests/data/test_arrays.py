"""The images of a dataset by class and number, in memory and from large files."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
from example_files import IMAGES, RAGGED, assert_classes, save_ragged

from hypertransformer.data import arrays, files, specs
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.arrays import ClassArrays
from hypertransformer.errors import InputError


def test_shuffled_permutes_classes_without_copying(ragged_folder: pathlib.Path) -> None:
  found = folder_lib.load('x', str(ragged_folder))
  shuffled = found.shuffled(2022)
  order = specs.shuffled_classes(5, 2022)
  assert order != list(range(5))
  assert shuffled.images is found.images
  assert_classes(shuffled, [RAGGED[old] for old in order])
  assert found.shuffled(0) is found
  assert found.shuffled(-1) is found


@pytest.fixture
def large(tmp_path: pathlib.Path) -> np.ndarray:
  """The images of the dataset x in tmp_path."""
  if not hasattr(os, 'preadv'):
    pytest.skip('this system has no preadv; files are read through the memory map')
  save_ragged(tmp_path / 'x')
  return np.concatenate(RAGGED)


def test_a_large_file_is_read_by_rows(
  large: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  read: list[list[int]] = []
  preads = arrays._File.read
  monkeypatch.setattr(
    arrays._File, 'read', lambda self, rows: read.append(rows.tolist()) or preads(self, rows)
  )
  found = folder_lib.load('x', str(tmp_path))
  assert_classes(found, RAGGED)
  order = specs.shuffled_classes(5, 2022)
  assert_classes(found.shuffled(2022), [RAGGED[old] for old in order])
  np.testing.assert_array_equal(found.gather([11, 0, 11]), large[[11, 0, 11]])
  assert read[-1] == [11, 0, 11]
  assert found.gather([]).shape == (0, 5, 6, 3)
  for rows in ([12], [3, -1]):
    with pytest.raises(IndexError, match=r'images\.npy has rows 0\.\.11, asked for'):
      found.gather(rows)


@pytest.mark.usefixtures('large')
def test_arrays_without_a_file_of_their_own_are_indexed(tmp_path: pathlib.Path) -> None:
  """These are a part of the memory map, a copy, plain memory and another order of the images."""
  images = folder_lib.load('x', str(tmp_path)).images
  np.save(tmp_path / 'f.npy', np.asfortranarray(IMAGES))
  for part in (images[2:5], images + np.uint8(1), np.array(images), images[:, ::2]):
    found = ClassArrays('part', part, np.array([0]), np.array([len(part)]))
    np.testing.assert_array_equal(found.gather([1, 0]), np.array(part)[[1, 0]])
  assert_classes(folder_lib.load('f', str(tmp_path)), list(IMAGES))


@pytest.mark.usefixtures('large')
@pytest.mark.parametrize('change', ['truncate', 'rewrite', 'replace'])
def test_a_file_that_is_changed_while_it_is_in_use_is_an_error(
  change: str, tmp_path: pathlib.Path
) -> None:
  found = folder_lib.load('x', str(tmp_path))
  path = tmp_path / 'x' / 'images.npy'
  before = found.gather([0, 11])
  if change == 'truncate':
    os.truncate(path, 128)
  elif change == 'rewrite':
    np.save(path, np.zeros_like(found.images))
    os.utime(path, (1, 1))
  else:
    with files.atomic_file(path) as file:
      file.write(b'other')
    np.testing.assert_array_equal(found.gather([0, 11]), before)
    return
  with pytest.raises(InputError, match=r'images\.npy was changed while it was in use'):
    found.gather([0, 11])


def test_memory_stays_small_when_a_large_file_is_read(tmp_path: pathlib.Path) -> None:
  statm = pathlib.Path('/proc/self/statm')
  if not statm.exists() or not hasattr(os, 'preadv'):
    pytest.skip('resident memory is looked at on Linux only')
  images = np.lib.format.open_memmap(
    tmp_path / 'x.npy', mode='w+', dtype=np.uint8, shape=(20, 50, 256, 256, 3)
  )  # 197 MB, sparse on disk
  images[7, 3] = 9
  images.flush()
  del images
  found = folder_lib.load('x', str(tmp_path))

  def resident() -> int:
    return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')

  before = resident()
  for cls in range(20):
    for start in range(0, 50, 10):
      found.gather(found.rows(cls, range(start, start + 10)))
  assert resident() - before < 30e6
  assert (found.gather(found.rows(7, [3])) == 9).all()
