"""Recognising what people save in place of data: most often a web page."""

from __future__ import annotations

import os
import pathlib

from hypertransformer.errors import InputError

_HEAD_BYTES = 512
_PAGE_STARTS = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<!--')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


def is_web_page(head: bytes) -> bool:
  """Whether the first bytes of a file are those of an HTML or XML page."""
  text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
  return text.startswith(_PAGE_STARTS)


def refuse_page_or_empty(path: pathlib.Path, expected: str) -> None:
  """Raises InputError when `path` is unreadable, empty or a web page instead of `expected`."""
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
