"""Prepares the process of a program; imports little, so that this is done at once."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130  # the exit status after Ctrl-C


class _Stderr(io.TextIOWrapper):
  """stderr whose errors end no program, such as those of a full disk or a lost terminal."""

  def write(self, text: str) -> int:
    with contextlib.suppress(OSError):
      super().write(text)
    return len(text)

  def flush(self) -> None:
    with contextlib.suppress(OSError):
      super().flush()


def start() -> None:
  """Prepare the process of a program, before its slow imports.

  Ctrl-C ends the process at once, with status 130, until the program begins. A closed stdout fails
  when something is written to it, and stderr never fails.
  """
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, by nohup
    signal.signal(signal.SIGINT, end_at_once)
  while (number := os.open(os.devnull, os.O_RDONLY)) <= 2:
    pass  # no file may get the number of a closed stream
  os.close(number)
  if sys.stdout is None:
    sys.stdout = open(1, 'w', closefd=False)  # noqa: SIM115
  if sys.stderr is sys.__stderr__:
    stream = open(2, 'wb', buffering=0, closefd=False)  # noqa: SIM115
    sys.stderr = _Stderr(stream, errors='backslashreplace', line_buffering=True)  # type: ignore[type-var]


def end_at_once(number: int, frame: FrameType | None) -> None:
  """Handle Ctrl-C during imports, where an exception could be taken for an error of theirs."""
  del number, frame
  os._exit(INTERRUPTED)
