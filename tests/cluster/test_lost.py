"""Errors of a lost parameter server, and those at the start, when nothing is lost yet."""

from __future__ import annotations

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.cluster import lost

HEADINGS = 'Graph execution error:\n\nFrom /job:ps/replica:0/task:1:\n'


def broken(text: str = 'Connection refused\nand more') -> tf.errors.UnavailableError:
  return tf.errors.UnavailableError(None, None, HEADINGS + text)


def test_what_does_not_answer_at_the_start_is_asked_again(
  monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
  monkeypatch.setattr(lost, 'SECONDS_BETWEEN_TRIALS', 0)
  errors = [broken(), tf.errors.AbortedError(None, None, '')]

  def ask() -> str:
    if errors:
      raise errors.pop(0)
    return 'answer'

  assert lost.patiently(ask) == 'answer'
  assert lines == [
    'No answer yet, trying again (TensorFlow: Connection refused)',
    'No answer yet, trying again (TensorFlow: AbortedError)',
  ]


def test_another_error_at_the_start_is_raised() -> None:
  def ask() -> None:
    raise tf.errors.NotFoundError(None, None, 'no such checkpoint')

  with pytest.raises(tf.errors.NotFoundError, match='no such checkpoint'):
    lost.patiently(ask)


class Creator(tf.train.SessionCreator):
  def create_session(self) -> tf.Session:
    return tf.Session(graph=tf.Graph())


def test_there_is_no_second_session() -> None:
  once = lost.Once(Creator())
  once.create_session().close()
  with pytest.raises(lost.ServerLost, match='Start all tasks of the cluster again'):
    once.create_session()


def test_the_message_says_by_what_the_loss_was_seen() -> None:
  expected = r'newest checkpoint\. TensorFlow: Connection refused$'
  with pytest.raises(lost.ServerLost, match=expected), lost.as_server_lost():
    raise broken()
