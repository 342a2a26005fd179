"""The terms of the loss, compared with numbers by hand and recorded numbers of the original."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model.getter import BOTH, GENERATED, TRAINED, VariableUse
from hypertransformer.settings.config import LossConfig
from hypertransformer.training import losses

# From shared/golden/schedule.json: 3 heads with 100 warm-up steps.
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
LABELS = [0, 1]
LEADS = [1.0, 0.5, 2.0]  # by how much the right one of two logits is larger: two heads, final


@pytest.fixture
def run():
  """run(fetches) initializes the variables of the test's graph and evaluates tensors in it."""
  with tf.Graph().as_default(), tf.Session() as session:

    def evaluate(fetches):
      session.run(tf.global_variables_initializer())
      return session.run(fetches)

    yield evaluate


def int64(value: int) -> tf.Tensor:
  """A constant of the type of the global step."""
  return tf.constant(value, tf.int64)


def row(
  source: str, variable: str, generated=None, trained=None, layer='layer_1', scope='cnn'
) -> VariableUse:
  """What the getter gives: a tensor that is generated, trained, or both."""
  made = None if generated is None else tf.constant(generated)
  own = None
  if trained is not None:
    with tf.variable_scope('model', reuse=tf.AUTO_REUSE):
      own = tf.get_variable(f'{scope}/{layer}/{variable}', initializer=tf.constant(trained))
  value = {GENERATED: made, TRAINED: own, BOTH: made + own if source == BOTH else None}[source]
  return VariableUse(layer, variable, value, made, own)


def task_loss(heads: int = 0, rows=(), step: int = 0, head=None, **config) -> losses.TaskLoss:
  """The loss of two queries with the logits of LEADS."""
  *of_heads, final = (tf.eye(2) * lead for lead in LEADS)
  return losses.task_loss(
    LossConfig(**config),
    final,
    of_heads[:heads],
    tf.constant(LABELS),
    list(rows),
    int64(step),
    head,
  )


def ce(lead: float) -> float:
  """The cross-entropy of two logits, the right one larger by `lead`: log(1 + e^-lead)."""
  return math.log(1 + math.exp(-lead))


def test_the_plain_loss_is_the_cross_entropy(run):
  found = run(task_loss().metrics())
  assert found == pytest.approx({'loss/loss/ce': ce(2.0), 'loss/loss': ce(2.0)}, rel=1e-6)


@pytest.mark.parametrize(
  ('step', 'weights'), [(0, [1, 0, 0]), (30, [0, 0.5, 0.5]), (500, [0, 0, 1])]
)
def test_warm_up_mixes_the_cross_entropies_of_heads_and_logits(run, step, weights):
  ours = task_loss(heads=2, step=step, warmup_steps=40)
  found, mix = run((ours.metrics(), ours.warmup))
  np.testing.assert_allclose(mix, weights, atol=1e-6)
  assert found['loss/loss'] == pytest.approx(np.dot(weights, [ce(x) for x in LEADS]), rel=1e-5)


def test_all_terms_are_added_with_their_weights(run):
  rows = [row(BOTH, 'conv/kernel', [2.0], [1.0])] * 2  # one for each pass
  ours = task_loss(
    rows=rows, head=tf.constant(3.0), l2_weight=0.1, variation_weight=0.01, shared_head_weight=0.5
  )
  regularization = 0.1 * 3.0**2 + 0.01 * 2.0**2 / 1.0
  assert run(ours.metrics()) == pytest.approx(
    {
      'loss/loss/ce': ce(2.0),
      'loss/loss/regularization': regularization,
      'loss/weighted_shared_head_loss': 1.5,
      'loss/loss': ce(2.0) + regularization + 1.5,
    },
    rel=1e-5,
  )
  assert task_loss(head=tf.constant(3.0)).real_classes is None, 'its weight is 0'


def test_warmup_weights_are_those_of_the_original(run):
  ours = run([losses.warmup_weights(int64(step), 100, 3) for step in WARMUP])
  np.testing.assert_allclose(ours, list(WARMUP.values()), atol=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_the_cross_entropy_is_that_by_hand(run, smoothing):
  logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
  expected = 0.0
  for scores, label in zip(logits, (0, 1), strict=True):
    log_probabilities = scores - math.log(sum(math.exp(x) for x in scores))
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
  ours = losses.cross_entropy(logits, labels, 0.2, unknown)
  parts = [
    losses.cross_entropy(logits[0, :, :2], labels[0], 0.2),
    losses.cross_entropy(logits[1], labels[1], 0.2),
  ]
  assert run(ours) == pytest.approx(np.mean(run(parts)), rel=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.3])
def test_the_real_class_head_predicts_classes_of_the_dataset(run, smoothing):
  """Of the classes 5..8, class 5 is the first output. A second call shares the variables."""
  features = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], np.float32)
  classes = np.array([5, 8, 6])
  given = tf.constant(features), tf.constant(classes), range(5, 9), smoothing
  found, _ = losses.real_class_head(*given), losses.real_class_head(*given)
  variables = tf.trainable_variables()
  assert {v.op.name: v.shape.as_list() for v in variables} == {
    'loss/shared_head/kernel': [2, 4],
    'loss/shared_head/bias': [4],
  }
  (kernel, bias), (loss, accuracy) = run((variables, found))
  logits = features @ kernel + bias
  expected = losses.cross_entropy(tf.constant(logits), tf.constant(classes - 5), smoothing)
  with tf.Session() as session:
    assert loss == pytest.approx(session.run(expected), rel=1e-5)
  assert accuracy == pytest.approx((logits.argmax(1) == classes - 5).mean())


# Regularization.


def test_l2_terms_are_those_by_hand(run):
  """They are 0.5 * sum(w^2), for kernels only; generated and trained parts are added first."""
  rows = [
    row(GENERATED, 'conv/kernel', [1.0, 2.0]),
    row(TRAINED, 'conv/bias', trained=[9.0]),
    row(TRAINED, 'conv/kernel', trained=[3.0], layer='layer_2'),
    row(BOTH, 'logits/kernel', [1.0, -2.0], [1.0, 1.0], 'layer_3'),
    row(BOTH, 'logits/bias', [1.0], [1.0], 'layer_3'),
  ]
  assert run(losses.l2_terms(rows, 0.5)) == [2.5, 4.5, 2.5]
  assert losses.l2_terms(rows, 0.0) == []


def test_l2_counts_each_tensor_once(run):
  """The query pass uses the same tensors again. If it has trained ones of its own, they count."""
  passes = [
    [
      row(GENERATED, 'conv/kernel', [1.0]),
      row(TRAINED, 'conv/kernel', trained=[2.0], layer='layer_2', scope=s),
    ]
    for s in ('cnn', 'cnn', 'cnn_query')
  ]
  assert run(losses.l2_terms(passes[0] + passes[1], 1.0)) == [1.0, 4.0]
  assert run(losses.l2_terms(passes[0] + passes[1] + passes[2], 1.0)) == [1.0, 4.0, 4.0]


def test_an_added_kernel_counts_as_the_support_pass_uses_it_in_l2(run):
  """So it is if the query pass adds a variable of its own, as in shared/golden/b03.npz."""
  passes = [
    row(BOTH, 'conv/kernel', [1.0], [value], scope=s)
    for s, value in (('cnn', 2.0), ('cnn_query', 5.0))
  ]
  assert run(losses.l2_terms(passes, 1.0)) == [9.0]
  assert len(losses.variation_terms(passes, 1.0)) == 2


def test_variation_terms_are_those_by_hand(run):
  """They are 0.1 * sum(generated^2) / (1e-8 + sum(trained^2)), for all tensors but logits."""
  rows = [
    row(BOTH, 'conv/kernel', [2.0, 4.0], [1.0, 2.0]),
    row(BOTH, 'batch_norm/gamma', [1.0], [2.0]),
    row(GENERATED, 'conv/bias', [7.0]),
    row(TRAINED, 'batch_norm/beta', trained=[7.0]),
    row(BOTH, 'logits/kernel', [5.0], [1.0], 'layer_2'),
    row(BOTH, 'logits/bias', [5.0], [1.0], 'head_1'),
    row(BOTH, 'conv/kernel', [2e-4], [0.0], 'layer_2'),
  ]
  terms = run(losses.variation_terms(rows + rows, 0.1))
  np.testing.assert_allclose(terms, [0.1 * 20 / 5, 0.1 / 4, 0.1 * 4e-8 / 1e-8], rtol=1e-5)
  assert losses.variation_terms(rows, 0.0) == []
