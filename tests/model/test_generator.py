"""A whole generator against NumPy, and the widths of its tokens."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import generator
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.layers import Noise
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
      )[0]
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
  blocks, _ = generator.generate_blocks(
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


@pytest.mark.parametrize('ignored', [None, IGNORED], ids=['all', 'some ignored'])
def test_prototypes_score_by_the_squared_distance_to_class_means(lab, rng, ignored):
  features, queries = (rng.normal(size=(n, 3)).astype(np.float32) for n in (6, 4))
  blocks = generator.prototype_blocks(
    tf.constant(features), tf.constant(LABELS), mask(ignored), num_labels=2
  )
  (t,) = lab.fill().values()
  found = lab.run(blocks)
  used = np.full(6, True) if ignored is None else ~ignored
  means = [features[used & np.equal(LABELS, k)].mean(axis=0) for k in range(2)]
  expected = [-t * np.square(queries - mean).sum(axis=1) for mean in means]
  scores = queries @ found[:, :3].T + found[:, 3]
  np.testing.assert_allclose(scores[:, 1] - scores[:, 0], expected[1] - expected[0], rtol=1e-4)


def test_a_class_without_labeled_samples_has_the_prototype_0(lab):
  blocks = generator.prototype_blocks(tf.ones([2, 3]), tf.constant([1, 2]), None, num_labels=2)
  lab.fill()
  zero, other = lab.run(blocks)
  assert not zero.any()
  assert other.all()


def test_embeddings_start_standard_normal(lab):
  layout = BlockLayout('output', 200, {'conv/bias': (200,)})
  settings = config(num_labels=300, embedding_dim=40)
  generator.generate_blocks(layout, tf.zeros([2, 3]), tf.constant([0, 1]), None, settings)
  lab.run(tf.global_variables_initializer())
  tables = {v.op.name: v for v in tf.trainable_variables() if 'embeddings' in v.op.name}
  tables = lab.run(tables)
  assert {name: table.shape for name, table in tables.items()} == {
    'label_embeddings': (301, 40),  # one more: no label
    'weight_embeddings': (200, 40),
  }
  for table in tables.values():
    assert abs(table.mean()) < 0.05
    assert abs(table.std() - 1) < 0.05
    assert np.abs(table).max() > 3  # not truncated


# ---- hiding support samples

STEPS, SAMPLES = 1500, 40
KINDS = np.array([0, 1, 2, 3] * (SAMPLES // 4))  # K = 3: every fourth sample has no label
UNLABELED = KINDS == 3


def masks(lab, labeled: float, unlabeled: float) -> np.ndarray:
  """Draws the masks of all steps, each with its own seed; [steps, samples]."""
  seed = tf.placeholder(tf.int64, [2])
  config = ModelConfig(
    num_labels=3, max_prob_remove_labeled=labeled, max_prob_remove_unlabeled=unlabeled
  )
  mask = generator.removal_mask(tf.constant(KINDS), config, Noise(seed))
  step = lab.session.make_callable(mask, [seed])
  return np.stack([step([9, number]) for number in range(STEPS)])


@pytest.mark.parametrize(('labeled', 'unlabeled'), [(0.6, 0.0), (0.0, 0.9), (0.4, 1.0)])
def test_the_share_of_hidden_samples_is_as_expected(lab, labeled, unlabeled):
  """On average a share p / 2 is hidden: q ~ U(0, p) once per step, and each sample with q.

  Between steps the share varies with a standard deviation of p / sqrt(12) from q, and of sqrt(E[q
  (1 - q)] / n) from the n samples.
  """
  drawn = masks(lab, labeled, unlabeled)
  assert set(np.unique(drawn)) <= {0.0, 1.0}
  assert drawn.dtype == np.float32
  for p, group in ((labeled, ~UNLABELED), (unlabeled, UNLABELED)):
    shares = drawn[:, group].mean(1)
    variance = p**2 / 12 + (p / 2 - p**2 / 3) / group.sum()
    assert abs(shares.mean() - p / 2) <= 4 * (variance / STEPS) ** 0.5
    assert abs(shares.std() - variance**0.5) <= 0.1 * variance**0.5
  assert drawn[:, UNLABELED].any() == (unlabeled > 0)
  assert drawn[:, ~UNLABELED].any() == (labeled > 0)


def test_the_two_probabilities_are_drawn_apart(lab):
  drawn = masks(lab, 1.0, 1.0)
  assert abs(np.corrcoef(drawn[:, UNLABELED].mean(1), drawn[:, ~UNLABELED].mean(1))[0, 1]) < 0.1
