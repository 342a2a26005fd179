"""Paths of users, .npy files, files that are something else, and atomic writes."""

from __future__ import annotations

import os
import pathlib
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypertransformer.data import files
from hypertransformer.data import folder as folder_lib
from hypertransformer.errors import InputError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
  'path',
  [
    'gs://b/x',
    'S3://b/x.npy',
    'hdfs://h:9/x',
    'file:///x',
    'abfs+x://y',
    'gs:/b',
    '~nobody?',
    'a\0',
  ],
)
def test_paths_that_are_not_local_are_refused(
  path: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.chdir(tmp_path)
  for use in (files.expanded, lambda path: files.atomic_file(pathlib.Path(path)).__enter__()):
    with pytest.raises(InputError, match=r'local path|no home|NUL'):
      use(path)
  assert os.listdir() == []
  assert files.expanded('c:/x:/y') == pathlib.Path('c:/x:/y')


@pytest.mark.parametrize('name', ['x' * 300, 'a\0b', 'circle'])
@pytest.mark.parametrize(
  'use', [files.require_folder, lambda path: files.refuse_page_or_empty(path, 'a pickle')]
)
def test_impossible_paths_are_errors_of_one_short_line(
  name: str, use: Callable[[pathlib.Path], object], tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'circle').symlink_to(tmp_path / 'circle')
  with pytest.raises(InputError) as caught:
    use(tmp_path / name)
  assert str(caught.value).isprintable()
  assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (b'<!DOCTYPE html><title>404', 'web page'),
    (b'\n  <html>', 'web page'),
    (b'\xef\xbb\xbf<HTML lang="en">', 'web page'),
    (b'<?xml version="1.0"?>', 'web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n', 'Git LFS'),
    (b'PK\3\4', 'zip archive, as .npz'),
    (b'\x89HDF\r\n\x1a\n', 'HDF5'),
    (b'PAR1', 'Parquet'),
    (b'\x1f\x8b\x08', 'gzip'),
    (b'\x93NUMPY\1\0', 'NumPy'),
    (b'', 'empty'),
    (None, 'No such file'),
  ],
)
def test_files_that_are_something_else_are_refused(
  data: bytes | None, found: str, tmp_path: pathlib.Path
) -> None:
  if data is not None:
    (tmp_path / 'x').write_bytes(data)
  with pytest.raises(InputError, match=rf'/x .*{found}.* a pickle'):
    files.refuse_page_or_empty(tmp_path / 'x', 'a pickle')


@given(
  array=hypothesis.extra.numpy.arrays(
    hypothesis.extra.numpy.unsigned_integer_dtypes() | hypothesis.extra.numpy.floating_dtypes(),
    hypothesis.extra.numpy.array_shapes(min_dims=0, max_dims=6, max_side=3),
  ),
  fortran=st.booleans(),
)
def test_saved_arrays_are_mapped_read_only(
  array: np.ndarray, fortran: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
  path = tmp_path_factory.getbasetemp() / 'saved.npy'
  array = np.asarray(array, order='F' if fortran else 'C')
  np.save(path, array)
  found = files.map_array(path)
  assert (found.dtype, found.shape) == (array.dtype, array.shape)
  assert found.tobytes() == array.tobytes()
  assert found.flags.f_contiguous == array.flags.f_contiguous
  assert not found.flags.writeable


@pytest.mark.parametrize(
  ('descr', 'shape'),
  [
    ("'|u1'", '(4, -28, 1)'),
    ("'|u1'", str((10**9, 600, 84, 84, 3))),
    ("'|u1'", str((1,) * 65)),
    ("'|u1'", '(0, 28, 28, 1)'),
    ("[('a', '<f4'), ('b', '|u1')]", '(1,)'),
    ("'|O'", '(1,)'),
    ("'S0'", '(1,)'),
    ("'|u1'", '(1,)' + ' ' * 20_000),
    ("'|u1'", '(1.5,)'),
    ("'3f4'", '(1,)'),
    ('(' * 5000, '(1,)'),
    ('[]', f'({"9" * 5000},)'),
  ],
)
def test_arrays_that_cannot_be_images_are_refused(
  descr: str, shape: str, tmp_path: pathlib.Path
) -> None:
  header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
  data = b'\x93NUMPY\1\0' + struct.pack('<H', len(header)) + header + b'x'
  (tmp_path / 'a.npy').write_bytes(data)
  with pytest.raises(InputError, match=r'a\.npy') as caught:
    files.map_array(tmp_path / 'a.npy')
  assert str(caught.value).isprintable()
  assert len(str(caught.value)) < 400


def test_files_are_written_with_their_directories(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'deep' / 'er' / 'a.npy'
  with files.atomic_file(path) as file:
    np.save(file, ARRAY)
  np.testing.assert_array_equal(np.load(path), ARRAY)
  assert files.summary(path).startswith(f'wrote {path}: uint8 2 x 3 x 4, ')
  assert os.listdir(path.parent) == ['a.npy']
  mask = os.umask(0)
  os.umask(mask)
  assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def _write_file(path: pathlib.Path, stop: BaseException | None = None) -> None:
  with files.atomic_file(path / 'a.npy') as file:
    file.write(b'half')
    if stop:
      raise stop
    file.write(b' and half')


def _write_folder(path: pathlib.Path, stop: BaseException | None = None) -> None:
  with files.atomic_folder(path, overwrite=True) as folder:
    (folder / 'a.npy').write_bytes(b'half')
    if stop:
      raise stop
    (folder / 'a.npy').write_bytes(b'half and half')


@pytest.mark.parametrize('write', [_write_file, _write_folder])
@pytest.mark.parametrize('stop', [ValueError(), KeyboardInterrupt(), OSError(28, 'No space left')])
def test_a_failure_leaves_what_was_there(
  write: Callable[..., None], stop: BaseException, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'x').mkdir()
  (tmp_path / 'x' / 'a.npy').write_bytes(b'old')
  with pytest.raises(InputError if isinstance(stop, OSError) else type(stop)):
    write(tmp_path / 'x', stop)
  assert os.listdir(tmp_path) == ['x']
  assert os.listdir(tmp_path / 'x') == ['a.npy']
  assert (tmp_path / 'x' / 'a.npy').read_bytes() == b'old'


@pytest.mark.parametrize('write', [_write_file, _write_folder])
def test_leftovers_of_killed_processes_are_removed_and_files_in_use_are_not(
  write: Callable[..., None], tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'x'
  opened = f'atomic_file("{path}/a.npy")' if write is _write_file else f'atomic_folder("{path}")'
  code = (
    f'import time; from hypertransformer.data import files\n'
    f'with files.{opened}: print("ready", flush=True); time.sleep(300)'
  )
  with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as process:
    assert process.stdout
    process.stdout.readline()
    write(path)
    assert len(list(tmp_path.rglob('.*.part'))) == 1
    process.send_signal(signal.SIGKILL)
  write(path)
  assert list(tmp_path.rglob('.*')) == []
  assert (path / 'a.npy').read_bytes() == b'half and half'


_KILLED_BETWEEN_RENAMES = """
import os, pathlib, signal
from hypertransformer.data import files
rename = pathlib.Path.rename
def kill_before(self, target):
  if self.suffix == '.part':
    os.kill(os.getpid(), signal.SIGKILL)
  return rename(self, target)
pathlib.Path.rename = kill_before
with files.atomic_folder('x', overwrite=True) as folder:
  (folder / 'a.npy').write_bytes(b'new')
"""


def test_a_temporary_file_is_not_taken_for_abandoned_before_it_is_locked(
  tmp_path: pathlib.Path,
) -> None:
  def write() -> None:
    with files.atomic_file(tmp_path / 'file') as file:
      file.write(b'other')

  other = threading.Thread(target=write)

  def make(part: pathlib.Path) -> None:
    part.touch()
    other.start()
    other.join(0.3)

  with files.temporary(tmp_path / 'file', make) as part:
    assert part.exists()
  other.join()
  assert (tmp_path / 'file').read_bytes() == b'other'


@pytest.mark.parametrize('next_start', ['reader', 'converter'])
def test_a_folder_comes_back_after_a_kill_between_the_renames(
  next_start: str, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'x'
  _write_folder(path)
  killed = subprocess.run([sys.executable, '-c', _KILLED_BETWEEN_RENAMES], cwd=tmp_path)
  assert killed.returncode == -signal.SIGKILL
  assert not path.exists()
  if next_start == 'reader':
    assert folder_lib.find('x', str(tmp_path)) == path
    assert (path / 'a.npy').read_bytes() == b'half and half'
  else:
    with pytest.raises(InputError, match='exists already'):
      files.check_folder(path)
    _write_folder(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('has_links', [True, False])
@pytest.mark.parametrize('make', [pathlib.Path.mkdir, pathlib.Path.touch])
def test_what_was_made_in_the_meantime_is_not_replaced(
  make: Callable[..., None],
  has_links: bool,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  def no_links(*_: object) -> None:
    raise PermissionError(1, 'Operation not permitted')

  def write(name: str, meantime: Callable[[], object]) -> None:
    with opened(tmp_path / name, overwrite=False):
      meantime()

  def interfere() -> None:
    make(tmp_path / 'x')
    other.write_bytes(b'other')

  if not has_links:
    monkeypatch.setattr(os, 'link', no_links)
  is_folder = make is pathlib.Path.mkdir
  opened = files.atomic_folder if is_folder else files.atomic_file
  other = tmp_path / 'x' / 'a.npy' if is_folder else tmp_path / 'x'
  write('new', list)
  with pytest.raises(InputError, match='cannot write'):
    write('x', interfere)
  assert other.read_bytes() == b'other'
  assert sorted(os.listdir(tmp_path)) == ['new', 'x']


@pytest.mark.parametrize('kind', ['link', 'dangling', 'pipe', 'folder', '/dev/null'])
def test_only_regular_files_are_replaced(kind: str, tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'x' if kind != '/dev/null' else pathlib.Path(kind)
  (tmp_path / 'target').write_bytes(b'old')
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'folder':
    path.mkdir()
  elif path.parent == tmp_path:
    path.symlink_to(tmp_path / ('target' if kind == 'link' else 'nothing'))
  before = os.lstat(path)
  with pytest.raises(InputError, match='is not written'), files.atomic_file(path) as file:
    file.write(b'new')
  assert os.path.samestat(before, os.lstat(path))
  assert sorted(os.listdir(tmp_path)) == sorted({'target', path.name} - {'null'})
  assert (tmp_path / 'target').read_bytes() == b'old'


def test_a_folder_is_replaced_only_if_asked(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'deep' / 'x'
  with files.atomic_folder(path) as folder:
    (folder / 'a.npy').write_bytes(b'new')
    assert not path.exists()
  with pytest.raises(InputError, match=r'x exists already; .*--overwrite'):
    files.check_folder(path)
  with files.atomic_folder(path, overwrite=True) as folder:
    (folder / 'b.npy').write_bytes(b'newer')
  assert os.listdir(path) == ['b.npy']
  assert os.listdir(path.parent) == ['x']
  (path / 'inner').mkdir()
  with pytest.raises(InputError, match='inner'):
    files.check_folder(path, overwrite=True)
  with pytest.raises(InputError, match='is a file'):
    files.check_folder(path / 'b.npy')


def test_a_linked_folder_stays_a_link(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'disk' / 'x').mkdir(parents=True)
  (tmp_path / 'x').symlink_to(tmp_path / 'disk' / 'x')
  _write_folder(tmp_path / 'x')
  assert (tmp_path / 'x').is_symlink()
  assert os.listdir(tmp_path / 'disk' / 'x') == ['a.npy']
