"""Loss terms and schedules, against numbers by hand and recorded numbers of the original."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import layers
from hypertransformer.settings.config import LossConfig, OptimizerConfig
from hypertransformer.training import losses, optimizer

RECORDED = pathlib.Path(__file__).resolve().parents[3] / 'shared/golden/schedule.json'

# From shared/golden/schedule.json: the rate starts at 0.02 and falls by a factor of 0.95 in 100,000
# steps; there are 3 heads, with 100 warm-up steps.
LEARNING_RATES = {
  0: 0.019999999552965164,
  1: 0.01999998837709427,
  99999: 0.019000008702278137,
  100000: 0.01899999938905239,
  250000: 0.017592962831258774,
}
WARMUP = {
  0: [1.0, 0.0, 0.0, 0.0],
  10: [0.699999988079071, 0.30000001192092896, 0.0, 0.0],
  25: [0.25, 0.75, 0.0, 0.0],
  40: [0.0, 0.7999999523162842, 0.20000004768371582, 0.0],
  60: [0.0, 0.19999992847442627, 0.8000000715255737, 0.0],
  75: [0.0, 0.0, 0.7499998807907104, 0.25],
  90: [0.0, 0.0, 0.2999998927116394, 0.699999988079071],
  100: [0.0, 0.0, 0.0, 1.0],
  150: [0.0, 0.0, 0.0, 1.0],
}


@pytest.fixture
def run():
  """run(fetches) initialises the variables of the test's graph and evaluates tensors in it."""
  with tf.Graph().as_default(), tf.Session() as session:

    def evaluate(fetches):
      session.run(tf.global_variables_initializer())
      return session.run(fetches)

    yield evaluate


def int64(value: int) -> tf.Tensor:
  """A constant of the type of the global step."""
  return tf.constant(value, tf.int64)


def test_the_numbers_above_are_the_recorded_ones():
  if not RECORDED.exists():
    pytest.skip(f'{RECORDED} is not here')
  recorded = json.loads(RECORDED.read_text())
  assert {
    int(step): rate for step, rate in recorded['learning_rate']['values'].items()
  } == LEARNING_RATES
  assert {int(step): weights for step, weights in recorded['warmup']['values'].items()} == WARMUP


def test_the_learning_rate_is_that_of_the_original(run):
  config = OptimizerConfig(learning_rate=0.02, decay_steps=1e5, decay_rate=0.95)
  ours = run([optimizer.learning_rate(config, int64(step)) for step in LEARNING_RATES])
  np.testing.assert_allclose(ours, list(LEARNING_RATES.values()), rtol=1e-6)
  np.testing.assert_allclose(
    ours, [0.02 * 0.95 ** (step / 1e5) for step in LEARNING_RATES], rtol=1e-6
  )


def test_the_learning_rate_without_decay_is_constant(run):
  config = OptimizerConfig(learning_rate=0.5, decay_steps=10.0, decay_rate=1.0)
  assert run(optimizer.learning_rate(config, int64(12345))) == 0.5


def test_warmup_weights_are_those_of_the_original(run):
  ours = run([losses.warmup_weights(int64(step), 100, 3) for step in WARMUP])
  np.testing.assert_allclose(ours, list(WARMUP.values()), atol=1e-6)


@pytest.mark.parametrize(
  ('step', 'expected'),
  [
    (0, [1, 0, 0]),
    (5, [0.75, 0.25, 0]),
    (20, [0, 1, 0]),
    (30, [0, 0.5, 0.5]),
    (40, [0, 0, 1]),
    (10**6, [0, 0, 1]),
  ],
)
def test_warmup_weights_of_two_heads_are_those_by_hand(run, step, expected):
  """A stage has S = 40 / 2 steps. Head 2 is at its peak at S; the final logits come in after S."""
  np.testing.assert_allclose(run(losses.warmup_weights(int64(step), 40, 2)), expected, atol=1e-6)


def test_warmup_weights_add_up_to_one(run):
  weights = run([losses.warmup_weights(int64(step), 100, 3) for step in range(0, 120, 7)])
  np.testing.assert_allclose(np.sum(weights, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_the_cross_entropy_is_that_by_hand(run, smoothing):
  logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
  expected = 0.0
  for row, label in zip(logits, (0, 1), strict=True):
    log_probabilities = row - math.log(sum(math.exp(x) for x in row))
    targets = [(1 - smoothing) * (label == k) + smoothing / 3 for k in range(3)]
    expected -= sum(t * p for t, p in zip(targets, log_probabilities, strict=True)) / 2
  ours = losses.cross_entropy(tf.constant(logits, tf.float32), tf.constant([0, 1]), smoothing)
  assert run(ours) == pytest.approx(expected, rel=1e-6)


def test_unknown_classes_have_no_part_in_the_cross_entropy(run):
  """It is as if they were not there, with smoothing too. The first pair knows 2 of 3 classes."""
  unknown = -1e9
  logits = tf.constant(
    [[[1.0, 2.0, unknown], [0.5, -1.0, unknown]], [[1.0, 2.0, 3.0], [0.0, 1.0, 0.5]]]
  )
  labels = tf.constant([[0, 1], [2, 0]])
  ours = run(losses.cross_entropy(logits, labels, 0.2, unknown))
  parts = run(
    [
      losses.cross_entropy(logits[0, :, :2], labels[0], 0.2),
      losses.cross_entropy(logits[1], labels[1], 0.2),
    ]
  )
  assert ours == pytest.approx(np.mean(parts), rel=1e-6)
  assert run(layers.hits(logits, labels)).tolist() == [[0, 0], [1, 0]]


def test_cross_entropy_of_equal_logits_is_log_k(run):
  assert run(losses.cross_entropy(tf.zeros([5, 7]), tf.zeros([5], tf.int32))) == pytest.approx(
    math.log(7)
  )


@pytest.mark.parametrize('dtype', [tf.int32, tf.int64])
def test_accuracy_is_the_mean_of_hits(run, dtype):
  logits = tf.constant([[0.0, 1.0], [3.0, 2.0], [-1.0, -2.0], [0.0, 5.0]])
  labels = tf.constant([1, 1, 0, 1], dtype)
  each, mean = run((layers.hits(logits, labels), layers.accuracy(logits, labels)))
  assert each.tolist() == [1, 0, 1, 1]
  assert mean == 0.75


def test_the_weighted_cross_entropy_is_that_by_hand(run):
  terms = [tf.constant(2.0), tf.constant(3.0), tf.constant(5.0)]
  weights = [tf.constant(0.5), tf.constant(0.0), tf.constant(2.0)]
  assert losses.weighted_cross_entropy(terms, None) is terms[-1]
  assert run(losses.weighted_cross_entropy(terms, weights)) == 11.0
  with pytest.raises(ValueError, match='zip'):
    losses.weighted_cross_entropy(terms, weights[:2])


def test_the_shared_head_predicts_real_classes(run):
  """Of the classes 5..8, class 5 is the first output. A second call shares the variables."""
  features = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], np.float32)
  classes = np.array([5, 8, 6])
  head = losses.shared_head(tf.constant(features), tf.constant(classes), 5, 4)
  losses.shared_head(tf.constant(features), tf.constant(classes), 5, 4)
  variables = tf.trainable_variables()
  assert {v.op.name: v.shape.as_list() for v in variables} == {
    'loss/shared_head/kernel': [2, 4],
    'loss/shared_head/bias': [4],
  }
  (kernel, bias), loss, accuracy = run((variables, head.loss, head.accuracy))
  logits = features @ kernel + bias
  picked = logits[range(3), classes - 5] - np.log(np.exp(logits).sum(1))
  assert loss == pytest.approx(-picked.mean(), rel=1e-5)
  assert accuracy == pytest.approx((logits.argmax(1) == classes - 5).mean())


def test_the_shared_head_has_label_smoothing(run):
  """It is that of all cross-entropies of a run."""
  features = tf.constant([[1.0, 2.0], [0.5, -1.0]])
  head = losses.shared_head(features, tf.constant([5, 7]), 5, 4, label_smoothing=0.3)
  with tf.variable_scope('loss', reuse=True), tf.variable_scope('shared_head'):
    logits = tf.matmul(features, tf.get_variable('kernel')) + tf.get_variable('bias')
  smoothed, plain, expected = run(
    (
      head.loss,
      losses.shared_head(features, tf.constant([5, 7]), 5, 4).loss,
      losses.cross_entropy(logits, tf.constant([0, 2]), 0.3),
    )
  )
  assert smoothed == pytest.approx(expected, rel=1e-6)
  assert abs(smoothed - plain) > 1e-4


@pytest.mark.parametrize(
  ('settings', 'needed'),
  [({}, False), ({'shared_head_weight': 0.5}, True), ({'pretrain_shared': True}, True)],
)
def test_the_shared_head_is_needed_if_it_is_in_the_loss(settings, needed):
  assert losses.needs_shared_head(LossConfig(**settings)) == needed
