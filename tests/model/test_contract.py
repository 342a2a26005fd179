"""What every model must do, whatever its generator, allocation, CNN and use of a decoder.

Each pair of such choices occurs in one of the combinations.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import cnn
from hypertransformer.model.generator import token_widths
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig
from hypertransformer.training import losses

K, SUPPORT, QUERIES, SIDE, CHANNELS = 3, 6, 5, 16, 2
GENERATORS, ALLOCATIONS, DECODERS = ('joint', 'separate'), ('spatial', 'output'), (False, True)

# A third of them with warm-up heads, a third with shared features, a third with added trained
# weights.
COMBINATIONS = [
  ('joint', 'spatial', '3-layer', False, {'warmup_heads': 'generated'}),
  ('separate', 'output', '3-layer', True, {'add_trainable_weights': True}),
  (
    'joint',
    'output',
    '4-layer',
    True,
    {
      'generate_bias': True,
      'generate_bn': True,
      'features': FeatureConfig('2-layer', shared_dim=3),
    },
  ),
  ('separate', 'spatial', '4-layer', False, {'trained_layers': 2, 'add_trainable_weights': True}),
  (
    'joint',
    'spatial',
    'maxpool-4-layer',
    True,
    {'features': FeatureConfig('3-layer', shared_dim=3, layerwise=0)},
  ),
  (
    'separate',
    'output',
    'maxpool-4-layer',
    False,
    {
      'warmup_heads': 'trained',
      'trained_layers': -1,
      'features': FeatureConfig(layerwise=2, logits_extractor='mix'),
    },
  ),
]


def test_every_pair_of_choices_occurs():
  factors = (GENERATORS, ALLOCATIONS, tuple(cnn.ARCHITECTURES), DECODERS)
  for (i, some), (j, others) in itertools.combinations(enumerate(factors), 2):
    assert {(row[i], row[j]) for row in COMBINATIONS} == set(itertools.product(some, others))


def make(
  generator: str, allocation: str, cnn_name: str, use_decoder: bool, changes: dict
) -> ModelConfig:
  pooling = cnn_name == 'maxpool-4-layer'
  return ModelConfig(
    **{
      'num_labels': K,
      'cnn_name': cnn_name,
      'kernel_size': 3 if pooling else 2,
      'stride': 1,
      'channels': CHANNELS,
      'allocation': allocation,
      'generator': generator,
      'embedding_dim': 4,
      'transformer': TransformerConfig(num_layers=1, heads=1, use_decoder=use_decoder),
      **changes,
    }
  )


@pytest.mark.parametrize(
  ('generator', 'allocation', 'cnn_name', 'use_decoder', 'changes'), COMBINATIONS
)
def test_a_model_has_its_planned_shapes_and_finite_gradients(
  lab, rng, generator, allocation, cnn_name, use_decoder, changes
):
  settings = make(generator, allocation, cnn_name, use_decoder, changes)
  support = Support(
    tf.constant(rng.uniform(-1, 1, (SUPPORT, SIDE, SIDE, 1)), tf.float32),
    tf.constant([0, 1, 2, 3, 1, 0]),
  )
  queries = tf.constant(rng.uniform(-1, 1, (QUERIES, SIDE, SIDE, 1)), tf.float32)
  labels = tf.constant([0, 1, 2, 0, 1])
  model = HyperTransformer(settings, (SIDE, SIDE, 1))
  weights = model.generate(support)
  classified = model.classify(queries, weights)

  # Everything is generated but the trained layers; blocks and logits have their shapes.
  plans = {plan.name: plan for plan in (*model.plans, *model.heads) if plan.layout is not None}
  assert set(weights.layers) == set(plans)
  assert len(plans) == len(model.plans) - abs(settings.trained_layers) + (
    len(model.heads) if settings.warmup_heads == 'generated' else 0
  )
  for name, own in weights.layers.items():
    assert own.blocks.shape.as_list() == [
      plans[name].layout.num_blocks,
      plans[name].layout.block_size,
    ]
  logits = [classified.logits, *classified.head_logits]
  assert all(x.shape.as_list() == [QUERIES, K] for x in logits)
  assert len(logits) == 1 + (len(model.plans) - 2 if settings.warmup_heads != 'none' else 0)

  # Activations are as planned.
  for plan in model.plans:
    assert classified.activations[plan.name].shape.as_list() == [QUERIES, *plan.output_shape]

  # Tokens are as wide as was checked when the model was made.
  for plan in plans.values():
    widths = token_widths(settings, model.feature_width(plan), plan.layout.block_size)
    scope = f'model/{plan.generator}/transformer/encoder_1/self_attention/query_key_value/kernel'
    (kernel,) = (v for v in tf.trainable_variables() if v.op.name == scope)
    assert kernel.shape.as_list() == [
      widths.sample,
      2 * widths.sample_sizes.key_query + widths.sample_sizes.value,
    ]
  uses_decoder = use_decoder or generator == 'separate'
  assert any('/decoder_1/' in v.op.name for v in tf.trainable_variables()) == uses_decoder

  # A finite loss with a finite gradient for every variable.
  loss = tf.add_n([losses.cross_entropy(x, labels) for x in logits])
  variables = tf.trainable_variables()
  gradients = tf.gradients(loss, variables)
  assert [
    v.op.name for v, gradient in zip(variables, gradients, strict=True) if gradient is None
  ] == []
  lab.run(tf.global_variables_initializer())
  loss, gradients = lab.run((loss, [tf.convert_to_tensor(gradient) for gradient in gradients]))
  assert np.isfinite(loss)
  assert 0.3 < loss / len(logits) < 10
  assert all(np.isfinite(gradient).all() for gradient in gradients)
  assert sum(np.abs(gradient).max() > 0 for gradient in gradients) > 0.8 * len(gradients)
