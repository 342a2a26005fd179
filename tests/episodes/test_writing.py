"""Atomic files, the meaning of --output_path, and progress lines."""
from __future__ import annotations

import io
import os
import pathlib

import numpy as np
import pytest

from hypertransformer.episodes import writing
from hypertransformer.errors import InputError


def test_output_file(tmp_path: pathlib.Path) -> None:
  assert writing.output_file(str(tmp_path), 'a.npy') == tmp_path / 'a.npy'
  assert writing.output_file(str(tmp_path / 'new'), 'a.npy') == tmp_path / 'new' / 'a.npy'
  assert writing.output_file(str(tmp_path / 'b.npy'), 'a.npy') == tmp_path / 'b.npy'
  assert not (tmp_path / 'new').exists()


def test_output_file_refuses(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').write_bytes(b'old')
  with pytest.raises(InputError, match=r'a\.npy exists already; .*--overwrite'):
    writing.output_file(str(tmp_path), 'a.npy')
  assert writing.output_file(str(tmp_path), 'a.npy', overwrite=True) == tmp_path / 'a.npy'
  (tmp_path / 'd' / 'a.npy').mkdir(parents=True)
  with pytest.raises(InputError, match='is a folder'):
    writing.output_file(str(tmp_path / 'd'), 'a.npy', overwrite=True)
  with pytest.raises(InputError, match='not given'):
    writing.output_file('', 'a.npy')


def test_save_array(tmp_path: pathlib.Path) -> None:
  array = np.arange(6, dtype=np.uint8).reshape(2, 3)
  path = tmp_path / 'deep' / 'er' / 'a.npy'
  writing.save_array(path, array)
  np.testing.assert_array_equal(np.load(path), array)
  assert os.listdir(path.parent) == ['a.npy']
  assert writing.summary(path, array).startswith(f'wrote {path}: uint8 2 x 3, ')


@pytest.mark.parametrize('stop', [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_old_file(stop: type[BaseException], tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').write_bytes(b'old')
  with pytest.raises(stop), writing.atomic_file(tmp_path / 'a.npy') as file:  # noqa: PT012
    file.write(b'half')
    raise stop
  assert os.listdir(tmp_path) == ['a.npy']
  assert (tmp_path / 'a.npy').read_bytes() == b'old'


def test_unwritable_place(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_bytes(b'')
  with pytest.raises(InputError, match=r'cannot write .*file/a\.npy'):
    writing.save_array(tmp_path / 'file' / 'a.npy', np.zeros(1))


def test_progress_lines() -> None:
  now = iter([0., 1., 4., 5., 8.])
  out = io.StringIO()
  progress = writing.Progress('x', 100, 'images', every=3, stream=out, clock=lambda: next(now))
  for done in (10, 40, 50, 80):  # at 1, 4, 5 and 8 seconds
    progress.update(done)
  assert out.getvalue().splitlines() == ['x: 40 of 100 images, 10/s, 6 s left',
                                         'x: 80 of 100 images, 10/s, 2 s left']
