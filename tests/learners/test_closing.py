"""Learners that are closed: what is left of them, and what calls meanwhile and afterwards say."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner


def test_a_closed_learner_keeps_no_graph(few_shot_run: Any, make_task: Any) -> None:
  """Neither if the learner itself is kept, nor by what TensorFlow has registered."""
  task = make_task(0)
  learner = FewShotLearner(few_shot_run.folder)
  learner.fit(task.support, task.labels).predict(task.queries)
  graph = weakref.ref(learner._engine._open().session.graph)
  assert graph() is not None
  learner.close()
  gc.collect()
  assert graph() is None
  learner.close()
  assert learner.image_shape == (12, 12, 1)


def test_a_closed_learner_says_so(few_shot_run: Any, make_task: Any) -> None:
  task = make_task(0)
  learner = FewShotLearner(few_shot_run.folder)
  learner.fit(task.support, task.labels)
  learner.close()
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
