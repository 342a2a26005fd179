"""The signals that end a program in an orderly way."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, TypeVar

from absl import logging

STOPPING = (signal.SIGTERM, signal.SIGINT)

_Signal = TypeVar('_Signal', bound='StopSignal')


class StopSignal:
  """Notes the first SIGTERM or Ctrl-C; a second one ends the process at once.

  It is used in a `with`, in the main thread.

  Attributes:
    received: the number of the signal that has come, or None.
  """

  def __init__(self, reaction: str) -> None:
    """Keep what the log says that the program does after the first signal."""
    self.received: int | None = None
    self._reaction = reaction
    self._before: dict[int, Any] = {}

  def __enter__(self: _Signal) -> _Signal:
    """Handle the signals from here on."""
    self._before = {number: signal.signal(number, self._note) for number in STOPPING}
    return self

  def __exit__(self, *exception: object) -> None:
    """Restore the handlers that were there before."""
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    name = signal.Signals(number).name
    if self.received is None:
      logging.info('%s: %s.', name, self._reaction)
      self.received = number
      return
    logging.info('%s again: stopping immediately.', name)
    # Whoever waits for the process sees by which signal it ended.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
