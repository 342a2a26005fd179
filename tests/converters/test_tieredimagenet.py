"""The tieredImageNet converter on small files of the true structure."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hypertransformer.converters import packed_images, tieredimagenet
from hypertransformer.datasets import folder as folder_lib
from hypertransformer.errors import InputError
from hypertransformer.files import writing

SIDE = 5
SPLITS = (
  tieredimagenet.Split('train', 4, 30),
  tieredimagenet.Split('val', 2, 11),
  tieredimagenet.Split('test', 3, 20),
)
RELEASE = tieredimagenet.Release(SPLITS, SIDE)
ROOT = pathlib.Path(__file__).parents[2]


def _labels(split: tieredimagenet.Split, first: int) -> np.ndarray:
  """Labels from `first` on in no order; classes differ in size."""
  rng = np.random.default_rng(first)
  some = rng.integers(0, split.classes, split.images - split.classes)
  return first + rng.permutation(np.concatenate([np.arange(split.classes), some]))


def _data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Images as OpenCV holds them, and labels counted on from split to split."""
  rng, first, data = np.random.default_rng(3), 0, {}
  for split in SPLITS:
    data[split.name] = (
      rng.integers(0, 256, (split.images, SIDE, SIDE, 3), np.uint8),
      _labels(split, first),
    )
    first += split.classes
  return data


DATA = _data()
# Class after class, images of each in the order of the file; red first.
EXPECTED = [
  images[labels == label][..., ::-1]
  for images, labels in DATA.values()
  for label in np.unique(labels)
]


def _npz(path: pathlib.Path, images: np.ndarray) -> None:
  np.savez(path.with_name(f'{path.name}_images.npz'), images=images)


def _compressed(path: pathlib.Path, images: np.ndarray) -> None:
  np.savez_compressed(path.with_name(f'{path.name}_images.npz'), images=images)


def _png(image: np.ndarray) -> bytes:
  """What cv2.imencode makes of an image that has blue first: a PNG of the right colours."""
  data = io.BytesIO()
  Image.fromarray(image[..., ::-1]).save(data, 'PNG')
  return data.getvalue()


def _pngs(
  protocol: int, wrap: Callable[[bytes], Any]
) -> Callable[[pathlib.Path, np.ndarray], None]:
  def save(path: pathlib.Path, images: np.ndarray) -> None:
    data = pickle.dumps([wrap(_png(image)) for image in images], protocol)
    path.with_name(f'{path.name}_images_png.pkl').write_bytes(data)

  return save


def _write(
  folder: pathlib.Path,
  store: Callable[[pathlib.Path, np.ndarray], None] = _npz,
  key: str = 'labels',
  kind: Callable[[np.ndarray], Any] = np.ndarray.tolist,
) -> None:
  for name, (images, labels) in DATA.items():
    store(folder / name, images)
    content = {
      'label_general': [0] * len(labels),
      key: kind(labels),
      'label_specific_str': ['a', 'b'],
    }
    (folder / f'{name}_labels.pkl').write_bytes(pickle.dumps(content, 2))


def _convert(folder: pathlib.Path, **options: Any) -> str:
  return tieredimagenet.convert(
    folder, folder / 'out' / 'tieredimagenet', release=RELEASE, **options
  )


def _check(folder: pathlib.Path, expected: list[np.ndarray] = EXPECTED) -> None:
  """What training reads is what is expected, and nothing else lies there."""
  assert os.listdir(folder / 'out') == ['tieredimagenet']
  assert sorted(os.listdir(folder / 'out' / 'tieredimagenet')) == ['class_sizes.npy', 'images.npy']
  loaded = folder_lib.load('tieredimagenet', str(folder / 'out'))
  np.testing.assert_array_equal(loaded.sizes, [len(images) for images in expected])
  np.testing.assert_array_equal(loaded.images, np.concatenate(expected))


@pytest.fixture(params=[1, 7, 1000], ids=lambda images: f'blocks of {images}')
def block_images(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
  monkeypatch.setattr(packed_images, '_BLOCK_BYTES', request.param * SIDE * SIDE * 3)
  return request.param


@pytest.mark.parametrize(
  'store',
  [
    _npz,
    _compressed,
    _pngs(2, lambda png: np.frombuffer(png, np.uint8)[:, np.newaxis]),
    _pngs(5, lambda png: np.frombuffer(png, np.uint8)),
    _pngs(4, lambda png: np.frombuffer(png, np.uint8)),
    _pngs(2, bytes),
    _pngs(4, bytes),
    _pngs(5, bytearray),
  ],
  ids=[
    'stored',
    'compressed',
    'png-arrays-2',
    'png-arrays-5',
    'png-arrays-4',
    'png-bytes-2',
    'png-bytes-4',
    'png-bytearray-5',
  ],
)
def test_converts(
  store: Callable[[pathlib.Path, np.ndarray], None], block_images: int, tmp_path: pathlib.Path
) -> None:
  _write(tmp_path, store)
  counts = _convert(tmp_path)
  assert counts == 'train 4 classes, 30 images; val 2 classes, 11 images; test 3 classes, 20 images'
  _check(tmp_path)


def test_files_of_python_2(tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]) -> None:
  for name, (images, labels) in DATA.items():
    pngs = [np.frombuffer(_png(image), np.uint8)[:, np.newaxis] for image in images]
    (tmp_path / f'{name}_images_png.pkl').write_bytes(python_2_pickle(pngs))
    (tmp_path / f'{name}_labels.pkl').write_bytes(
      python_2_pickle({'label_specific': labels, 'label_general': [1]})
    )
  _convert(tmp_path)
  _check(tmp_path)


@pytest.mark.parametrize('store', [_npz, _pngs(2, bytes)])
def test_colours_left_as_they_are(
  store: Callable[[pathlib.Path, np.ndarray], None], tmp_path: pathlib.Path
) -> None:
  _write(tmp_path, store)
  _convert(tmp_path, bgr=False)
  _check(tmp_path, [images[..., ::-1] for images in EXPECTED])


@pytest.mark.parametrize(
  'kind',
  [
    np.ndarray.tolist,
    np.asarray,
    list,
    lambda labels: labels - labels.min(),
    lambda labels: 10 * labels + 7,
    lambda labels: [f'n{label:04d}' for label in labels],
  ],
  ids=['list', 'array', 'scalars', 'from 0', 'gaps', 'names'],
)
@pytest.mark.parametrize('key', ['labels', 'label_specific'])
def test_kinds_of_labels(
  kind: Callable[[np.ndarray], Any], key: str, tmp_path: pathlib.Path
) -> None:
  _write(tmp_path, key=key, kind=kind)
  _convert(tmp_path)
  _check(tmp_path)


def test_existing_folder(tmp_path: pathlib.Path) -> None:
  _write(tmp_path)
  out = tmp_path / 'out' / 'tieredimagenet'
  out.mkdir(parents=True)
  (out / 'images.npy').write_bytes(b'old')
  with pytest.raises(
    InputError, match=r'tieredimagenet exists already; remove it or give --overwrite'
  ):
    _convert(tmp_path)
  assert (out / 'images.npy').read_bytes() == b'old'
  _convert(tmp_path, overwrite=True)
  _check(tmp_path)


def test_the_input_is_never_overwritten(tmp_path: pathlib.Path) -> None:
  _write(tmp_path)
  before = sorted(os.listdir(tmp_path))
  with pytest.raises(InputError, match='so it is not the folder of one dataset'):
    tieredimagenet.convert(tmp_path, tmp_path, release=RELEASE, overwrite=True)
  assert sorted(os.listdir(tmp_path)) == before


Change = Callable[[pathlib.Path], Any]


def _relabel(content: Any) -> Change:
  return lambda root: (root / 'val_labels.pkl').write_bytes(pickle.dumps(content, 2))


def _images(images: np.ndarray, name: str = 'images') -> Change:
  return lambda root: np.savez(root / 'val_images.npz', **{name: images})


def _bytes(data: bytes, name: str = 'val_images.npz') -> Change:
  return lambda root: (root / name).write_bytes(data)


def _cut(keep: Callable[[bytes], bytes], name: str = 'val_images.npz') -> Change:
  return lambda root: (root / name).write_bytes(keep((root / name).read_bytes()))


def _member(npy: bytes, name: str = 'images.npy', store: int = zipfile.ZIP_DEFLATED) -> Change:
  def change(root: pathlib.Path) -> None:
    with zipfile.ZipFile(root / 'val_images.npz', 'w', store) as archive:
      archive.writestr(name, npy)

  return change


def _npy(shape: tuple[int, ...], data: bytes = b'') -> bytes:
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    file, {'descr': '|u1', 'fortran_order': False, 'shape': shape}
  )
  return file.getvalue() + data


VAL = DATA['val'][0]
FLIPPED_AT = 800  # within the image data of the archive


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (_relabel({'labels': [0] * 11}), r'val_labels\.pkl holds 1 classes; expected 2'),
    (_relabel({'labels': list(range(11))}), r'val_labels\.pkl holds 11 classes; expected 2'),
    (
      _relabel({'labels': [0, 1] * 5}),
      r"val_images\.npz: 'images' is uint8 \[11, 5, 5, 3\]; expected uint8 "
      r'\[10, 5, 5, 3\], an image for each label',
    ),
    (_relabel({'labels': [0.5] * 11}), r"val_labels\.pkl: 'labels' are not of one kind"),
    (
      _relabel({'labels': np.zeros((11, 2), int)}),
      r"val_labels\.pkl: 'labels' is int64 \[11, 2\]; expected a list",
    ),
    (
      _relabel({'label_general': [1]}),
      r"val_labels\.pkl holds a dict of 'label_general'; expected 'labels' or",
    ),
    (_relabel([1, 2]), r"val_labels\.pkl holds a list; expected a dict with 'labels'"),
    (
      lambda root: (root / 'val_labels.pkl').unlink(),
      r'val_labels\.pkl is not there; expected \{train,val,test\}_lab',
    ),
    (
      lambda root: (root / 'val_images.npz').unlink(),
      r'neither .*val_images\.npz nor .*val_images_png\.pkl is there; expected the images of val_labels\.pkl',
    ),
    (_bytes(b'<html>sign in', 'val_labels.pkl'), r'val_labels\.pkl is a web page, not a pickle'),
    (_bytes(b'\n<!doctype html>'), r'val_images\.npz is a web page, not a NumPy \.npz file'),
    (_bytes(b''), r'val_images\.npz is an empty file'),
    (
      _bytes(b'PK\x03\x04 then nothing'),
      r'val_images\.npz is not a whole \.npz file \(File is not a zip file\)',
    ),
    (_cut(lambda data: data[:-30]), r'val_images\.npz is not a whole \.npz file'),
    (_cut(lambda data: data[:400] + data[700:]), r'val_images\.npz is not a whole \.npz file'),
    (
      _cut(lambda data: data[:FLIPPED_AT] + bytes([data[FLIPPED_AT] ^ 1]) + data[FLIPPED_AT + 1 :]),
      r"val_images\.npz is .*\(Bad CRC-32 for file 'images\.npy'\)",
    ),
    (_cut(lambda data: data[:-9], 'val_labels.pkl'), r'val_labels\.pkl is not a whole pickle'),
    (_images(VAL, 'data'), r"val_images\.npz holds data\.npy; expected an array 'images'"),
    (
      _images(VAL[:10]),
      r"val_images\.npz: 'images' is uint8 \[10, 5, 5, 3\]; expected uint8 \[11, 5, 5, 3\]",
    ),
    (_images(VAL / 255.0), r"val_images\.npz: 'images' is float64 \[11, 5, 5, 3\]; expected uint8"),
    (_images(np.asfortranarray(VAL)), r'uint8 \[11, 5, 5, 3\] in Fortran order; expected uint8'),
    (_images(VAL[:, :4]), r"'images' is uint8 \[11, 4, 5, 3\]; expected uint8 \[11, 5, 5, 3\]"),
    (_images(np.array([VAL, None], object)), r"'images' is object \[2\]; expected uint8"),
    (
      _member(_npy(VAL.shape, VAL.tobytes()[:-1])),
      r"'images' is truncated: .* needs 825 bytes, it has 824; make or",
    ),
    (_member(_npy(VAL.shape, VAL.tobytes() + b'x')), r'needs 825 bytes, it has 826'),
    (
      _member(_npy((10**15, 5, 5, 3))),
      r"'images' is uint8 \[1000000000000000, 5, 5, 3\]; expected uint8 \[11, ",
    ),
    (
      _member(b'\x93NUMPY\x02\x00' + b'\xff' * 3 + b'\x7f' + b' ' * (1 << 22)),
      r'not a NumPy \.npy file, or a broken one \(a header of 2147483647 bytes\)',
    ),
    (_member(b'no array'), r'val_images\.npz is not a NumPy \.npy file'),
  ],
)
def test_bad_files(change: Change, found: str, tmp_path: pathlib.Path) -> None:
  _write(tmp_path)
  change(tmp_path)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=found):
    _convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


def _png_list(items: list[Any]) -> bytes:
  return pickle.dumps(items, 2)


PNGS = [_png(image) for image in VAL]
SMALL = io.BytesIO()
Image.new('RGB', (4, 5)).save(SMALL, 'PNG')


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (
      _png_list(PNGS[:10]),
      r'val_images_png\.pkl holds 10 images; expected 11, one for each label of val_labels\.pkl',
    ),
    (
      _png_list([*PNGS, PNGS[0] + b'x']),
      r'val_images_png\.pkl holds more than 11 images; expected 11',
    ),
    (
      _png_list([*PNGS[:3], SMALL.getvalue()]),
      r'val_images_png\.pkl: image 3 is 4 x 5 pixels; expected 5 x 5',
    ),
    (
      _png_list([*PNGS[:3], PNGS[3][:40]]),
      r'val_images_png\.pkl: image 3 is not a whole PNG image',
    ),
    (
      _png_list([PNGS[0] + bytes(1 << 20)]),
      r'val_images_png\.pkl is refused: it holds a PNG image of 10\d* bytes',
    ),
    (_png_list(PNGS)[:-200], r'val_images_png\.pkl is not a whole pickle'),
    (b'<html>', r'val_images_png\.pkl is a web page'),
  ],
)
def test_bad_png_pickles(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  _write(tmp_path)
  (tmp_path / 'val_images.npz').unlink()
  (tmp_path / 'val_images_png.pkl').write_bytes(data)
  (tmp_path / 'out').mkdir()
  with pytest.raises(InputError, match=found):
    _convert(tmp_path)
  assert os.listdir(tmp_path / 'out') == []


@pytest.fixture
def as_nobody() -> Iterator[None]:
  """Root may read every file, so for this test root becomes someone else."""
  if os.geteuid() != 0:
    yield
    return
  os.seteuid(65534)
  yield
  os.seteuid(0)


@pytest.fixture
def entered_by_all() -> Iterator[pathlib.Path]:
  """A folder below ones that everyone may enter, unlike tmp_path."""
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)


@pytest.fixture
def unreadable_file(entered_by_all: pathlib.Path) -> pathlib.Path:
  _write(entered_by_all)
  (entered_by_all / 'val_images.npz').chmod(0)
  return entered_by_all


@pytest.fixture
def unreadable_folder(entered_by_all: pathlib.Path) -> pathlib.Path:
  folder = entered_by_all / 'in'
  folder.mkdir(mode=0)
  return folder


def test_unreadable_file(unreadable_file: pathlib.Path, as_nobody: None) -> None:
  with pytest.raises(
    InputError, match=r'val_images\.npz cannot be read \(Permission denied\); expected a NumPy'
  ):
    _convert(unreadable_file)


def test_unreadable_folder(
  unreadable_folder: pathlib.Path, entered_by_all: pathlib.Path, as_nobody: None
) -> None:
  with pytest.raises(
    InputError, match=r'in cannot be read as a folder \(Permission denied\); correct --input_path'
  ):
    tieredimagenet.convert(unreadable_folder, entered_by_all / 'out', release=RELEASE)


def test_missing_folder(tmp_path: pathlib.Path) -> None:
  with pytest.raises(
    InputError, match=r'in cannot be read as a folder \(No such file or directory\)'
  ):
    tieredimagenet.convert(tmp_path / 'in', tmp_path / 'out', release=RELEASE)


def test_checksum_at_the_end(tmp_path: pathlib.Path) -> None:
  """A bit that flipped far behind the header: found when all has been written, so that nothing
  stays.
  """
  images = np.zeros((2000, SIDE, SIDE, 3), np.uint8)
  _npz(tmp_path / 'train', images)
  (tmp_path / 'train_labels.pkl').write_bytes(pickle.dumps({'labels': [0] * 2000}, 2))
  _cut(lambda data: data[:99_000] + b'\1' + data[99_001:], 'train_images.npz')(tmp_path)
  (tmp_path / 'out').mkdir()
  release = tieredimagenet.Release((tieredimagenet.Split('train', 1, 2000),), SIDE)
  with pytest.raises(
    InputError, match=r"train_images\.npz is not a whole \.npz file \(Bad CRC-32 for file 'images"
  ):
    tieredimagenet.convert(tmp_path, tmp_path / 'out' / 'x', release=release)
  assert os.listdir(tmp_path / 'out') == []


def test_no_room(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  _write(tmp_path)
  real = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(writing.shutil, 'disk_usage', lambda path: real._replace(free=61 * 75 - 1))
  with pytest.raises(
    InputError, match=r'tieredimagenet needs 0\.00 GB, but .* has 0\.00 GB free; make room'
  ):
    _convert(tmp_path)
  assert not (tmp_path / 'out').exists()


@pytest.fixture
def tiny_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A file system of 4 kB beside the other files."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', str(disk)]
  if (
    shutil.which('mount') is None
    or subprocess.run(command, capture_output=True, check=False).returncode
  ):
    pytest.skip('no permission to mount a small file system')
  yield disk
  subprocess.run(['umount', str(disk)], check=True)


def test_disk_that_fills_up_meanwhile(
  tiny_disk: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  _write(tmp_path)
  monkeypatch.setattr(writing, 'require_space', lambda path, needed: None)
  with pytest.raises(
    InputError, match=r'cannot write .*tieredimagenet: No space left on device; check that'
  ):
    tieredimagenet.convert(tmp_path, tiny_disk / 'tieredimagenet', release=RELEASE)
  assert os.listdir(tiny_disk) == []


def _run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, '-c', script, *args],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )


def test_quota(tmp_path: pathlib.Path) -> None:
  """As on a disk with quotas: no file may grow beyond 2 kB."""
  _write(tmp_path)
  done = _run(
    """
import pathlib, resource, sys
from hypertransformer.converters import tieredimagenet as t
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
release = t.Release((t.Split('train', 4, 30), t.Split('val', 2, 11), t.Split('test', 3, 20)), 5)
t.convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]) / 'out' / 'tieredimagenet', release=release)
""",
    str(tmp_path),
  )
  assert 'InputError: cannot write ' in done.stderr
  assert 'tieredimagenet: File too large; check that the folder is writable' in done.stderr
  assert os.listdir(tmp_path / 'out') == []


def test_restart_after_a_kill(tmp_path: pathlib.Path) -> None:
  _write(tmp_path)
  done = _run(
    """
import os, pathlib, signal, sys
from hypertransformer.converters import tieredimagenet as t
release = t.Release((t.Split('train', 4, 30), t.Split('val', 2, 11), t.Split('test', 3, 20)), 5)
t._scatter = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
t.convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]) / 'out' / 'tieredimagenet', release=release)
""",
    str(tmp_path),
  )
  assert done.returncode == -signal.SIGKILL
  (left,) = os.listdir(tmp_path / 'out')
  assert left.endswith('.part')
  _convert(tmp_path)
  _check(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('shuffled', [False, True])
def test_memory_stays_small(shuffled: bool, tmp_path: pathlib.Path) -> None:
  """300 MB are converted with less than 150 MB on top of what the imports take."""
  images = 14_400
  block = np.random.default_rng(0).integers(0, 256, (600, 84, 84, 3), np.uint8)
  with (
    zipfile.ZipFile(tmp_path / 'train_images.npz', 'w', zipfile.ZIP_STORED) as archive,
    archive.open('images.npy', 'w') as member,
  ):
    member.write(_npy((images, 84, 84, 3)))
    for _ in range(images // len(block)):
      member.write(block.tobytes())
  labels = np.repeat(np.arange(24), 600)
  if shuffled:
    np.random.default_rng(1).shuffle(labels)
  (tmp_path / 'train_labels.pkl').write_bytes(pickle.dumps({'labels': labels}, 2))
  done = _run(
    """
import pathlib, resource, sys
from hypertransformer.converters import tieredimagenet as t
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
root = pathlib.Path(sys.argv[1])
t.convert(root, root / 'tieredimagenet', release=t.Release((t.Split('train', 24, 14400),), 84))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""",
    str(tmp_path),
  )
  assert done.returncode == 0, done.stderr
  grown = int(done.stdout) / (1 << 10)
  written = np.load(tmp_path / 'tieredimagenet' / 'images.npy', mmap_mode='r')
  place = int(np.flatnonzero(labels == 5)[7])
  np.testing.assert_array_equal(written[5 * 600 + 7], block[place % 600][..., ::-1])
  shutil.rmtree(tmp_path / 'tieredimagenet')
  (tmp_path / 'train_images.npz').unlink()
  assert grown < 150, f'grew by {grown:.0f} MB'


def test_official_counts() -> None:
  assert [split.classes for split in tieredimagenet.OFFICIAL.splits] == [351, 97, 160]
  assert sum(split.images for split in tieredimagenet.OFFICIAL.splits) == 779_165
  assert tieredimagenet.OFFICIAL.side == 84
