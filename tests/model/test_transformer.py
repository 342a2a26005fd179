"""Attention and whole blocks against NumPy, and the widths of their layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import transformer
from hypertransformer.model.layers import Noise
from hypertransformer.model.transformer import Widths
from hypertransformer.settings.model_config import TransformerConfig

SIZES = Widths(token=6, key_query=6, value=4, inner=5)


def close(ours, expected):
  np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)


def config(**changes) -> TransformerConfig:
  return TransformerConfig(**{'num_layers': 1, 'heads': 2, **changes})


def draw(rng, tokens: int, width: int) -> np.ndarray:
  return rng.normal(size=(tokens, width)).astype(np.float32)


@pytest.mark.parametrize(
  ('dims', 'width', 'heads', 'round_up', 'expected'),
  [
    ((1.0, 1.0, 1.0), 33, 4, True, (36, 36, 36)),  # golden a04
    ((1.0, 1.0, 1.0), 36, 4, False, (36, 36, 36)),
    ((0.5, 0.3, 2.0), 21, 1, False, (10, 6, 42)),  # int(frac * D)
    ((0.5, 0.3, 2.0), 21, 4, True, (12, 8, 44)),
    # Widths themselves are never rounded up, and the heads need not divide the inner one.
    ((8.0, 12.9, 10.0), 21, 4, True, (8, 12, 10)),
    ((1.0, 1.0, 0.0), 21, 4, True, (24, 24, 0)),  # no feed-forward part
    ((1.0, 1.0, -0.5), 21, 4, True, (24, 24, 0)),
    ((1.0, 1.0, -5.0), 21, 4, True, (24, 24, 0)),
    ((1.0, 1.0, 0.04), 21, 3, False, (21, 21, 0)),
    ((3.0, 3.5, 16.0), 10, 1, True, (30, 3, 16)),  # up to 3 a fraction, above that the width itself
    ((1.0, 1.0, 0.5), 10, 2, False, (10, 10, 5)),  # 2 heads, but an inner width of 5
  ],
)
def test_widths_that_are_fractions_or_numbers(dims, width, heads, round_up, expected):
  sizes = transformer.widths(
    config(key_query_dim=dims[0], value_dim=dims[1], inner_dim=dims[2], heads=heads),
    width,
    round_up,
  )
  assert (sizes.key_query, sizes.value, sizes.inner) == expected


@pytest.mark.parametrize(
  ('dims', 'width', 'round_up', 'flag'),
  [((1.0, 0.5), 9, False, 'lw_key_query_dim'), ((4.0, 1.0), 9, False, 'lw_value_dim')],
)
def test_heads_that_do_not_divide_are_refused(dims, width, round_up, flag):
  with pytest.raises(InputError) as caught:
    transformer.widths(config(key_query_dim=dims[0], value_dim=dims[1], heads=4), width, round_up)
  assert 'heads=4' in str(caught.value)
  assert flag in str(caught.value)


@pytest.mark.parametrize('name', ['key_query_dim', 'value_dim'])
def test_a_width_of_nothing_is_refused(name):
  with pytest.raises(InputError, match=f'lw_{name}'):
    transformer.widths(config(**{name: 0.1}), 8, round_up=False)


@pytest.mark.parametrize('heads', [1, 2])
@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_attention_weights_are_those_that_mix_the_values(lab, rng, heads, activation):
  queries, keys = draw(rng, 3, 7), draw(rng, 5, 8)
  y, weights = transformer.attention(
    tf.constant(queries),
    tf.constant(keys),
    SIZES,
    config(heads=heads, activation=activation),
    'attention',
  )
  v = lab.fill()
  assert len(weights) == heads
  projected = keys @ v['attention/key_value/kernel'] + v['attention/key_value/bias']
  values = np.split(projected[:, SIZES.key_query :], heads, axis=1)
  mixed = np.concatenate([lab.run(w) @ x for w, x in zip(weights, values, strict=True)], axis=1)
  close(lab.run(y), mixed @ v['attention/output/kernel'] + v['attention/output/bias'])


def test_each_projection_starts_glorot_uniform(lab):
  """40 and 600 wide, side by side in one variable, they keep the limits of separate layers."""
  tokens = tf.zeros([2, 50])
  transformer.attention(tokens, tokens, Widths(50, 40, 600, 1), config(heads=2), 'a')
  (kernel,) = (v for v in tf.trainable_variables() if v.op.name == 'a/query_key_value/kernel')
  lab.run(tf.global_variables_initializer())
  for part, width in zip(np.split(lab.run(kernel), [40, 80], axis=1), (40, 40, 600), strict=True):
    limit = math.sqrt(6 / (50 + width))
    assert 0.97 * limit < np.abs(part).max() <= limit
    assert abs(part.mean()) < 0.03 * limit
    assert np.std(part) == pytest.approx(limit / math.sqrt(3), rel=0.05)


def test_dropout_is_on_with_noise_only(lab, rng):
  x = tf.constant(draw(rng, 4, 6))

  def outputs(rate, seed):
    noise = None if seed is None else Noise(tf.constant([1, seed]))
    encoded, _ = transformer.encoder(x, SIZES, config(dropout_rate=rate), noise=noise)
    return encoded, transformer.decoder(x, encoded, SIZES, config(dropout_rate=rate), noise=noise)[
      0
    ]

  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    cases = [
      outputs(rate, seed)
      for rate, seed in ((0.0, None), (0.5, None), (0.0, 1), (0.5, 1), (0.5, 1), (0.5, 2))
    ]
  lab.fill()
  plain, *still, one, same, other = lab.run(cases)
  for part in range(2):
    for quiet in still:
      np.testing.assert_array_equal(quiet[part], plain[part])
    np.testing.assert_array_equal(one[part], same[part])
    assert np.abs(one[part] - plain[part]).max() > 0.01
    assert np.abs(one[part] - other[part]).max() > 0.01


# ---- the vectors of a block, parts of one variable


def test_vectors_are_parts_of_one_variable(lab):
  with transformer.block_scope('block', {'a/bias': 2, 'norm/gamma': 3}):
    with tf.variable_scope('norm'):
      gamma = tf.get_variable('gamma', [3])
    with tf.variable_scope('a'):
      bias, kernel = tf.get_variable('bias', [2]), tf.get_variable('kernel', [4, 2])
  assert {v.op.name: v.shape.as_list() for v in tf.trainable_variables()} == {
    'block/vectors': [5],
    'block/a/kernel': [4, 2],
  }
  assert kernel.shape.as_list() == [4, 2]
  lab.run(tf.global_variables_initializer())
  assert [each.tolist() for each in lab.run([bias, gamma])] == [[0, 0], [1, 1, 1]]
  gradient = tf.gradients(
    tf.reduce_sum(bias * [3.0, 4.0]) + 2.0 * gamma[1], tf.trainable_variables()[0]
  )[0]
  assert lab.run(gradient).tolist() == [3, 4, 0, 2, 0]
