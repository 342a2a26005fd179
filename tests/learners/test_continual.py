"""ContinualLearner learns and predicts as learn_sequence does in training and evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model.continual import UNKNOWN, TaskSequence, learn_sequence
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings import flags
from hypertransformer.settings.config import CONTINUAL_SCENARIOS

TASK, CLASS, PIECES = CONTINUAL_SCENARIOS
FIRST = [0, 9, 15, 24]  # the first class of each task, as its number in `tiny`
K = 3


def in_the_graph(run: Any, tasks: list[Any]) -> Any:
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
    outcome = learn_sequence(
      HyperTransformer(flags.settings_from(run.values).model, (12, 12, 1)), sequence, config
    )
    tf.train.Saver().restore(session, tf.train.latest_checkpoint(str(run.folder)))
    kept = [] if outcome.prototypes is None else outcome.prototypes
    return (outcome.pairs, *session.run((outcome.logits, outcome.weights, kept)))


def test_it_is_learn_sequence_one_step_at_a_time(
  kind: tuple[str, dict[str, Any]], continual_run: Any, make_task: Any, open_learner: Any
) -> None:
  """Predictions are exactly the same, on a sequence longer than those of training."""
  scenario, changes = kind
  run, learner = continual_run(scenario, **changes), open_learner(scenario, **changes)
  tasks = [make_task(0 if scenario == PIECES else first, seed) for seed, first in enumerate(FIRST)]
  pairs, logits, weights, kept = in_the_graph(run, tasks)
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
  if changes.get('continual_loss') != 'cross_entropy':
    np.testing.assert_allclose(learner.prototypes(), kept, rtol=1e-5, atol=1e-5)
  assert len(np.unique(answers)) > 2


def test_later_tasks_change_weights_but_no_earlier_prototype(
  make_task: Any, open_learner: Any
) -> None:
  learner = open_learner(TASK)
  learner.learn(*make_task(0).support_set())
  prototypes, weights = learner.prototypes(), learner.weights()
  learner.learn(*make_task(9).support_set())
  np.testing.assert_array_equal(learner.prototypes()[:1], prototypes)
  assert learner.prototypes().shape == (2, K, 4)
  changed = {name for name, value in learner.weights().items() if (value != weights[name]).any()}
  assert changed == {'layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias'}


def test_permuted_names_are_predicted_permuted(make_task: Any, open_learner: Any) -> None:
  one, other = open_learner(CLASS), open_learner(CLASS)
  names, order = np.array(list('abcdef')), np.array([2, 0, 1, 5, 3, 4])
  for t, first in enumerate((0, 9)):
    task = make_task(first)
    one.learn(task.support, names[task.labels + K * t])
    other.learn(task.support, names[order[task.labels + K * t]])
  predicted = one.predict(make_task(0).queries)
  assert set(predicted) & set('abc')
  np.testing.assert_array_equal(
    other.predict(make_task(0).queries), names[order[np.searchsorted(names, predicted)]]
  )
  np.testing.assert_array_equal(
    other.scores(make_task(0).queries), one.scores(make_task(0).queries)
  )


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
