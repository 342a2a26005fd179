"""Recognises what people save by mistake in place of data; most often that is a web page."""

from __future__ import annotations

import os
import pathlib

from hypertransformer.errors import InputError

_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


def is_web_page(head: bytes) -> bool:
  """Tells whether a file that begins with the bytes `head` is an HTML or XML page."""
  text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
  return text.startswith(_PAGE_STARTS)


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raises InputError if a file cannot be read, is empty, or is a web page.

  Args:
    path: the file.
    expected: what it should be, for the message; such as 'a zip archive'.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD_BYTES)
  except OSError as error:
    raise InputError(f'{path} cannot be read ({error.strerror}); expected {expected}') from error
  if not head:
    raise InputError(f'{path} is an empty file; expected {expected}; download or make it again')
  if is_web_page(head):
    raise InputError(
      f'{path} is a web page, not {expected}; the download link probably led to a '
      'confirmation or error page: download the file itself'
    )


def require_folder(path: pathlib.Path) -> None:
  """Raises InputError unless `path` is a folder that can be read."""
  try:
    os.scandir(path).close()
  except OSError as error:
    raise InputError(
      f'{path} cannot be read as a folder ({error.strerror}); correct --input_path'
    ) from error
