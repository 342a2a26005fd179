"""Collects the images that cannot be read, and names them."""

from __future__ import annotations

import sys

from hypertransformer.errors import InputError

_MAX_NAMED = 10  # broken images that an error names


class BrokenImages:
  """Collects the images that could not be read.

  Attributes:
    count: how many there are.
  """

  def __init__(self, skip: bool) -> None:
    """Begins with none; `skip` says whether such images may be left out."""
    self.count = 0
    self._skip = skip
    self._reasons: list[str] = []

  def add(self, reason: str) -> None:
    """Counts one more image.

    Args:
      reason: what is wrong with it; the text begins with its path.

    Raises:
      InputError: this is the tenth one, and they may not be left out.
    """
    self.count += 1
    if self._skip:
      print(f'skipped: {reason}', file=sys.stderr)
      return
    self._reasons.append(reason)
    if self.count == _MAX_NAMED:
      self.check()

  def check(self) -> None:
    """Raises InputError, with the reasons, if there are any and they may not be left out."""
    if self._reasons:
      first = 'the first ' if self.count == _MAX_NAMED else ''
      listed = ''.join(f'\n  {reason}' for reason in self._reasons)
      raise InputError(
        f'{first}{self.count} images cannot be read; replace them, or give --skip_broken to leave '
        f'out all such images:{listed}'
      )
