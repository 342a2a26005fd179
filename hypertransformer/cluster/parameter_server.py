"""The task of a parameter server: it holds variables until the chief has ended."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from absl import logging

from hypertransformer.cluster import agreement, lost, server, signals
from hypertransformer.cluster.board import LEFT, STARTING, Board
from hypertransformer.cluster.roles import CHIEF, Task

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_FOR_WORKERS = 20.0  # that workers have to end, after the chief
SECONDS_FOR_CHIEF = 60.0  # that the chief has to end, after a signal


def serve(task: Task, folder: str, values: Mapping[str, Any]) -> None:
  """Serves variables until the chief and the workers have ended.

  Args:
    task: this process.
    folder: the folder of the run.
    values: the value of every flag by its name.

  Raises:
    InputError: the port is taken, or folder or flags are not those of the chief.
    ServerLost: another parameter server was lost.
  """
  with signals.end_at_once():
    target = server.start(task).target
    logging.info('%s is ready at %s.', task.name, task.address)
    board = Board(task, target)
    run, _ = board.wait(STARTING)
    agreement.require_same_folder(folder, run)
    agreement.require_same_flags(values, run)
  _until_all_have_ended(task, board)
  logging.info('%s ends: the run has ended.', task.name)


def _until_all_have_ended(task: Task, board: Board) -> None:
  """Waits for the messages of those that train."""
  left: set[str] = set()
  state, since = (False, False), time.monotonic()
  with _noting_signals(task) as noted:
    while True:
      try:
        board.require_servers()
      except lost.ERRORS as error:
        time.sleep(1.0)  # its message and ours may have been sent at the same moment
        if CHIEF not in _after(left, board):
          raise lost.ServerLost(error) from error
        return
      left = _after(left, board)
      if CHIEF in left and len(left) == task.workers:
        return
      if state != (CHIEF in left, bool(noted)):
        state, since = (CHIEF in left, bool(noted)), time.monotonic()
      waited = time.monotonic() - since
      if waited > (SECONDS_FOR_WORKERS if CHIEF in left else SECONDS_FOR_CHIEF) and any(state):
        return
      time.sleep(SECONDS_BETWEEN_LOOKS)


def _after(left: set[str], board: Board) -> set[str]:
  """The tasks that have left, when what was said since is heard."""
  left = set(left)
  for what, name in board.heard():
    if what == LEFT:
      left.add(name)
    else:
      left.discard(name)
  return left


@contextlib.contextmanager
def _noting_signals(task: Task) -> Iterator[list[int]]:
  """Notes the first signal, as the variables are still needed for the last checkpoint.

  A second one ends the process at once.
  """
  noted: list[int] = []
  before: dict[int, Any] = {}

  def restore() -> None:
    for number, handler in before.items():
      signal.signal(number, handler)

  def note(number: int, frame: FrameType | None) -> None:
    del frame
    logging.info('%s: %s waits for the chief to end.', signal.Signals(number).name, task.name)
    noted.append(number)
    restore()

  for number in signals.NUMBERS:
    before[number] = signal.signal(number, note)
  try:
    yield noted
  finally:
    restore()
