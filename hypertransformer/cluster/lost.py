"""What happens when a parameter server is lost: every other task ends with one message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow.compat.v1 as tf

# What TensorFlow raises when another task is gone, or was started anew and knows nothing any more.
ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError)
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
