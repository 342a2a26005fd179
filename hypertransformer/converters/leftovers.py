"""Tells images and class folders from what systems and programs leave between them.

A network drive puts `@eaDir` into every folder, and macOS `.DS_Store`. Taken for a class, such a
folder would get the number 0 and shift the numbers of all others.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable

from absl import logging

_MAX_NAMED = 8
# Compared without regard to case, as some of these systems have none.
_NAMES = frozenset(
  (
    # Network drives: Synology and QNAP.
    *('@eadir', '@tmp', '@synoeastream', '@synoresource', '#recycle', '#snapshot'),
    *('@recycle', '@recently-snapshot'),
    # Windows, and its viewers of pictures.
    *('thumbs.db', 'ehthumbs.db', 'ehthumbs_vista.db', 'desktop.ini', '$recycle.bin'),
    *('system volume information', 'picasa.ini', 'zbthumbnail.info'),
    # macOS. The names of its folder icons end in a carriage return, or in what stands for it.
    *('__macosx', 'icon\r', 'icon\uf00d', 'desktop db', 'desktop df'),
    *('network trash folder', 'temporary items'),
    # Linux and Python.
    *('lost+found', '__pycache__'),
  )
)
# Names of files only: copies that editors keep, downloads that have not ended.
_FILES = re.compile(
  r'.*~|#.*#|.*\.(?:bak|orig|tmp|temp|swp|swo|part|partial|crdownload|download|pyc)', re.I | re.S
)
# Lock files of office programs (~$name), and streams beside a file that were copied as files of
# their own: name:Zone.Identifier of Windows (where a name can have no colon, another character or
# none stands for it), name:AFP_AfpInfo and name@SynoEAStream of network drives.
_ANY = re.compile(
  r'~\$.*|.*zone\.identifier|.*:\$data|.*:(?:afp_\w+|com\.(?:apple|dropbox)\..*)'
  r'|.*@syno(?:eastream|resource)',
  re.I | re.S,
)


def is_leftover(name: str, is_file: bool) -> bool:
  """Tells whether a file or folder of this name is passed over.

  That is so if it is hidden, that is, if its name begins with a dot, or if it is known to be left
  behind by network drives, Windows, macOS, Linux or programs.

  Args:
    name: the name, without the folders above.
    is_file: whether it is a file; some names are passed over for files only.
  """
  return (
    name.startswith('.') or is_of_system(name) or (is_file and _FILES.fullmatch(name) is not None)
  )


def is_of_system(name: str) -> bool:
  """The same, but only for names that systems give and nobody would give to an image or a class.

  A hidden file, or a copy called x.jpg.orig, may be meant where somebody wrote it into a list.
  """
  return (
    name.casefold() in _NAMES
    or _ANY.fullmatch(name) is not None
    or name.startswith(('._', '.DS_Store', '.Trash'))
  )


def passed_in_path(path: str, is_listed: bool = False) -> str | None:
  """Returns the start of a path, up to the first part that is passed over; None if none is.

  Args:
    path: the path of a file, with / between its parts; that of a folder if it ends in one.
    is_listed: whether somebody wrote the path into a list; then only `is_of_system` counts.
  """
  parts = path.split('/')
  for number, part in enumerate(parts, 1):
    is_file = number == len(parts)
    if part not in ('', '.', '..') and (
      is_of_system(part) if is_listed else is_leftover(part, is_file)
    ):
      return '/'.join(parts[:number])
  return None


def report(where: object, paths: Iterable[str]) -> None:
  """Logs a warning that says what was passed over, and how often, if anything was.

  Args:
    where: the folder or archive that was read.
    paths: each file and folder that was passed over; those given twice count once.
  """
  counts = collections.Counter(path.rpartition('/')[2] for path in sorted(set(paths)))
  if not counts:
    return
  listed = [
    f'{name!r}' + (f' ({count} times)' if count > 1 else '')
    for name, count in counts.most_common(_MAX_NAMED)
  ]
  more = f' and {len(counts) - _MAX_NAMED} other names' if len(counts) > _MAX_NAMED else ''
  logging.warning(
    '%s: hidden files and leftovers of systems and programs are passed over: %s%s',
    where,
    ', '.join(listed),
    more,
  )
