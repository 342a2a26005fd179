"""Errors of a lost parameter server, and those at the start, when nothing is lost yet."""

from __future__ import annotations

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.cluster import lost


class Creator(tf.train.SessionCreator):
  """Raises these errors one after the other, and then makes a session."""

  def __init__(self, *errors: Exception) -> None:
    self.errors = list(errors)

  def create_session(self) -> tf.Session:
    if self.errors:
      raise self.errors.pop(0)
    return tf.Session(graph=tf.Graph())


def broken(text: str = 'Socket closed\nand more') -> tf.errors.UnavailableError:
  return tf.errors.UnavailableError(None, None, text)


def test_a_connection_that_breaks_at_the_start_is_made_again(
  monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
  monkeypatch.setattr(lost, 'SECONDS_BETWEEN_TRIALS', 0)
  aborted = tf.errors.AbortedError(None, None, 'Session is not found')
  with lost.Once(Creator(broken(), aborted)).create_session() as session:
    assert session.graph.get_operations() == []
  assert [text.count('trying again') for text in warnings] == [1, 1]
  assert 'TensorFlow: Socket closed)' in warnings[0]


def test_another_error_at_the_start_is_raised() -> None:
  creator = Creator(tf.errors.NotFoundError(None, None, 'no such checkpoint'))
  with pytest.raises(tf.errors.NotFoundError, match='no such checkpoint'):
    lost.Once(creator).create_session()


def test_there_is_no_second_session() -> None:
  once = lost.Once(Creator())
  once.create_session().close()
  with pytest.raises(lost.ServerLost, match='Start all tasks of the cluster again'):
    once.create_session()


def test_the_message_says_by_what_the_loss_was_seen() -> None:
  expected = r'newest checkpoint\. TensorFlow: Socket closed$'
  with pytest.raises(lost.ServerLost, match=expected), lost.as_server_lost():
    raise broken()
