"""Signals that come while TensorFlow waits for another task.

Python runs the handler of a signal only when the call into TensorFlow returns. A step of a
synchronous run returns when all workers have done theirs, and these may have ended already.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import tensorflow.compat.v1 as tf
from absl import logging

NUMBERS = (signal.SIGTERM, signal.SIGINT)
RELEASE_AFTER = 5.0  # seconds that a step may take after a signal before it is not waited for
EXIT_AFTER = 60.0  # seconds after which the process is ended, whatever it does


@contextlib.contextmanager
def end_at_once() -> Iterator[None]:
  """Lets a signal end the process at once, also while it waits for other tasks to start."""
  before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def not_waiting_for_ever(release: Callable[[], None]) -> Iterator[None]:
  """Sees to it that the block ends after SIGTERM or Ctrl-C, even if it waits for other tasks.

  The handlers of the signals must be Python's, as hooks.SignalHook sets them.

  Args:
    release: is called, in a thread, if the block has not ended a few seconds after a signal; it
      makes what the block waits for happen.
  """
  finished = threading.Event()
  ours, theirs = socket.socketpair()
  theirs.setblocking(False)
  before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

  def watch() -> None:
    while (received := ours.recv(1)) and received[0] not in NUMBERS:
      pass
    if not received or finished.wait(RELEASE_AFTER):
      return
    with contextlib.suppress(tf.errors.OpError):  # another task may be gone; then we just exit
      release()
    if not finished.wait(EXIT_AFTER):
      logging.error('Other tasks do not answer: ending without another checkpoint.')
      os._exit(1)

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  try:
    yield
  finally:
    finished.set()
    signal.set_wakeup_fd(before)
    theirs.close()
    thread.join()
    ours.close()
