"""The random numbers of a training step, and dropout."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model.layers import Noise, dropout


def test_dropout_is_off_without_noise_or_rate():
  x = tf.zeros([3])
  assert dropout(x, 0.5, None) is x
  assert dropout(x, 0.0, Noise(tf.constant([1, 2]))) is x


@pytest.mark.parametrize('on', [0.0, 1.0])
def test_noise_can_be_switched_in_the_graph(lab, on):
  x = tf.fill([50, 40], 3.0)
  y = lab.run(dropout(x, 0.5, Noise(tf.constant([1, 2]), tf.constant(on))))
  assert set(np.unique(y)) == ({3.0} if on == 0.0 else {0.0, 6.0})


def test_dropout_zeroes_a_share_and_scales_the_rest(lab):
  y = lab.run(dropout(tf.ones([200, 100]), 0.3, Noise(tf.constant([1, 2]))))
  assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
  assert abs((y == 0).mean() - 0.3) < 0.01


def test_the_gradient_passes_where_dropout_does(lab):
  x = tf.ones([50])
  y = dropout(x, 0.5, Noise(tf.constant([1, 2])))
  y, gradient = lab.run((y, tf.gradients(y, x)[0]))
  np.testing.assert_array_equal(y, gradient)


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


def test_noise_repeats_in_every_run_of_a_session(lab):
  draw = Noise(tf.constant([5, 6])).uniform([10])
  np.testing.assert_array_equal(lab.run(draw), lab.run(draw))


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
