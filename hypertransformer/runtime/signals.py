"""The signals that end a program in an orderly way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from absl import logging

# SIGHUP: the terminal was closed. SIGUSR1: Slurm's warning (docs/slurm.md). Windows has neither.
_UNLESS_IGNORED = {getattr(signal, name) for name in ('SIGHUP', 'SIGUSR1') if hasattr(signal, name)}
STOPPING = (signal.SIGTERM, signal.SIGINT, *_UNLESS_IGNORED)

_Signal = TypeVar('_Signal', bound='StopSignal')


def handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
  """Handle the signals STOPPING, and return the handlers before by number.

  Those that are ignored, such as SIGHUP under nohup, stay ignored, but for SIGTERM and SIGINT.
  """
  ignored = {number for number in _UNLESS_IGNORED if signal.getsignal(number) == signal.SIG_IGN}
  return {number: signal.signal(number, handler) for number in STOPPING if number not in ignored}


class StopSignal:
  """Notes the first of the signals STOPPING; a second one ends the process at once.

  It is used in a `with`, in the main thread.

  Attributes:
    received: the number of the signal that has come, or None.
  """

  def __init__(self, reaction: str, interrupts: bool = False) -> None:
    """Keep how the program reacts.

    Args:
      reaction: what the log says that the program does after the first signal.
      interrupts: whether the first signal also raises KeyboardInterrupt.
    """
    self.received: int | None = None
    self._reaction = reaction
    self._interrupts = interrupts
    self._before: dict[int, Any] = {}

  def __enter__(self: _Signal) -> _Signal:
    """Handle the signals from here on."""
    self._before = handle(self._note)
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
      if self._interrupts:
        raise KeyboardInterrupt
      return
    logging.info('%s again: stopping immediately.', name)
    # Whoever waits for the process sees by which signal it ended.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
