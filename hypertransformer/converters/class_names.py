"""Brings the names of classes into one spelling and into one order.

The same name reaches us in several spellings: with blanks around it from a spreadsheet, with a
slash behind it from a shell, and with `é` as one character or as two (macOS writes two).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_DIGITS = re.compile('([0-9]+)')
_INVISIBLE = '\ufeff\u200b\u2060'  # a byte order mark, and blanks without a width
_SHOWN_LETTERS = 60


def canonical(name: str) -> str:
  """Returns the one spelling of a class name, so that equal classes have equal names.

  Unicode gets its composed form (NFC). Blanks around each part of a name with slashes are cut, and
  those inside become one. Empty parts and `.` are left out: `./birds//crow /` is `birds/crow`.
  Upper and lower case stay apart, because they are apart in sets of letters.

  Returns:
    The name; '' if nothing is left of it.
  """
  parts = [_trimmed(part) for part in unicodedata.normalize('NFC', name).split('/')]
  return '/'.join(part for part in parts if part not in ('', '.'))


def _trimmed(part: str) -> str:
  """Cuts blanks and invisible characters around a text; blanks inside become a single space."""
  before = None
  while part != before:  # they may come in any order
    before, part = part, part.strip().strip(_INVISIBLE)
  return ' '.join(part.split())


def natural_key(name: str) -> tuple[list[tuple[str, int, str]], str]:
  """Returns what names are sorted by, so that numbers in them count as numbers: 2 before 10.

  Names without digits have the same order as texts, and so have names that begin alike and go on
  with numbers of equally many digits, such as those of ImageNet.
  """
  # A piece is a text, or a number as its count of digits without zeros before it, and its digits.
  # Texts and numbers take turns, beginning with a text.
  pieces = _DIGITS.split(name)
  key = [
    (text, len(digits.lstrip('0')), digits.lstrip('0'))
    for text, digits in zip(pieces[::2], [*pieces[1::2], ''], strict=True)
  ]
  return key, name


def shown(name: str) -> str:
  """Returns a name as it is printed: on one line, in letters that can be shown, not too long."""
  text = name if name.isprintable() else ascii(name)[1:-1]
  return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 3] + '...'


def sequence(names: Iterable[str], most: int = 12) -> str:
  """Returns names in their order as text; of more than `most`, those in the middle are left out."""
  listed = [shown(name) for name in names]
  if len(listed) > most:
    listed[most - 3 : -2] = ['...']
  return ', '.join(listed)
