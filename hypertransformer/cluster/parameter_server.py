"""The task of a parameter server: it holds variables until the chief has ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from absl import logging

from hypertransformer.cluster import agreement, lost, server, signals
from hypertransformer.cluster.board import STARTING, Board
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
  """Waits for the messages of those that train.

  After a signal the variables are still needed for the last checkpoint.
  """
  ended: set[str] = set()
  deadline = float('inf')
  noted: list[int] = []

  def note(number: int, frame: FrameType | None) -> None:
    del frame
    logging.info('%s: %s waits for the chief to end.', signal.Signals(number).name, task.name)
    noted.append(number)
    for each, handler in before.items():
      signal.signal(each, handler)

  before: dict[int, Any] = {}
  for number in signals.NUMBERS:
    before[number] = signal.signal(number, note)
  while time.monotonic() < deadline:
    try:
      board.require_servers()
    except lost.ERRORS as error:
      time.sleep(1.0)  # its message and ours may have been sent at the same moment
      if CHIEF not in ended | set(board.ended()):
        raise lost.ServerLost from error
      return
    ended |= set(board.ended())
    if CHIEF in ended:
      deadline = min(deadline, time.monotonic() + SECONDS_FOR_WORKERS)
      if len(ended) == task.workers:
        return
    elif noted:
      deadline = min(deadline, time.monotonic() + SECONDS_FOR_CHIEF)
    time.sleep(SECONDS_BETWEEN_LOOKS)
