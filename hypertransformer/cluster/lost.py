"""What happens when a parameter server is lost: every other task ends with one message."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import tensorflow.compat.v1 as tf
from absl import logging

# What TensorFlow raises when another task is gone or does not answer, or was started anew and knows
# nothing any more.
ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
SECONDS_BETWEEN_QUESTIONS = 2.0
SECONDS_BETWEEN_TRIALS = 1.0
SECONDS_TO_END = 5.0  # that a step has to fail by itself when a server is lost
MESSAGE = (
  'A parameter server was lost, and the variables with it. Start all tasks of the cluster again: '
  'the run goes on from its newest checkpoint.'
)

T = TypeVar('T')


class ServerLost(RuntimeError):
  """Says that a parameter server was lost. The run cannot go on without it."""

  def __init__(self, why: BaseException | None = None) -> None:
    """Keeps the error by which it was seen, whose reason belongs to the message."""
    super().__init__(MESSAGE if why is None else f'{MESSAGE} TensorFlow: {_reason(why)}')


@contextlib.contextmanager
def as_server_lost() -> Iterator[None]:
  """Turns TensorFlow's errors of a lost task into ServerLost."""
  try:
    yield
  except ERRORS as error:
    raise ServerLost(error) from error


def patiently(call: Callable[[], T]) -> T:
  """Calls something until TensorFlow raises none of ERRORS, and returns what it returns.

  It is for the start, at which nothing can be lost yet. A process that has looked for another one
  before that was there does not find it for another second, in which TensorFlow gives up.
  """
  while True:
    try:
      return call()
    except ERRORS as error:
      logging.info('No answer yet, trying again (TensorFlow: %s)', _reason(error))
      time.sleep(SECONDS_BETWEEN_TRIALS)


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


def _reason(error: BaseException) -> str:
  """The first line of an error of TensorFlow that is more than a heading."""
  lines = [line for line in str(error).splitlines() if re.search(r'\w.*[^:]$', line)]
  return lines[0] if lines else type(error).__name__


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
          logging.error('%s', ServerLost(error))
          os._exit(1)
        return

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  try:
    yield
  finally:
    finished.set()
