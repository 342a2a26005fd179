"""The layers against NumPy, and their variables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import layers
from hypertransformer.model.layers import Noise, dropout


def close(ours, expected, tolerance=1e-5):
  np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def shapes() -> dict[str, list[int]]:
  return {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}


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


# ---- random numbers of a training step, and dropout


@pytest.mark.parametrize('on', [0.0, 1.0])
def test_noise_can_be_switched_in_the_graph(lab, on):
  x = tf.fill([50, 40], 3.0)
  y = lab.run(dropout(x, 0.5, Noise(tf.constant([1, 2]), tf.constant(on))))
  assert set(np.unique(y)) == ({3.0} if on == 0.0 else {0.0, 6.0})


def test_dropout_zeroes_a_share_and_scales_the_rest(lab):
  y = lab.run(dropout(tf.ones([200, 100]), 0.3, Noise(tf.constant([1, 2]))))
  assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
  assert abs((y == 0).mean() - 0.3) < 0.01


def test_noise_depends_on_seed_and_stream_only(lab):
  def draws(seed):
    noise = Noise(tf.constant(seed))
    return [noise.uniform([1000]), noise.uniform([1000])]

  (a1, a2), (b1, b2), (c1, c2), (d1, _) = lab.run(
    [draws(seed) for seed in ([5, 6], [5, 6], [5, 7], [6, 6])]
  )
  np.testing.assert_array_equal(a1, b1)
  np.testing.assert_array_equal(a2, b2)
  for one, other in ((a1, a2), (a1, c1), (a2, c2), (a1, d1)):
    assert (one != other).mean() > 0.99
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
  assert a1.dtype == np.float32
  assert 0 <= a1.min() < a1.max() < 1


def test_parts_draw_numbers_of_their_own(lab):
  """These are the parts that tasks and query sets draw from."""
  noise = Noise(tf.constant([1, 2]))
  parts = [noise.fold(0), noise.fold(tf.constant(0)), noise.fold(1), noise]
  one, same, other, whole = lab.run([part.uniform([100]) for part in parts])
  np.testing.assert_array_equal(one, same)
  for a, b in ((one, other), (one, whole), (other, whole)):
    assert np.abs(a - b).mean() > 0.2
  off = Noise(tf.constant([1, 2]), tf.constant(0.0)).fold(1)
  assert lab.run(off.if_on(0.5)) == 0.0


def test_no_draw_of_a_part_is_a_draw_of_another(lab):
  """Parts of parts are tried, as learning draws them: three layers of three tasks."""
  noise = Noise(tf.constant([1, 2])).fold(0)
  parts = [noise, *(noise.fold(number) for number in range(3))]
  draws = lab.run([part.uniform([3]) for part in parts for _ in range(3)])
  assert len({tuple(each) for each in draws}) == 12
