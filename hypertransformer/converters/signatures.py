"""Recognises files of another kind than was asked for, by their first bytes."""

from __future__ import annotations

import pathlib

from hypertransformer.errors import InputError

HEAD_BYTES = 64
_LFS = b'version https://git-lfs.github.com/spec/'
# What files begin with, what they are, and what is to be done with them.
_KINDS = (
  (_LFS, 'a Git LFS pointer', 'fetch the file itself by `git lfs pull` in its repository'),
  (b'\x93NUMPY', 'a NumPy .npy file',
   'as NAME.npy, uint8 [classes, samples, H, W, C], it needs no converter'),
  (b'PK\x03\x04', 'a zip archive, as .zip and .npz files are',
   'unpack it, or save an array of a .npz file as NAME.npy, uint8 [classes, samples, H, W, C]'),
  (b'\x1f\x8b', 'compressed by gzip', 'unpack it'),
  (b'BZh91AY&SY', 'compressed by bzip2', 'unpack it'),
  (b'\xfd7zXZ', 'compressed by xz', 'unpack it'),
  (b'7z\xbc\xaf', 'a 7z archive', 'unpack it'),
  (b'Rar!', 'a rar archive', 'unpack it'),
  (b'\x89HDF', 'an HDF5 file (.h5 or .mat)', 'save its images as NAME.npy'),
  (b'%PDF', 'a PDF document', 'save its pictures as images'),
)  # fmt: skip


def refuse_other(head: bytes, what: str, expected: str) -> None:
  """Raises InputError if a file that begins with the bytes `head` is of a known other kind.

  Args:
    head: the first HEAD_BYTES of the file.
    what: the name of the file in the message.
    expected: what it should be, such as 'an image'.
  """
  for start, kind, advice in _KINDS:
    if head.removeprefix(b'\xef\xbb\xbf').startswith(start):
      raise InputError(f'{what} is {kind}, not {expected}; {advice}')


def refuse_pointer(path: pathlib.Path, expected: str) -> None:
  """Raises InputError if the file `path` is a Git LFS pointer in place of what is `expected`."""
  head = _head(path)
  if head.startswith(_LFS):
    refuse_other(head, str(path), expected)


def refuse_other_file(path: pathlib.Path, expected: str) -> None:
  """The same as `refuse_other` for the file `path`."""
  refuse_other(_head(path), str(path), expected)


def _head(path: pathlib.Path) -> bytes:
  """Returns the first bytes of a file; b'' if it cannot be read, which others find out."""
  try:
    with open(path, 'rb') as file:
      return file.read(HEAD_BYTES)
  except OSError:
    return b''
