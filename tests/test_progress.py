"""Progress on a terminal, with the log above it, and as lines of the log elsewhere."""

from __future__ import annotations

import fcntl
import logging as std_logging
import os
import pty
import re
import select
import struct
import termios
import types
from collections.abc import Iterator
from typing import TextIO

import pytest
import tqdm
from absl import logging

from hypertransformer import progress as progress_module
from hypertransformer.progress import progress, show


class Terminal:
  """A pseudo-terminal in the place of stderr."""

  def __init__(self) -> None:
    self._reader, self._writer = pty.openpty()
    self.stream: TextIO = os.fdopen(self._writer, 'w', encoding='utf-8')

  def resize(self, lines: int, columns: int) -> None:
    fcntl.ioctl(self._writer, termios.TIOCSWINSZ, struct.pack('4H', lines, columns, 0, 0))

  def screen(self) -> list[str]:
    """The lines that a person sees in the end; a carriage return goes back to their start."""
    self.stream.flush()
    found = b''
    while select.select([self._reader], [], [], 0.05)[0]:
      found += os.read(self._reader, 65536)
    lines = []
    for line in found.decode().split('\r\n'):
      shown = ''
      for part in line.split('\r'):
        shown = part + shown[len(part) :]
      lines.append(shown.rstrip())
    return lines

  def close(self) -> None:
    self.stream.close()
    os.close(self._reader)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
  made = Terminal()
  handler = logging.get_absl_handler().python_handler
  before = handler.stream
  # pytest sets sys.stderr itself once more before the test begins.
  monkeypatch.setattr(progress_module, 'sys', types.SimpleNamespace(stderr=made.stream))
  yield made
  handler.setStream(before)
  made.close()


def say(text: str) -> None:
  """Writes a line of the log, as absl does in a program."""
  handler = logging.get_absl_handler().python_handler
  std_logging.StreamHandler.emit(
    handler, logging.get_absl_logger().makeRecord('absl', 20, 'a.py', 1, text, (), None)
  )


def test_one_line_renews_itself_below_the_log(terminal: Terminal) -> None:
  terminal.resize(24, 80)
  with progress('omniglot', 400, 'drawings', 100) as bar:
    show(bar, 110, 'loss 1')
    say('a checkpoint is saved')
    show(bar, 200, 'loss 2')
    say('another one')
  say('the end')
  first, second, line, end, _ = terminal.screen()
  assert first.endswith('] a checkpoint is saved')
  assert second.endswith('] another one')
  assert re.match(r'omniglot: 200/400 drawings, loss 2, +[\d.]+k?/s, \d\d:\d\d left ', line)
  assert end.endswith('] the end')


@pytest.mark.parametrize(('lines', 'columns'), [(0, 0), (24, 60), (50, 120)])
def test_a_long_line_is_cut_at_the_width_of_the_terminal(
  terminal: Terminal, lines: int, columns: int
) -> None:
  """Also if the terminal reports a size of 0, as some do."""
  terminal.resize(lines, columns)
  with progress('step', 400) as bar:
    show(bar, 1, 'loss ' * 100)
  first, _ = terminal.screen()
  assert first.startswith('step: 1/400, loss')
  assert len(first) <= (columns or 80)


def test_elsewhere_a_line_is_logged_every_10_seconds_and_at_the_end(
  lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
  now = [100.0]
  monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
  with progress('step', 100) as bar:
    for done in range(1, 26):
      now[0] += 1.0
      show(bar, done, f'loss {done}')
  assert lines == [
    'step: 10/100, loss 10,  1.00/s, 01:30 left',
    'step: 20/100, loss 20,  1.00/s, 01:20 left',
    'step: 25/100, loss 25,  1.00/s, 01:15 left',
  ]


def test_short_work_logs_nothing(lines: list[str]) -> None:
  with progress('step', 2) as bar:
    show(bar, 2)
  assert lines == []
