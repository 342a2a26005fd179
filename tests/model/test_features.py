"""Features of support images: against NumPy, and the rules for small inputs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import features
from hypertransformer.model.layers import Noise
from hypertransformer.settings.model_config import FeatureConfig


def close(ours, expected):
  np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)


def images(rng, side: int, channels: int = 2) -> np.ndarray:
  return rng.normal(size=(3, side, side, channels)).astype(np.float32)


@pytest.mark.parametrize(
  ('extractor', 'padding', 'side'),
  [
    ('2-layer', 'valid', 7),
    ('2-layer', 'same', 6),
    ('3-layer', 'valid', 15),
    ('4-layer', 'same', 5),
    ('2-layer-bn', 'valid', 7),
  ],
)
def test_shared_features_are_those_of_numpy(lab, by_hand, rng, extractor, padding, side):
  x = images(rng, side)
  s = features.shared_features(
    tf.constant(x), FeatureConfig(extractor, shared_dim=4, shared_padding=padding)
  )
  v = lab.fill()
  depth = int(extractor[0])
  for number in range(1, depth + 1):
    name = f'shared_features/layer_{number}'
    stride = 2 if number < depth else 1
    x = np.maximum(
      by_hand.conv(x, v[f'{name}/kernel'], stride, padding == 'same') + v[f'{name}/bias'], 0
    )
    if extractor.endswith('-bn'):
      x = by_hand.batch_norm(x, v, f'{name}/batch_norm')
  close(lab.run(s), x.mean((1, 2)))
  assert len(v) == depth * (4 if extractor.endswith('-bn') else 2)


def test_shared_dropout_zeroes_a_share_and_doubles_the_rest(lab, rng):
  x = tf.constant(images(rng, 7))
  config = FeatureConfig('2-layer', shared_dim=40, shared_dropout=0.5)
  outputs = [
    features.shared_features(x, config, noise) for noise in (None, Noise(tf.constant([1, 2])))
  ]
  lab.fill()
  plain, dropped = lab.run(outputs)
  kept = dropped != 0
  close(dropped[kept], 2 * plain[kept])
  assert 0.3 < (kept[plain != 0]).mean() < 0.7
  assert len(tf.trainable_variables()) == 4  # both uses have the same variables


@pytest.mark.parametrize(
  ('extractor', 'side', 'sees'), [('2-layer', 6, 2), ('3-layer', 14, 2), ('4-layer', 28, 2)]
)
def test_images_too_small_for_the_shared_extractor_are_refused(extractor, side, sees):
  with pytest.raises(InputError) as caught:
    features.check_shared(FeatureConfig(extractor), (side, side + 5, 1))
  for part in (f'image_size={side}', f'shared_feature_extractor={extractor}', f'{sees} x {sees}'):
    assert part in str(caught.value)
  features.check_shared(FeatureConfig(extractor, shared_padding='same'), (side, side, 1))


@pytest.mark.parametrize(
  ('side', 'kernel', 'depth', 'expected'),
  [
    (28, 3, 2, [(3, 2), (3, 1)]),  # 28 -> 13 -> 11
    (7, 3, 2, [(3, 2), (3, 1)]),  # 7 -> 3 -> 1
    (6, 3, 2, [(3, 2)]),  # 6 -> 2: the second does not fit
    (3, 3, 2, [(3, 2)]),
    (2, 3, 2, [(2, 1)]),  # smaller than the kernel: its own size, stride 1
    (1, 3, 2, [(1, 1), (1, 1)]),  # 1 -> 1, so the second fits
    (2, 3, 1, [(2, 1)]),  # logits layer: one, stride 1
    (9, 3, 1, [(3, 1)]),
    (4, 2, 2, [(2, 2), (2, 1)]),  # 4 -> 2 -> 1
  ],
)
def test_plans_of_local_convolutions(side, kernel, depth, expected):
  assert features.local_convolutions(side, kernel, depth) == expected


# ---- --feature_normalization=support


@pytest.mark.parametrize('mask', [None, [0.0, 1.0], [1.0, 1.0]])
def test_one_sample_or_none_gives_zeros_and_finite_gradients(lab, mask):
  x = tf.constant([[3.0, -2.0]] if mask is None else [[3.0, -2.0], [3.0, -2.0]])
  y = features.normalized(x, None if mask is None else tf.constant(mask))
  found, gradient = lab.run((y, tf.gradients(tf.reduce_sum(y * y), x)[0]))
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(found[0] if mask != [1.0, 1.0] else 0.0, 0.0)
