"""The class list beside an array: whole or not at all, and never taken for data."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from hypertransformer.converters import class_files
from hypertransformer.data import class_list, files
from hypertransformer.data import folder as folder_lib
from hypertransformer.data.class_list import ClassEntry
from hypertransformer.errors import InputError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 2, 2, 1)
ENTRIES = [ClassEntry('train', 'a,b'), ClassEntry('test', 'Käfer')]


def _write(path: pathlib.Path) -> None:
  with class_files.atomic_array(path) as (file, listing):
    np.save(file, IMAGES)
    class_list.write(listing, ENTRIES, [3, 3])


def test_both_files_are_written_and_the_array_is_loaded(tmp_path: pathlib.Path) -> None:
  _write(tmp_path / 'x.npy')
  assert sorted(os.listdir(tmp_path)) == ['x.classes.csv', 'x.npy']
  assert class_list.read(tmp_path / 'x.classes.csv', np.array([3, 3])) == ENTRIES
  found = folder_lib.load('x', str(tmp_path))
  np.testing.assert_array_equal(found.images, IMAGES.reshape(6, 2, 2, 1))
  # Also where the folder itself is read as a dataset of chunks.
  assert folder_lib.load(tmp_path.name, str(tmp_path.parent)).num_classes == 2


def test_a_folder_of_a_dataset_with_lists_may_be_replaced(tmp_path: pathlib.Path) -> None:
  _write(tmp_path / 'x' / 'x.npy')
  files.check_folder(tmp_path / 'x', overwrite=True)


@pytest.mark.parametrize('stop', [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_files(stop: type[BaseException], tmp_path: pathlib.Path) -> None:
  _write(tmp_path / 'x.npy')
  before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
  with pytest.raises(stop), class_files.atomic_array(tmp_path / 'x.npy') as (file, listing):  # noqa: PT012
    file.write(b'half')
    listing.write_bytes(b'half')
    raise stop
  assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_list_is_replaced_only_on_demand(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x.classes.csv').write_bytes(b'mine')
  with pytest.raises(InputError, match=r'x\.classes\.csv exists already, .*--overwrite'):
    class_files.output_file(str(tmp_path / 'x.npy'), 'y.npy')
  assert class_files.output_file(str(tmp_path / 'x.npy'), 'y.npy', True) == tmp_path / 'x.npy'
  (tmp_path / 'z.classes.csv').mkdir()
  with pytest.raises(InputError, match='exists already'):
    class_files.output_file(str(tmp_path / 'z.npy'), 'y.npy', True)
