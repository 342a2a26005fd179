"""Reads the tables and lists by which people tell the class of each image."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterator

from hypertransformer.converters import class_names, signatures
from hypertransformer.data import files
from hypertransformer.errors import InputError

_COLUMNS = ('filename', 'label')


def rows(path: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """Reads a CSV file with the columns filename and label, and perhaps others.

  Blanks around the names of the columns, and upper case in them, do no harm.

  Yields:
    For each row its place, such as 'train.csv, line 2', the file name as it is, and the label in
    the spelling of `class_names.canonical`.

  Raises:
    InputError: this is not such a file, or a row lacks one of the two; the message has the line.
  """
  table = csv.DictReader(io.StringIO(text(path, 'a CSV file'), newline=''), strict=True)
  try:
    header = [class_names.canonical(name).lower() for name in table.fieldnames or ()]
    if [header.count(name) for name in _COLUMNS] != [1, 1]:
      raise InputError(
        f'{path}: the first line is {",".join(table.fieldnames or ())[:80]!r}; expected the '
        'columns filename,label, each of them once'
      )
    table.fieldnames = header
    for row in table:
      where = f'{path}, line {table.line_num}'
      name, label = row['filename'] or '', class_names.canonical(row['label'] or '')
      if not name.strip() or not label:
        raise InputError(f'{where}: the file name or the label is missing; expected filename,label')
      if '\0' in name + label:
        raise InputError(f'{where}: there is a NUL character in it; make the table again as text')
      yield where, name, label
  except csv.Error as error:
    raise InputError(
      f'{path}, line {table.reader.line_num}: {error}; expected filename,label'
    ) from error


def lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Reads a list of class names, one on each line; empty lines are left out.

  Yields:
    The place of each name, such as 'train.txt, line 2', and the name as it is.
  """
  for number, line in enumerate(text(path, 'a list of class names').splitlines(), 1):
    if line.strip():
      yield f'{path}, line {number}', line


def text(path: pathlib.Path, expected: str) -> str:
  """Reads a text file in UTF-8, with or without a byte order mark.

  Raises:
    InputError: it cannot be read, is empty, or is no text; the message says `expected`.
  """
  files.refuse_page_or_empty(path, expected)
  signatures.refuse_other_file(path, expected)
  try:
    return path.read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError(
      f'{path} is not text in UTF-8 ({error.reason}); expected {expected}'
    ) from error
