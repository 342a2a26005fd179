"""A whole generator against NumPy, and the widths of its tokens."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import generator
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.layers import Noise
from hypertransformer.model.transformer import Widths
from hypertransformer.settings.model_config import ModelConfig, TransformerConfig

LAYOUT = BlockLayout('output', 3, {'conv/kernel': (1, 1, 4, 3), 'conv/bias': (3,)})  # B = 3, b = 5
LABELS = np.array([0, 1, 2, 1, 0, 2])  # K = 2: no label
IGNORED = np.array([False, True, False, False, True, False])


def config(
  heads: int = 1, num_layers: int = 1, use_decoder: bool = False, **changes
) -> ModelConfig:
  transformer = TransformerConfig(num_layers=num_layers, heads=heads, use_decoder=use_decoder)
  return ModelConfig(**{'num_labels': 2, 'embedding_dim': 4, 'transformer': transformer, **changes})


def mask(ignored: np.ndarray | None = IGNORED) -> tf.Tensor | None:
  return None if ignored is None else tf.constant(ignored, tf.float32)


@pytest.mark.parametrize('width', [2, 8], ids=['features narrower than blocks', 'wider'])
@pytest.mark.parametrize(
  ('ignored', 'settings'),
  [
    (None, {'heads': 3, 'num_layers': 2}),  # 9 and 12 wide
    (IGNORED, {'heads': 2}),  # 9 is rounded up to 10
    (IGNORED, {'use_decoder': True}),
    (None, {'generator': 'separate'}),
  ],
  ids=['plain', 'mask', 'decoder', 'separate'],
)
def test_blocks_are_those_of_numpy(lab, by_hand, rng, width, ignored, settings):
  features = rng.normal(size=(6, width)).astype(np.float32)
  blocks = generator.generate_blocks(
    LAYOUT, tf.constant(features), tf.constant(LABELS), mask(ignored), config(**settings)
  )
  v = {f'g/{name}': value for name, value in lab.fill().items()}
  expected = by_hand.blocks(features, LABELS, v, 'g', config(**settings), 5, ignored)
  assert blocks.shape.as_list() == [3, 5]
  np.testing.assert_allclose(lab.run(blocks), expected, rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize('width', [2, 8], ids=['features narrower than blocks', 'wider'])
@pytest.mark.parametrize(
  'settings', [{'heads': 2}, {'use_decoder': True}, {'generator': 'separate'}]
)
def test_weight_tokens_bring_previous_blocks_along(lab, by_hand, rng, width, settings):
  """It is as if the blocks stood behind the weight embeddings in their table.

  Zeros give the same as no blocks.
  """
  features, before = (rng.normal(size=size).astype(np.float32) for size in ((6, width), (3, 5)))
  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    blocks = [
      generator.generate_blocks(
        LAYOUT,
        tf.constant(features),
        tf.constant(LABELS),
        None,
        config(**settings),
        previous=previous,
      )
      for previous in (None, tf.zeros([3, 5]), tf.constant(before))
    ]
  v = {f'g/{name}': value for name, value in lab.fill().items()}
  plain, same, continued = lab.run(blocks)
  np.testing.assert_array_equal(plain, same)
  v['g/weight_embeddings'] = np.concatenate([v['g/weight_embeddings'], before], axis=1)
  expected = by_hand.blocks(features, LABELS, v, 'g', config(**settings), 5)
  np.testing.assert_allclose(continued, expected, rtol=5e-5, atol=5e-5)
  assert np.abs(continued - plain).max() > 1e-2


@pytest.mark.parametrize('use_decoder', [False, True])
def test_an_ignored_sample_has_no_influence(lab, rng, use_decoder):
  features = tf.placeholder(tf.float32, [6, 3])
  labels = tf.placeholder(tf.int32, [6])
  blocks = generator.generate_blocks(
    LAYOUT, features, labels, mask(), config(use_decoder=use_decoder)
  )
  lab.fill()
  x = rng.normal(size=(6, 3))

  def blocks_with_changed(sample: int) -> np.ndarray:
    changed, other_labels = x.copy(), LABELS.copy()
    changed[sample] += 1
    other_labels[sample] = (other_labels[sample] + 1) % 3
    return lab.run(blocks, {features: changed, labels: other_labels})

  plain = lab.run(blocks, {features: x, labels: LABELS})
  for sample, ignored in enumerate(IGNORED):
    if ignored:
      np.testing.assert_array_equal(blocks_with_changed(sample), plain)
    else:
      assert np.abs(blocks_with_changed(sample) - plain).max() > 1e-3


def test_the_separate_generator_ignores_the_mask(lab, rng):
  features = tf.constant(rng.normal(size=(6, 3)), tf.float32)
  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    both = [
      generator.generate_blocks(
        LAYOUT, features, tf.constant(LABELS), m, config(generator='separate')
      )
      for m in (None, mask())
    ]
  lab.fill()
  np.testing.assert_array_equal(*lab.run(both))


def test_the_order_of_support_samples_does_not_matter(lab, rng):
  features = rng.normal(size=(6, 3)).astype(np.float32)
  order = [3, 0, 5, 1, 4, 2]
  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    both = [
      generator.generate_blocks(LAYOUT, tf.constant(f), tf.constant(y), None, config())
      for f, y in ((features, LABELS), (features[order], LABELS[order]))
    ]
  lab.fill()
  np.testing.assert_allclose(*lab.run(both), rtol=1e-5, atol=1e-5)


def test_dropout_of_the_transformer_is_in_training_only(lab, rng):
  features = tf.constant(rng.normal(size=(6, 3)), tf.float32)
  settings = ModelConfig(
    num_labels=2,
    embedding_dim=4,
    transformer=TransformerConfig(num_layers=1, heads=1, dropout_rate=0.5),
  )
  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    blocks = [
      generator.generate_blocks(LAYOUT, features, tf.constant(LABELS), None, settings, noise)
      for noise in (None, None, Noise(tf.constant([1, 2])))
    ]
  lab.fill()
  plain, same, dropped = lab.run(blocks)
  np.testing.assert_array_equal(plain, same)
  assert np.abs(plain - dropped).max() > 0.01


@pytest.mark.parametrize(
  ('kind', 'features', 'block', 'sample', 'weight'),
  [('joint', 7, 5, 11, 11), ('joint', 5, 7, 11, 11), ('separate', 7, 5, 11, 9)],
)
def test_token_widths_of_both_generators(kind, features, block, sample, weight):
  widths = generator.token_widths(config(generator=kind), features, block)
  assert (widths.sample, widths.weight) == (sample, weight)
  assert widths.sample_sizes == Widths(sample, sample, sample)
  assert widths.weight_sizes == Widths(weight, weight, weight)


def test_joint_rounds_up_to_the_heads_and_separate_does_not():
  assert generator.token_widths(config(heads=4), 7, 5).sample_sizes == Widths(12, 12, 12)
  for features, block, found in ((7, 4, 11), (4, 7, 11)):  # samples or weights: either may be wrong
    with pytest.raises(InputError, match=f'heads=4 does not divide the attention width {found} '):
      generator.token_widths(config(heads=4, generator='separate'), features, block)
