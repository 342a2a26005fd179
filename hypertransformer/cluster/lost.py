"""What happens when a parameter server is lost: every other task ends with one message."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import tensorflow.compat.v1 as tf
from absl import logging

# What TensorFlow raises when another task is gone or does not answer, or was started anew and knows
# nothing any more.
ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
SECONDS_BETWEEN_QUESTIONS = 2.0
SECONDS_TO_END = 5.0  # that a step has to fail by itself when a server is lost
MESSAGE = (
  'A parameter server was lost, and the variables with it. Start all tasks of the cluster again: '
  'the run goes on from its newest checkpoint.'
)


class ServerLost(RuntimeError):
  """Says that a parameter server was lost. The run cannot go on without it."""

  def __init__(self) -> None:
    super().__init__(MESSAGE)


@contextlib.contextmanager
def as_server_lost() -> Iterator[None]:
  """Turns TensorFlow's errors of a lost task into ServerLost."""
  try:
    yield
  except ERRORS as error:
    raise ServerLost from error


class Once(tf.train.SessionCreator):
  """Makes a session once.

  A monitored session whose parameter server is lost asks for another one, and would wait for a
  server that nobody starts.
  """

  def __init__(self, creator: tf.train.SessionCreator) -> None:
    """Keeps the creator that makes the session."""
    self._creator = creator
    self._asked = False

  def create_session(self) -> tf.Session:
    """Makes the session; raises ServerLost if it is asked for another one."""
    if self._asked:
      raise ServerLost
    self._asked = True
    return self._creator.create_session()


@contextlib.contextmanager
def asking(question: Callable[[], None]) -> Iterator[None]:
  """Asks all parameter servers now and then, in a thread, whether they are there.

  A step that begins when a server is lost already would wait for ever. There is nothing to save, so
  the process is ended with the message of ServerLost and status 1.

  Args:
    question: raises one of ERRORS if a server does not answer.
  """
  finished = threading.Event()

  def ask() -> None:
    while not finished.wait(SECONDS_BETWEEN_QUESTIONS):
      try:
        question()
      except tf.errors.OpError as error:
        if isinstance(error, ERRORS) and not finished.wait(SECONDS_TO_END):
          logging.error('%s', MESSAGE)
          os._exit(1)
        return

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  try:
    yield
  finally:
    finished.set()
