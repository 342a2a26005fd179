"""The model as a whole: against NumPy, and what its logits depend on."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_models import SIDE, K, config, trained_names

from hypertransformer.errors import InputError
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings.model_config import FeatureConfig, TransformerConfig


@pytest.fixture
def with_heads(build):
  return build(
    config(warmup_heads='generated', allocation='output', generate_bias=True, generate_bn=True)
  )


def test_every_generated_number_changes_the_logits(lab, with_heads, rng):
  """Each entry of each block is changed in turn: it affects the logits behind it and no others.

  20 CNNs are tried, since in one of them relu or batch norm take out the changes of some entries.
  """
  logits = (with_heads.classified.logits, *with_heads.classified.head_logits)
  layers = with_heads.weights.layers
  run = lab.session.make_callable(logits, [weights.blocks for weights in layers.values()])
  affected = {
    'layer_1': (0, 1, 2),
    'layer_2': (0, 2),
    'layer_3': (0,),
    'layer_4': (0,),
    'head_1': (1,),
    'head_2': (2,),
  }
  assert set(layers) == set(affected)
  moved = {
    (name, position): set()
    for name, weights in layers.items()
    for position in np.ndindex(*weights.blocks.shape)
  }
  for _ in range(20):
    blocks = {
      name: rng.normal(size=weights.blocks.shape).astype(np.float32)
      for name, weights in layers.items()
    }
    plain = run(*blocks.values())
    for name, position in moved:
      changed = blocks[name].copy()
      changed[position] += 0.5
      outputs = run(*{**blocks, name: changed}.values())
      moved[name, position] |= {
        i for i, (a, b) in enumerate(zip(outputs, plain, strict=True)) if np.abs(a - b).max() > 1e-5
      }
  for (name, position), outputs in moved.items():
    assert outputs == set(affected[name]), (name, position)


def test_the_cnn_can_end_in_an_embedding(lab, build):
  """There is one weight block per unit, however many classes there are."""
  built = build(config(embedding_units=7))
  assert built.classified.logits.shape.as_list() == [4, 7]
  assert built.weights.layers['layer_4'].blocks.shape.as_list() == [7, 3]
  outputs, _ = built.model.support_outputs(built.weights)
  again = built.model.classify(
    built.support.images,
    built.model.with_blocks(
      {name: weights.blocks for name, weights in built.weights.layers.items()}
    ),
  ).logits
  lab.fill()
  np.testing.assert_allclose(*lab.run((outputs, again)), rtol=1e-5, atol=1e-5)


def test_variables_are_made_once(build):
  built = build(
    config(
      warmup_heads='trained',
      features=FeatureConfig('2-layer', shared_dim=3),
      add_trainable_weights=True,
    )
  )
  assert built.classified.logits.shape.as_list() == [4, K]
  once = trained_names()
  second = build(built.model.config)
  again = built.model.generate(second.support)
  built.model.classify(second.query, again)
  built.model.classify(second.query, built.weights)
  assert second.classified is not None  # another model object of the same settings
  assert trained_names() == once
  assert all(name.startswith('model/') for name in once)


@pytest.mark.parametrize(
  ('settings', 'flag'),
  [
    ({'transformer': TransformerConfig(heads=4), 'generator': 'separate'}, 'heads=4'),
    ({'features': FeatureConfig('4-layer')}, 'shared_feature_extractor=4-layer'),
    ({'cnn_name': '4-layer', 'kernel_size': 3}, 'cnn_model_name=4-layer'),
    ({'cnn_name': '5-layer'}, 'cnn_model_name=5-layer is unknown.*3-layer, 4-layer'),
    ({'features': FeatureConfig(logits_extractor='mix')}, 'logits_feature_extractor=mix'),
    ({'trained_layers': -4}, 'number_of_trained_cnn_layers=-4'),
  ],
)
def test_what_does_not_fit_is_refused(settings, flag):
  with pytest.raises(InputError, match=flag):
    HyperTransformer(config(**settings), (SIDE, SIDE, 1))
  assert not tf.get_default_graph().get_operations()
