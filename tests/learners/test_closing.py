"""Learners that are closed: what is left of them, and what calls meanwhile and afterwards say."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner


def graphs() -> int:
  """Count the graphs that are still there."""
  gc.collect()
  return sum(type(each) is tf.Graph for each in gc.get_objects())


def test_a_closed_learner_says_so_and_keeps_no_graph(few_shot_run: Any, make_task: Any) -> None:
  """Neither if the learner itself is kept, nor by what TensorFlow has registered."""
  task, before = make_task(0), graphs()
  learner = FewShotLearner(few_shot_run.folder)
  learner.fit(task.support, task.labels).predict(task.queries)
  assert graphs() > before
  for _ in range(2):
    learner.close()
  assert graphs() == before
  assert learner.image_shape == (12, 12, 1)
  for call in (
    lambda: learner.fit(task.support, task.labels),
    lambda: learner.predict(task.queries),
    learner.weights,
  ):
    with pytest.raises(InputError, match='closed'):
      call()


@pytest.mark.parametrize('cancelled', [True, False])
def test_a_call_while_it_is_closed_says_so(
  cancelled: bool, few_shot_run: Any, make_task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """TensorFlow raises one error if the call is running and another one if it is about to."""
  task = make_task(0)
  learner = FewShotLearner(few_shot_run.folder)
  learner.fit(task.support, task.labels)
  run = tf.Session.run

  def closed_by_another_thread(session: tf.Session, *arguments: Any) -> Any:
    learner.close()
    if cancelled:
      raise tf.errors.CancelledError(None, None, 'Session has been closed.')
    return run(session, *arguments)

  monkeypatch.setattr(tf.Session, 'run', closed_by_another_thread)
  with pytest.raises(InputError, match='closed'):
    learner.predict(task.queries)
