"""Recognises what people have by mistake in place of data: web pages, pointers, folders."""

from __future__ import annotations

import os
import pathlib

from hypertransformer.errors import InputError
from hypertransformer.files import paths

_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
# The first line of what Git LFS leaves in place of a large file that was not downloaded.
_POINTER_START = b'version https://git-lfs.github.com/spec/'


def is_web_page(head: bytes) -> bool:
  """Tells whether a file that begins with the bytes `head` is an HTML or XML page."""
  text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
  return text.startswith(_PAGE_STARTS)


def is_pointer(head: bytes) -> bool:
  """Tells whether a file that begins with the bytes `head` only points to one in Git LFS."""
  return head.removeprefix(_BYTE_ORDER_MARK).startswith(_POINTER_START)


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raises InputError if a file cannot be read, is empty, a web page, or a pointer of Git LFS.

  Args:
    path: the file.
    expected: what it should be, for the message; such as 'a zip archive'.
  """
  name = paths.shown(path)
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD_BYTES)
  except IsADirectoryError as error:
    raise InputError(
      f'{name} cannot be read (Is a directory); expected {expected}, not a folder: give the file '
      'itself'
    ) from error
  except (OSError, ValueError) as error:
    raise InputError(
      f'{name} cannot be read ({paths.reason(error)}); expected {expected}'
    ) from error
  if not head:
    raise InputError(f'{name} is an empty file; expected {expected}; download or make it again')
  if is_web_page(head):
    raise InputError(
      f'{name} is a web page, not {expected}; the download link probably led to a '
      'confirmation or error page: download the file itself'
    )
  if is_pointer(head):
    raise InputError(
      f'{name} is a pointer of Git LFS, not {expected}: the file itself was not downloaded; run '
      '`git lfs pull` in its repository'
    )


def require_folder(path: pathlib.Path) -> None:
  """Raises InputError unless `path` is a folder that can be read."""
  try:
    os.scandir(path).close()
  except NotADirectoryError as error:
    raise InputError(
      f'{paths.shown(path)} cannot be read as a folder (Not a directory); expected the folder that '
      'the files are in: correct --input_path'
    ) from error
  except (OSError, ValueError) as error:
    raise InputError(
      f'{paths.shown(path)} cannot be read as a folder ({paths.reason(error)}); '
      'correct --input_path'
    ) from error
