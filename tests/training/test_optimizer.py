"""The updates of the optimizers, compared with numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.settings.config import OptimizerConfig
from hypertransformer.training import optimizer

# From shared/golden/schedule.json: the rate starts at 0.02 and falls by a factor of 0.95 in 100,000
# steps.
LEARNING_RATES = {
  0: 0.019999999552965164,
  1: 0.01999998837709427,
  99999: 0.019000008702278137,
  100000: 0.01899999938905239,
  250000: 0.017592962831258774,
}


@pytest.fixture(autouse=True)
def session():
  with tf.Graph().as_default(), tf.Session() as own:
    yield own


def update(config: OptimizerConfig, loss: tf.Tensor) -> tuple[tf.Operation, tf.Tensor]:
  """The op of an update, as the training graph has it, and the learning rate."""
  step = tf.train.get_or_create_global_step()
  rule, rate = optimizer.make(config, step)
  found = optimizer.clip(optimizer.gradients(rule, loss), config.gradient_norm_clip)
  return rule.apply_gradients(found, step), rate


def train(session, config: OptimizerConfig, steps: int):
  """Minimizes x^2 + 3 y from x = 2, y = 5.

  Returns:
    x, y, the global step and the learning rate, at the start and after each step.
  """
  x, y = tf.get_variable('x', initializer=2.0), tf.get_variable('y', initializer=5.0)
  train_op, rate = update(config, x**2 + 3 * y)
  session.run(tf.global_variables_initializer())
  fetches = (x, y, tf.train.get_global_step(), rate)
  history = [session.run(fetches)]
  for _ in range(steps):
    session.run(train_op)
    history.append(session.run(fetches))
  return np.array(history)


def test_sgd_makes_the_updates_by_hand(session):
  """They are x <- x - rate * 2 x and y <- y - 3 rate, with the rates 0.1, 0.05, 0.025."""
  history = train(session, OptimizerConfig('sgd', 0.1, decay_steps=1.0, decay_rate=0.5), 2)
  np.testing.assert_allclose(
    history, [[2, 5, 0, 0.1], [1.6, 4.7, 1, 0.05], [1.44, 4.55, 2, 0.025]], rtol=1e-6
  )


def test_momentum_makes_the_updates_by_hand(session):
  """They are v <- 0.9 v + gradient, x <- x - rate * v. For y, v is 3 and then 5.7."""
  history = train(session, OptimizerConfig('momentum', 0.1), 2)
  np.testing.assert_allclose(history[:, 1], [5, 4.7, 4.13], rtol=1e-6)
  np.testing.assert_allclose(history[:, 0], [2, 1.6, 1.6 - 0.1 * (0.9 * 4 + 3.2)], rtol=1e-6)


def test_the_first_updates_of_adam_are_as_long_as_the_rate(session):
  """The norm of the gradient does not matter. With constant gradients it goes on like this."""
  history = train(session, OptimizerConfig('adam', 0.1), 2)
  np.testing.assert_allclose(history[:2, 0], [2, 1.9], rtol=1e-5)
  np.testing.assert_allclose(history[:, 1], [5, 4.9, 4.8], rtol=1e-5)


def test_the_learning_rate_is_that_of_the_original(session):
  config = OptimizerConfig(learning_rate=0.02, decay_steps=1e5, decay_rate=0.95)
  steps = [tf.constant(step, tf.int64) for step in LEARNING_RATES]
  ours = session.run([optimizer.learning_rate(config, step) for step in steps])
  np.testing.assert_allclose(ours, list(LEARNING_RATES.values()), rtol=1e-6)


def test_the_rate_falls_to_0_in_the_cooldown(session):
  """It is as without one until 4 of 10 steps are left, and then 4/4, 3/4, 2/4, 1/4 of that."""
  config = OptimizerConfig('sgd', 0.1, 10.0, 0.5, cooldown=0.4, train_steps=10)
  rates = train(session, config, 11)[:, 3]
  parts = np.array([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
  np.testing.assert_allclose(rates, 0.1 * 0.5 ** (np.arange(12) / 10) * parts, rtol=1e-6)


@pytest.mark.parametrize(('norm', 'factor'), [(0.0, 1.0), (10.0, 1.0), (5.0, 1.0), (1.0, 0.2)])
def test_long_gradients_are_scaled_down_together(session, norm, factor):
  """The first gradient is (4, 3), of norm 5."""
  history = train(session, OptimizerConfig('sgd', 0.1, gradient_norm_clip=norm), 1)
  np.testing.assert_allclose(history[1, :2], [2 - 0.4 * factor, 5 - 0.3 * factor], rtol=1e-6)


def test_rows_of_a_sparse_gradient_are_added_before_its_norm_is_measured(session):
  """The row 1 is looked up three times: its gradient is (3, 3, 3, 3), of norm 6."""
  table = tf.get_variable('table', initializer=np.zeros((5, 4), np.float32))
  loss = tf.reduce_sum(tf.gather(table, [1, 1, 1]))
  train_op, _ = update(OptimizerConfig('sgd', 1.0, gradient_norm_clip=2.0), loss)
  session.run(tf.global_variables_initializer())
  session.run(train_op)
  expected = np.zeros((5, 4))
  expected[1] = -1.0
  np.testing.assert_allclose(session.run(table), expected, rtol=1e-6)


def test_gradients_are_joined_by_the_part_of_the_model(session):
  names = ('model/generator_1/a', 'model/generator_1/b/kernel', 'model/cnn/layer_1/gamma')
  x, y, z, _ = (
    tf.get_variable(name, initializer=np.float32([1, 2])) for name in (*names, 'model/cnn/q/r')
  )
  loss = tf.reduce_sum(2 * x + y**2) + tf.reduce_sum(z)
  found = optimizer.by_layer(optimizer.gradients(tf.train.GradientDescentOptimizer(1.0), loss))
  session.run(tf.global_variables_initializer())
  assert {tag: value.tolist() for tag, value in session.run(found).items()} == {
    'gradients/generator_1': [2, 2, 2, 4],
    'gradients/cnn/layer_1': [1, 1],
  }
