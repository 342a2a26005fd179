"""ContinualLearner learns and predicts as learn_sequence does in training and evaluation."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
from concurrent import futures
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.learners import ContinualLearner
from hypertransformer.model.continual import (
  UNKNOWN,
  TaskSequence,
  learn_sequence,
  with_support_statistics,
)
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings import flags
from hypertransformer.settings.config import CONTINUAL_SCENARIOS

TASK, CLASS, PIECES = CONTINUAL_SCENARIOS
FIRST = [0, 9, 15, 24]  # the first class of each task, as its number in `tiny`
K = 3


def in_the_graph(run: Any, tasks: list[Any], statistics: str) -> Any:
  """Learns tasks by learn_sequence, with the checkpoint of a run.

  Returns:
    Pairs, logits, weights and prototypes of the outcome.
  """
  config = flags.settings_from(run.values).continual
  assert config is not None

  def stack(field: str) -> tf.Tensor:
    values = np.stack([getattr(task, field) for task in tasks])
    if config.scenario == PIECES and field in ('queries', 'answers'):
      values = values[:1]
    return tf.constant(
      values / 128 - 1 if values.ndim > 2 else values, tf.float32 if values.ndim > 2 else tf.int32
    )

  with tf.Graph().as_default(), tf.Session() as session:
    sequence = TaskSequence(*map(stack, ('support', 'labels', 'queries', 'answers')))
    model = HyperTransformer(flags.settings_from(run.values).model, (12, 12, 1))
    outcome = learn_sequence(model, sequence, config)
    if statistics == 'support':
      outcome = with_support_statistics(model, sequence, config, outcome)
    tf.train.Saver().restore(session, tf.train.latest_checkpoint(str(run.folder)))
    kept = [] if outcome.prototypes is None else outcome.prototypes
    return (outcome.pairs, *session.run((outcome.logits, outcome.weights, kept)))


@pytest.mark.parametrize('statistics', ['support', 'query'])
def test_it_is_learn_sequence_one_step_at_a_time(
  statistics: str,
  kind: tuple[str, dict[str, Any]],
  continual_run: Any,
  make_task: Any,
  open_learner: Any,
) -> None:
  """Predictions are exactly the same, on a sequence longer than those of training."""
  scenario, changes = kind
  run, learner = continual_run(scenario, **changes), open_learner(scenario, statistics, **changes)
  tasks = [make_task(0 if scenario == PIECES else first, seed) for seed, first in enumerate(FIRST)]
  pairs, logits, weights, kept = in_the_graph(run, tasks, statistics)
  answers = []
  for t, task in enumerate(tasks):
    learner.learn(task.support, task.labels + (K * t if scenario == CLASS else 0))
    assert learner.num_tasks == t + 1
    for pair, (after, tau) in enumerate(pairs):
      if after == t:
        which = tau if scenario == TASK else None
        scores, expected = learner.scores(tasks[tau].queries, which), logits[pair]
        np.testing.assert_allclose(scores, expected[:, : scores.shape[1]], rtol=1e-5, atol=1e-5)
        assert (expected[:, scores.shape[1] :] == UNKNOWN).all()
        predicted = learner.predict(tasks[tau].queries, which)
        np.testing.assert_array_equal(predicted, expected.argmax(axis=1))
        answers.append(predicted)
    if weights:
      model = HyperTransformer(flags.settings_from(run.values).model, (12, 12, 1))
      layout = next(plan.layout for plan in model.plans if plan.name == 'layer_3')
      block = learner.weights()['layer_3/conv/kernel'].reshape(-1, layout.num_blocks).T  # type: ignore[union-attr]
      np.testing.assert_allclose(block, weights['layer_3'][t], rtol=1e-5, atol=1e-6)
  if changes.get('continual_loss') == 'cross_entropy':
    with pytest.raises(InputError, match='cross_entropy'):
      learner.prototypes()
  else:
    np.testing.assert_allclose(learner.prototypes(), kept, rtol=1e-5, atol=1e-5)
  assert len(np.unique(answers)) > 1


def test_a_prediction_does_not_depend_on_other_images_and_classes_count_equally(
  kind: tuple[str, dict[str, Any]], make_task: Any, open_learner: Any
) -> None:
  """A class with one image counts as if it were repeated."""
  scenario, changes = kind
  task, which = make_task(0), 0 if scenario == TASK else None
  one_each = np.unique(task.labels, return_index=True)[1]
  rows = np.append(one_each, np.flatnonzero(task.labels == 1)[1])  # class 1 has two images
  fewer, repeated = open_learner(scenario, **changes), open_learner(scenario, **changes)
  fewer.learn(task.support[rows], task.labels[rows])
  repeated.learn(task.support[rows[[0, 0, 1, 2, 2, 3]]], task.labels[rows[[0, 0, 1, 2, 2, 3]]])
  together = fewer.scores(task.queries, which)
  alone = [fewer.scores(image[None], which)[0] for image in task.queries]
  np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(repeated.scores(task.queries, which), together)


def test_threads_learn_one_task_after_the_other(make_task: Any, open_learner: Any) -> None:
  learner, tasks = open_learner(CLASS), [make_task(9).support_set(10 * t) for t in range(8)]
  with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda task: learner.learn(*task), tasks))
  assert sorted(learner.labels()) == [10 * t + k for t in range(8) for k in range(K)]


def test_labels_are_what_can_be_predicted(make_task: Any, open_learner: Any) -> None:
  of_task, of_class, pieces = open_learner(TASK), open_learner(CLASS), open_learner(PIECES)
  for t in range(2):
    task = make_task(9 * t)
    of_task.learn(task.support, np.array(['x', 'y', 'z'])[task.labels])
    of_class.learn(*task.support_set(10 * t))
    pieces.learn(*make_task(0).support_set(5))
  assert sorted(of_task.labels(1)) == ['x', 'y', 'z']
  assert of_class.labels().tolist() == [0, 1, 2, 10, 11, 12]
  assert pieces.labels().tolist() == [5, 6, 7]
  assert set(of_task.predict(make_task(9).queries, np.int64(1))) <= set('xyz')
  assert [one.scenario for one in (of_task, of_class, pieces)] == [TASK, CLASS, PIECES]


# ---- refused


def test_before_learn_everything_is_refused(
  open_learner: Any, make_task: Any, tmp_path: pathlib.Path
) -> None:
  learner = open_learner(CLASS)
  images = make_task(0).queries
  for call, *arguments in (
    (learner.predict, images),
    (learner.scores, images),
    (learner.labels,),
    (learner.weights,),
    (learner.prototypes,),
    (learner.save, tmp_path / 'x'),
  ):
    with pytest.raises(InputError, match='learn'):
      call(*arguments)
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  ('scenario', 'task'),
  [*((TASK, task) for task in (None, 1, -1, 0.0, False)), (CLASS, 0), (PIECES, 0)],
)
def test_invalid_tasks_are_refused(
  open_learner: Any, make_task: Any, scenario: str, task: Any
) -> None:
  learner = open_learner(scenario)
  learner.learn(*make_task(0).support_set())
  for call in (lambda: learner.predict(make_task(0).queries, task), lambda: learner.labels(task)):
    with pytest.raises(InputError, match=re.escape(f'task={task!r}')):
      call()


@pytest.mark.parametrize(('scenario', 'first'), [(CLASS, 2), (PIECES, 1)])
def test_a_refused_task_is_not_learned(
  open_learner: Any, make_task: Any, scenario: str, first: int
) -> None:
  learner = open_learner(scenario)
  learner.learn(*make_task(0).support_set())
  with pytest.raises(InputError, match=scenario):  # classes 2..4 or 1..3 after 0..2
    learner.learn(*make_task(9).support_set(first))
  with pytest.raises(InputError, match='2 classes'):
    learner.learn(make_task(9).support, [7, 7, 7, 8, 8, 8])
  assert learner.num_tasks == 1


def test_a_model_of_the_merged_method_is_refused(
  continual_run: Any, tmp_path: pathlib.Path
) -> None:
  run = continual_run(CLASS)
  copy = shutil.copytree(run.folder, tmp_path / 'copy')
  (copy / 'flags.json').write_text(
    json.dumps({**run.values, 'continual_method': 'merged_hypertransformer'})
  )
  with pytest.raises(InputError, match='merged_hypertransformer'):
    ContinualLearner(copy)
