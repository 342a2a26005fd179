"""Files and folders that are written whole or not at all, and the meaning of --output_path."""

from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import pytest

from hypertransformer.data import files
from hypertransformer.errors import InputError


def test_an_output_path_is_a_file_or_a_folder_for_it(tmp_path: pathlib.Path) -> None:
  assert files.output_file(str(tmp_path), 'a.npy') == tmp_path / 'a.npy'
  assert files.output_file(str(tmp_path / 'new'), 'a.npy') == tmp_path / 'new' / 'a.npy'
  assert files.output_file(str(tmp_path / 'b.npy'), 'a.npy') == tmp_path / 'b.npy'
  assert not (tmp_path / 'new').exists()


def test_output_paths_that_cannot_be_used_are_errors(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').write_bytes(b'old')
  with pytest.raises(InputError, match=r'a\.npy exists already; .*--overwrite'):
    files.output_file(str(tmp_path), 'a.npy')
  assert files.output_file(str(tmp_path), 'a.npy', overwrite=True) == tmp_path / 'a.npy'
  (tmp_path / 'd' / 'a.npy').mkdir(parents=True)
  with pytest.raises(InputError, match='is a folder'):
    files.output_file(str(tmp_path / 'd'), 'a.npy', overwrite=True)
  with pytest.raises(InputError, match='not given'):
    files.output_file('', 'a.npy')


def test_an_array_is_saved_and_summed_up(tmp_path: pathlib.Path) -> None:
  array = np.arange(6, dtype=np.uint8).reshape(2, 3)
  path = tmp_path / 'deep' / 'er' / 'a.npy'
  files.save_array(path, array)
  np.testing.assert_array_equal(np.load(path), array)
  assert os.listdir(path.parent) == ['a.npy']
  assert files.summary(path, array).startswith(f'wrote {path}: uint8 2 x 3, ')


@pytest.mark.parametrize('stop', [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(stop: type[BaseException], tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.npy').write_bytes(b'old')
  with pytest.raises(stop), files.atomic_file(tmp_path / 'a.npy') as file:  # noqa: PT012
    file.write(b'half')
    raise stop
  assert os.listdir(tmp_path) == ['a.npy']
  assert (tmp_path / 'a.npy').read_bytes() == b'old'


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_bytes(b'')
  with pytest.raises(InputError, match=r'cannot write .*file/a\.npy'):
    files.save_array(tmp_path / 'file' / 'a.npy', np.zeros(1))


def test_a_folder_gets_its_name_when_it_is_full(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'deep' / 'x'
  with files.atomic_folder(path) as folder:
    (folder / 'a.npy').write_bytes(b'new')
    assert not path.exists()
  assert os.listdir(path.parent) == ['x']
  assert (path / 'a.npy').read_bytes() == b'new'
  with (
    pytest.raises(InputError, match=r'x exists already; .*--overwrite'),
    files.atomic_folder(path),
  ):
    pass
  with files.atomic_folder(path, overwrite=True) as folder:
    (folder / 'b.npy').write_bytes(b'newer')
  assert os.listdir(path) == ['b.npy']
  assert os.listdir(path.parent) == ['x']


@pytest.mark.parametrize('stop', [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder(stop: type[BaseException], tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').mkdir()
  (tmp_path / 'x' / 'a.npy').write_bytes(b'old')
  with pytest.raises(stop), files.atomic_folder(tmp_path / 'x', overwrite=True) as folder:  # noqa: PT012
    (folder / 'a.npy').write_bytes(b'half')
    raise stop
  assert os.listdir(tmp_path) == ['x']
  assert (tmp_path / 'x' / 'a.npy').read_bytes() == b'old'


def test_a_linked_folder_stays_a_link(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'disk' / 'x').mkdir(parents=True)
  (tmp_path / 'x').symlink_to(tmp_path / 'disk' / 'x')
  with files.atomic_folder(tmp_path / 'x') as folder:
    (folder / 'a.npy').write_bytes(b'new')
  assert (tmp_path / 'x').is_symlink()
  assert os.listdir(tmp_path / 'disk' / 'x') == ['a.npy']


def test_only_folders_of_data_are_replaced(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x' / 'inner').mkdir(parents=True)
  with pytest.raises(InputError, match="holds 'inner', so it is not the folder of one dataset"):
    files.check_folder(tmp_path / 'x', overwrite=True)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_bytes(b'')
  with (
    pytest.raises(InputError, match=r'cannot write .*file/x'),
    files.atomic_folder(tmp_path / 'file' / 'x'),
  ):
    pass


def test_an_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  (tmp_path / 'x').mkdir()
  (tmp_path / 'x' / 'a.npy').write_bytes(b'old')
  rename = pathlib.Path.rename

  def fails(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    if self.suffix == '.part':
      raise OSError(5, 'Input/output error')
    return rename(self, target)

  monkeypatch.setattr(pathlib.Path, 'rename', fails)
  with (
    pytest.raises(InputError, match='Input/output error'),
    files.atomic_folder(tmp_path / 'x', overwrite=True),
  ):
    pass
  assert os.listdir(tmp_path) == ['x']
  assert (tmp_path / 'x' / 'a.npy').read_bytes() == b'old'


def test_a_full_disk_is_noticed_before_writing(tmp_path: pathlib.Path) -> None:
  files.require_space(tmp_path / 'not' / 'yet' / 'x', 1)
  with pytest.raises(InputError, match=r'x needs 1000000000\.00 GB, but .* GB free; make room'):
    files.require_space(tmp_path / 'not' / 'yet' / 'x', 10**18)


def test_what_a_killed_process_left_is_removed(tmp_path: pathlib.Path) -> None:
  dead = subprocess.Popen(['true'])
  dead.wait()
  # Its own number was that of an earlier process, as happens in a container.
  for pid in (dead.pid, os.getpid(), os.getppid()):
    (tmp_path / f'.a.npy.{pid}.part').write_bytes(b'half')
    (tmp_path / f'.x.{pid}.part').mkdir()
  files.save_array(tmp_path / 'a.npy', np.zeros(1))
  with files.atomic_folder(tmp_path / 'x'):
    pass
  alive = os.getppid()
  assert sorted(os.listdir(tmp_path)) == [f'.a.npy.{alive}.part', f'.x.{alive}.part', 'a.npy', 'x']
