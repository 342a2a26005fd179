"""--feature_normalization=support: features of mean 0 and deviation 1 over the support set."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import features
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig

SIDE, K = 12, 3
LABELS = np.array([0, 1, 2, 3, 1, 0])  # the fourth has no label


def model_of(**changes) -> HyperTransformer:
  config = ModelConfig(
    **{
      'num_labels': K,
      'kernel_size': 2,
      'channels': 2,
      'embedding_dim': 4,
      'features': FeatureConfig('2-layer', shared_dim=3, normalization='support'),
      'transformer': TransformerConfig(num_layers=1, heads=1),
      **changes,
    }
  )
  return HyperTransformer(config, (SIDE, SIDE, 1))


def test_each_column_by_hand(lab):
  """Columns 1, 2, 6 (mean 3, variance 14/3) and a constant one."""
  found = lab.run(features.normalized(tf.constant([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])))
  np.testing.assert_allclose(found[:, 0], np.array([-2, -1, 3]) / np.sqrt(14 / 3), rtol=1e-6)
  np.testing.assert_array_equal(found[:, 1], 0)


def test_masked_samples_do_not_count(lab):
  x = np.array([[1.0], [2.0], [100.0], [6.0]], np.float32)
  mask = tf.constant([0.0, 0.0, 1.0, 0.0])
  found = lab.run(features.normalized(tf.constant(x), mask))
  alone = lab.run(features.normalized(tf.constant(x[[0, 1, 3]])))
  np.testing.assert_allclose(found[[0, 1, 3]], alone, rtol=1e-5)
  assert np.isfinite(found).all()


@pytest.mark.parametrize('mask', [None, [0.0, 1.0], [1.0, 1.0]])
def test_one_sample_or_none_gives_zeros_and_finite_gradients(lab, mask):
  x = tf.constant([[3.0, -2.0]] if mask is None else [[3.0, -2.0], [3.0, -2.0]])
  y = features.normalized(x, None if mask is None else tf.constant(mask))
  found, gradient = lab.run((y, tf.gradients(tf.reduce_sum(y * y), x)[0]))
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(found[0] if mask != [1.0, 1.0] else 0.0, 0.0)


def test_the_scale_of_the_images_features_does_not_matter(lab, rng):
  """Shared features a thousandth as large, and moved, make the same CNN."""
  images = tf.constant(rng.uniform(-1, 1, (6, SIDE, SIDE, 1)).astype(np.float32))
  model = model_of(features=FeatureConfig('2-layer', 3, layerwise=0, normalization='support'))
  support = Support(images, tf.constant(LABELS, tf.int32))
  weights = model.generate(support)
  blocks = {name: layer.blocks for name, layer in weights.layers.items()}
  values = lab.fill()
  before = lab.run(blocks)
  last = {name: v for name, v in values.items() if 'shared_features/layer_2' in name}
  assert len(last) == 2
  lab.load({name: 50 * value for name, value in last.items()})
  for name, value in lab.run(blocks).items():
    np.testing.assert_allclose(value, before[name], rtol=1e-3, atol=1e-3)


def test_an_unlabelled_sample_counts(lab, rng):
  """Its image moves the weights, also where nothing attends to it but through the statistics."""
  images = rng.uniform(-1, 1, (6, SIDE, SIDE, 1)).astype(np.float32)
  placeholder = tf.placeholder(tf.float32, images.shape)
  shared = model_of().shared_features(placeholder)
  normalized = features.normalized(shared)
  lab.fill()
  before = lab.run(normalized, {placeholder: images})
  images[3] = -images[3]
  after = lab.run(normalized, {placeholder: images})
  assert np.abs(before[0] - after[0]).max() > 1e-3
