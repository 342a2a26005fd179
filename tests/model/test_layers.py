"""The layers against NumPy, and their variables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import layers


def close(ours, expected, tolerance=1e-5):
  np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def shapes() -> dict[str, list[int]]:
  return {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}


def test_dense_is_that_of_numpy(lab, by_hand, rng):
  x = rng.normal(size=(5, 3)).astype(np.float32)
  linear = layers.dense(tf.constant(x), 4, 'plain')
  rectified = layers.dense(tf.constant(x), 2, 'bent', tf.nn.relu)
  v = lab.fill()
  close(lab.run(linear), by_hand.dense(x, v, 'plain'))
  close(lab.run(rectified), np.maximum(by_hand.dense(x, v, 'bent'), 0))
  assert shapes() == {
    'plain/kernel': [3, 4],
    'plain/bias': [4],
    'bent/kernel': [3, 2],
    'bent/bias': [2],
  }


@pytest.mark.parametrize(
  ('side', 'size', 'stride', 'padding'),
  [
    (6, 3, 1, 'VALID'),
    (7, 3, 2, 'VALID'),
    (6, 3, 2, 'SAME'),
    (5, 2, 2, 'SAME'),
    (4, 2, 1, 'SAME'),
    (3, 3, 1, 'VALID'),
  ],
)
def test_conv2d_is_that_of_numpy(lab, by_hand, rng, side, size, stride, padding):
  x = rng.normal(size=(2, side, side + 1, 3)).astype(np.float32)
  y = layers.conv2d(tf.constant(x), 4, size, 'conv', stride, padding)
  v = lab.fill()
  close(lab.run(y), by_hand.conv(x, v['conv/kernel'], stride, padding == 'SAME') + v['conv/bias'])
  assert shapes() == {'conv/kernel': [size, size, 3, 4], 'conv/bias': [4]}


def test_conv2d_without_bias(lab, by_hand, rng):
  x = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
  y = layers.conv2d(tf.constant(x), 3, 2, 'conv', use_bias=False)
  v = lab.fill()
  close(lab.run(y), by_hand.conv(x, v['conv/kernel']))
  assert list(v) == ['conv/kernel']


@pytest.mark.parametrize('size', [1, 3, 5])
def test_conv2d_mean_is_the_spatial_mean_of_a_convolution(lab, by_hand, rng, size):
  x = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
  y = layers.conv2d_mean(tf.constant(x), 4, size, 'conv')
  v = lab.fill()
  close(lab.run(y), by_hand.conv(x, v['conv/kernel'], 1).mean((1, 2)) + v['conv/bias'])
  assert shapes() == {'conv/kernel': [size, size, 3, 4], 'conv/bias': [4]}


def test_gradient_of_layer_norm_is_that_of_its_formula(lab, rng):
  x = tf.constant(rng.normal(2, 3, (4, 6)).astype(np.float32))
  towards = tf.constant(rng.normal(size=(4, 6)).astype(np.float32))
  mean, variance = tf.nn.moments(x, [-1], keepdims=True)
  plain = (x - mean) / tf.sqrt(variance + layers.LAYER_NORM_EPSILON)
  ours = layers.layer_norm(x, 'norm')
  lab.run(tf.global_variables_initializer())
  close(*lab.run([tf.gradients(tf.reduce_sum(y * towards), x)[0] for y in (ours, plain)]))


def test_initial_values_are_glorot_uniform_with_zero_bias(lab):
  layers.dense(tf.zeros([1, 300]), 100, 'dense')
  layers.conv2d(tf.zeros([1, 5, 5, 20]), 30, 3, 'conv')
  layers.layer_norm(tf.zeros([1, 9]), 'norm')
  lab.run(tf.global_variables_initializer())
  v = {
    variable.op.name: value
    for variable, value in zip(tf.global_variables(), lab.run(tf.global_variables()), strict=True)
  }
  for name, fans in (('dense/kernel', 300 + 100), ('conv/kernel', 9 * (20 + 30))):
    limit = math.sqrt(6 / fans)
    assert 0.98 * limit < np.abs(v[name]).max() <= limit
    assert abs(v[name].std() / (limit / math.sqrt(3)) - 1) < 0.05
  assert not v['dense/bias'].any()
  assert not v['conv/bias'].any()
  assert v['norm/gamma'].tolist() == [1.0] * 9
  assert v['norm/beta'].tolist() == [0.0] * 9


@pytest.mark.parametrize('shape', [(4, 6), (2, 3, 6)])
def test_layer_norm_is_that_of_numpy(lab, by_hand, rng, shape):
  x = rng.normal(2, 3, shape).astype(np.float32)
  y = layers.layer_norm(tf.constant(x), 'norm')
  v = lab.fill()
  close(lab.run(y), by_hand.layer_norm(x, v, 'norm'))


def test_layer_norm_has_epsilon_1e_6(lab):
  """Entries +-d have the variance d^2: at d = 1e-3 the result is +-1 / sqrt(2)."""
  y = layers.layer_norm(tf.constant([[1e-3, -1e-3]]), 'norm')
  lab.run(tf.global_variables_initializer())
  close(lab.run(y), [[0.5**0.5, -(0.5**0.5)]])


def test_batch_norm_is_that_of_numpy(lab, by_hand, rng):
  x = rng.normal(1, 2, (5, 3, 4, 2)).astype(np.float32)
  y = layers.batch_norm(tf.constant(x), 'norm')
  v = lab.fill()
  close(lab.run(y), by_hand.batch_norm(x, v, 'norm'))
  assert set(v) == {'norm/gamma', 'norm/beta'}  # no moving averages


def test_batch_norm_has_epsilon_1e_3(lab):
  d = 1e-3**0.5
  y = layers.batch_norm(tf.reshape(tf.constant([d, -d]), [2, 1, 1, 1]), 'norm')
  lab.run(tf.global_variables_initializer())
  close(lab.run(y).ravel(), [0.5**0.5, -(0.5**0.5)])
