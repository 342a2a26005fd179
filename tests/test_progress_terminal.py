"""Lines of progress on a terminal: one line that renews itself, with the log above it."""

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
from absl import logging

from hypertransformer import progress


class Terminal:
  """A pseudo-terminal in the place of stderr.

  Attributes:
    stream: what programs write to.
  """

  def __init__(self) -> None:
    self._reader, self._writer = pty.openpty()
    self.stream: TextIO = os.fdopen(self._writer, 'w', encoding='utf-8')

  def resize(self, lines: int, columns: int) -> None:
    fcntl.ioctl(self._writer, termios.TIOCSWINSZ, struct.pack('4H', lines, columns, 0, 0))

  def written(self) -> str:
    """All that was written since the last call."""
    self.stream.flush()
    found = b''
    while select.select([self._reader], [], [], 0.05)[0]:
      found += os.read(self._reader, 65536)
    return found.decode()

  def screen(self, text: str) -> list[str]:
    """The lines that a person sees at last: \r goes back to the start of the line."""
    lines = []
    for line in text.replace('\x1b[A', '').split('\r\n'):
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
  monkeypatch.setattr(progress, 'sys', types.SimpleNamespace(stderr=made.stream))
  monkeypatch.setattr(progress.TerminalLine, 'SECONDS_BETWEEN_CHANGES', 0.0)
  handler.setStream(made.stream)
  yield made
  handler.setStream(before)
  made.close()


def say(text: str) -> None:
  """Writes a line of the log, as absl does in a program."""
  handler = logging.get_absl_handler().python_handler
  std_logging.StreamHandler.emit(
    handler, logging.get_absl_logger().makeRecord('absl', 20, 'a.py', 1, text, (), None)
  )


def test_a_line_renews_itself_with_rate_and_time_left(terminal: Terminal) -> None:
  with progress.terminal_line('training', 400, 'steps', 100) as line:
    assert line is not None
    for done in range(101, 201):
      line.show(done, f'loss {done}')
  text = terminal.written()
  assert text.count('\n') == 1, 'one line, and its end'
  assert text.count('\r') > 50
  (last, _) = terminal.screen(text)
  assert re.fullmatch(
    r'training: 200 of 400 \|.{10}\| +[\d.]+k? steps/s, \d\d:\d\d left, loss 200', last
  ), last


def test_the_log_is_written_above_it(terminal: Terminal) -> None:
  with progress.terminal_line('training', 400, 'steps') as line:
    assert line is not None
    line.show(10, 'loss 1')
    say('a checkpoint is saved')
    line.show(20, 'loss 2')
    say('another one')
  say('the end')
  lines = terminal.screen(terminal.written())
  assert lines[0].endswith('] a checkpoint is saved')
  assert lines[1].endswith('] another one')
  assert lines[2].startswith('training: 20 of 400')
  assert lines[3].endswith('] the end')
  assert sum('training' in line for line in lines) == 1


def test_the_log_is_given_back_after_an_error(terminal: Terminal) -> None:
  handler = logging.get_absl_handler().python_handler
  with pytest.raises(ZeroDivisionError), progress.terminal_line('training', 4, 'steps'):
    raise ZeroDivisionError
  assert handler.stream is terminal.stream


@pytest.mark.parametrize(('lines', 'columns'), [(0, 0), (24, 60), (0, 70), (24, 0), (50, 120)])
def test_a_long_line_is_cut_at_the_width_of_the_terminal(
  terminal: Terminal, lines: int, columns: int
) -> None:
  """Also if the terminal tells a size of 0, as some do."""
  terminal.resize(lines, columns)
  with progress.terminal_line('training', 400, 'steps') as line:
    assert line is not None
    line.show(1, 'loss ' * 100)
  first, _ = terminal.screen(terminal.written())
  assert first.startswith('training: 1 of 400 |')
  assert len(first) <= (columns or 80)


def test_data_files_and_evaluations_have_such_a_line_too(terminal: Terminal) -> None:
  made = progress.Progress('omniglot', 3, 'drawings')
  for done in (1, 2, 3):
    made.update(done)
  with progress.EvaluationLine('val', 7, 2, 'tasks') as evaluated:
    evaluated(1, 0.25)
    evaluated(2, 0.5)
  first, second, _ = terminal.screen(terminal.written())
  assert first.startswith('omniglot: 3 of 3 |')
  assert 'drawings/s, 00:00 left' in first
  assert second.startswith('step 7  val: 2 of 2 |')
  assert second.endswith('accuracy 50.0 %')


def test_there_is_none_in_a_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
  with (tmp_path / 'log').open('w') as file:
    monkeypatch.setattr(progress, 'sys', types.SimpleNamespace(stderr=file))
    with progress.terminal_line('training', 4, 'steps') as line:
      assert line is None
    assert not progress.is_terminal(file)
  assert (tmp_path / 'log').read_text() == ''
