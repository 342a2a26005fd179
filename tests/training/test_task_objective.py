"""How the loss on an episode is put together, with a stand-in for the model and with a real one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model.getter import BOTH, Row
from hypertransformer.model.hypertransformer import (
  Classified,
  CnnWeights,
  HyperTransformer,
  Support,
)
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import LossConfig
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig
from hypertransformer.training import task_objective
from hypertransformer.training.task_objective import RealClasses

LABELS = [0, 1]
# By how much the right logit is larger than the other one, in both rows.
LEADS = {'head_1': 1.0, 'head_2': 0.5, 'final': 2.0}


def ce(lead: float) -> float:
  """The cross-entropy of two logits, the right one larger by `lead`: log(1 + e^-lead)."""
  return math.log(1 + math.exp(-lead))


@pytest.fixture(autouse=True)
def session():
  quick = tf.ConfigProto()  # graphs run a few times: optimising them takes longer
  quick.graph_options.rewrite_options.disable_meta_optimizer = True
  with tf.Graph().as_default(), tf.Session(config=quick) as own:
    yield own


class StandIn:
  """A model whose outputs are constants.

  Its only tensor is 2, which is generated, + 1, which is trained. It has shared features only if
  `shared` is set.
  """

  def __init__(self, heads: tuple[str, ...] = (), shared: bool = False) -> None:
    self.heads, self.calls = heads, []
    generated, trained = tf.constant([2.0]), tf.get_variable('kernel', initializer=[1.0])
    self.rows = [Row('layer_1', 'conv/kernel', (1,), BOTH, generated + trained, generated, trained)]
    self.features = tf.constant([[1.0, 0.0], [0.0, 1.0]]) if shared else None

  def generate(self, support, noise=None):
    self.calls.append(('generate', support, noise))
    return CnnWeights({}, self.features, list(self.rows))

  def classify(self, images, weights, noise=None):
    self.calls.append(('classify', images, noise))
    final, *heads = (tf.eye(2) * LEADS[name] for name in ('final', *self.heads))
    return Classified(final, heads, {}, list(self.rows))

  def shared_features(self, images, noise=None):
    self.calls.append(('shared_features', images, noise))
    return self.features


def build(model, step: int = 0, noise=None, head=None, **settings):
  support = Support(tf.zeros([2, 4, 4, 1]), tf.constant(LABELS))
  return task_objective.build(
    model,
    support,
    tf.zeros([2, 4, 4, 1]),
    tf.constant(LABELS),
    LossConfig(**settings),
    tf.constant(step, tf.int64),
    noise,
    head,
  )


def real_head():
  return tf.constant([7, 9]), RealClasses(7, 3)


def run(session, fetches):
  session.run(tf.global_variables_initializer())
  return session.run(fetches)


def test_the_plain_loss_is_the_cross_entropy(session):
  ours = build(StandIn())
  assert run(session, ours.loss) == pytest.approx(ce(2.0), rel=1e-6)
  assert ours.warmup_weights is None
  assert ours.shared_head is None
  assert ours.regularization is None
  assert ours.variation_terms == ours.l2_terms == []


def test_label_smoothing_moves_a_part_of_the_target(session):
  """0.1 / 2 of it moves to the other label, which is less likely by a factor of e^2."""
  assert run(session, build(StandIn(), label_smoothing=0.1).loss) == pytest.approx(
    ce(2.0) + 0.05 * 2.0, rel=1e-5
  )


def test_regularisation_is_added_once(session):
  ours = build(StandIn(), l2_weight=0.1, variation_weight=0.01)
  loss, regularization, ce_value = run(session, (ours.loss, ours.regularization, ours.ce))
  assert regularization == pytest.approx(0.1 * 3.0**2 + 0.01 * 2.0**2 / 1.0, rel=1e-5)
  assert ce_value == pytest.approx(ce(2.0), rel=1e-6)
  assert loss == pytest.approx(ce_value + regularization, rel=1e-6)
  assert len(ours.rows) == 2  # one for each pass


@pytest.mark.parametrize(
  ('step', 'weights'), [(0, [1, 0, 0]), (30, [0, 0.5, 0.5]), (500, [0, 0, 1])]
)
def test_warm_up_mixes_the_cross_entropies_of_heads_and_logits(session, step, weights):
  ours = build(StandIn(heads=('head_1', 'head_2')), step, warmup_steps=40)
  terms, ce_value, loss, mix = run(session, (ours.terms, ours.ce, ours.loss, ours.warmup_weights))
  expected = [ce(LEADS[name]) for name in ('head_1', 'head_2', 'final')]
  np.testing.assert_allclose(terms, expected, rtol=1e-5)
  np.testing.assert_allclose(mix, weights, atol=1e-6)
  assert loss == ce_value == pytest.approx(np.dot(weights, expected), rel=1e-5)


@pytest.mark.parametrize('weight', [0.0, 0.5])
def test_the_shared_head_is_added_with_its_weight(session, weight):
  ours = build(StandIn(shared=True), head=real_head(), shared_head_weight=weight)
  loss, head_loss = run(session, (ours.loss, ours.shared_head.loss))
  assert head_loss > 0.1
  assert loss == pytest.approx(ce(2.0) + weight * head_loss, rel=1e-5)
  (gradient,) = tf.gradients(
    ours.loss, [v for v in tf.trainable_variables() if 'shared_head/kernel' in v.name]
  )
  assert (gradient is not None) == (weight > 0)


@pytest.mark.parametrize(('shared', 'asked'), [(False, True), (True, False)])
def test_no_shared_head_without_shared_features_or_without_being_asked(shared, asked):
  head = real_head() if asked else None
  assert build(StandIn(shared=shared), head=head, shared_head_weight=0.5).shared_head is None


def test_noise_reaches_both_passes():
  model, noise = StandIn(), Noise(tf.constant([1, 2]))
  build(model, noise=noise)
  assert [(name, given) for name, _, given in model.calls] == [
    ('generate', noise),
    ('classify', noise),
  ]


def test_pretraining_is_the_shared_head_alone(session):
  config = ModelConfig(
    num_labels=2, kernel_size=2, channels=2, features=FeatureConfig('2-layer', shared_dim=3)
  )
  model = HyperTransformer(config, (8, 8, 1))
  noise = Noise(tf.constant([1, 2]))
  ours = task_objective.build_pretraining(
    model,
    tf.ones([2, 8, 8, 1]),
    tf.constant([7, 9]),
    RealClasses(7, 3),
    LossConfig(pretrain_shared=True),
    noise,
  )
  assert ours.loss is ours.shared_head.loss
  assert ours.rows == []
  assert (ours.ce, ours.weights, ours.classified, ours.regularization) == (None, None, None, None)
  assert {v.op.name.split('/')[1] for v in tf.trainable_variables()} == {
    'shared_features',
    'shared_head',
  }
  assert all(gradient is not None for gradient in tf.gradients(ours.loss, tf.trainable_variables()))
  assert math.isfinite(run(session, ours.loss))


def test_a_real_model_learns_its_episode(session):
  """Gradient descent on one episode lowers every part of the loss that is asked for."""
  config = ModelConfig(
    num_labels=2,
    kernel_size=2,
    channels=2,
    embedding_dim=4,
    warmup_heads='trained',
    add_trainable_weights=True,
    transformer=TransformerConfig(1, 1),
    features=FeatureConfig('2-layer', shared_dim=3),
  )
  images = tf.constant(np.random.default_rng(3).uniform(-1, 1, (4, 9, 9, 1)), tf.float32)
  tf.set_random_seed(3)
  labels = tf.constant([0, 1, 0, 1])
  ours = task_objective.build(
    HyperTransformer(config, (9, 9, 1)),
    Support(images, labels),
    images,
    labels,
    LossConfig(warmup_steps=10, l2_weight=1e-3, variation_weight=1e-3, shared_head_weight=0.1),
    tf.constant(5, tf.int64),
    head=(tf.constant([7, 9, 7, 9]), RealClasses(7, 3)),
  )
  train = tf.train.GradientDescentOptimizer(0.02).minimize(ours.loss)
  assert len(ours.variation_terms) == 3
  assert len(ours.l2_terms) == 6
  session.run(tf.global_variables_initializer())
  before = session.run(ours.loss)
  for _ in range(30):
    session.run(train)
  assert session.run(ours.loss) < 0.9 * before
