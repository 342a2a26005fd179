"""Every pair of values of the model's and the loss's flags, in few combinations.

A combination is refused by its configuration, or it has to work: its weight blocks and logits are
those of NumPy, one step of gradient descent is finite, and its variables go to the original's names
and back without a change of a bit.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from allpairspy import AllPairs

from hypertransformer.checkpoint_conversion import names
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import InputError
from hypertransformer.model import cnn
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings import flags
from hypertransformer.training import objective, optimizer

# What others need comes first: allpairspy fills combinations from the left.
CHOICES: dict[str, list[Any]] = {
  'image_size': [33, 24, 17],
  'cnn_model_name': list(cnn.ARCHITECTURES),
  'stride': [1, 2, 3],
  'kernel_size': [1, 2, 3],
  'lw_weight_allocation': ['output', 'spatial'],
  'layerwise_generator': ['joint', 'separate'],
  'shared_feature_extractor': ['3-layer', '2-layer', 'none'],
  'add_trainable_weights': [True, False],
  'heads': [1, 2, 3],
  'num_labels': [5, 2, 7],
  'default_num_channels': [3, 4],
  'embedding_dim': [6, 9],
  'num_layers': [1, 2],
  'use_decoder': [False, True],
  'cnn_activation': ['relu', 'lrelu'],
  'cnn_dropout_rate': [0.0, 0.3],
  'number_of_trained_cnn_layers': [0, 1, -3],
  'separate_evaluation_bn_vars': [False, True],
  'lw_generate_bias': [False, True],
  'lw_generate_bn': [False, True],
  'lw_key_query_dim': [1.0, 0.4, 6.0],
  'lw_value_dim': [1.0, 1.5, 6.0],
  'lw_inner_dim': [1.0, 7.0, 0.0],
  'transformer_activation': ['softmax', 'sigmoid'],
  'transformer_nonlinearity': ['relu', 'gelu', 'lrelu'],
  'transformer_skip_last_nonlinearity': [False, True],
  'dropout_rate': [0.0, 0.2],
  'shared_features_dim': [5, 3],
  'shared_feature_extractor_padding': ['same', 'valid'],
  'shared_fe_dropout': [0.0, 0.2],
  'num_layerwise_features': ['', '0', '4'],
  'lw_use_nonlinear_feature': [False, True],
  'logits_feature_extractor': ['default', 'passthrough', 'mix'],
  'fe_dropout': [0.0, 0.2],
  'feature_normalization': ['none', 'support'],
  'max_prob_remove_unlabeled': [0.0, 0.5],
  'max_prob_remove_labeled': [0.0, 0.5],
  'label_smoothing': [0.0, 0.3],
  'l2_reg_weight': [0.0, 0.1],
  'weight_variation_regularization': [0.0, 0.05],
  'warmup_steps': [0, 9],
  'warmup_heads': ['generated', 'trained'],
  'shared_head_weight': [0.0, 0.5],
  'pretrain_shared_feature': [False, True],
}
QUERIES = 6
FIRST_CLASS, CLASSES = 3, 10


def values_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
  return {**flags.defaults(), **chosen}


def model_of(values: Mapping[str, Any]) -> HyperTransformer:
  side = values['image_size']
  return HyperTransformer(flags.settings_from(values).model, (side, side, 1))


def can_be(row: list[Any]) -> bool:
  """Says whether these values, with the first choices for the rest, make a model and a loss."""
  firsts = {name: choices[0] for name, choices in CHOICES.items()}
  values = values_of(firsts | dict(zip(CHOICES, row, strict=False)))
  try:
    flags.settings_from(values)
    model_of(values)
  except InputError:
    return False
  return True


@functools.cache
def combinations() -> list[dict[str, Any]]:
  return [
    dict(zip(CHOICES, row, strict=True))
    for row in AllPairs(list(CHOICES.values()), filter_func=can_be)
  ]


def shown(chosen: dict[str, Any]) -> str:
  defaults = flags.defaults()
  return ' '.join(f'{name}={value}' for name, value in chosen.items() if value != defaults[name])


@pytest.fixture
def episode(rng: np.random.Generator, request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
  """Draws two samples a class, the last of each without its label if flags hide labels."""
  chosen = request.getfixturevalue('chosen')
  side, ways = chosen['image_size'], chosen['num_labels']
  labels = np.tile(np.arange(ways), 2)
  if chosen['max_prob_remove_unlabeled'] > 0:
    labels[ways:] = ways
  return {
    'support': rng.uniform(-1, 1, (2 * ways, side, side, 1)).astype(np.float32),
    'labels': labels,
    'query': rng.uniform(-1, 1, (QUERIES, side, side, 1)).astype(np.float32),
    'query_labels': rng.integers(0, ways, QUERIES),
    'classes': rng.integers(0, CLASSES, 2 * ways) + FIRST_CLASS,
  }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
  if 'chosen' in metafunc.fixturenames:
    metafunc.parametrize(
      'chosen', combinations(), ids=[f'{n:02}' for n in range(len(combinations()))]
    )


def test_the_combination_works(lab, hand_model, episode, chosen):
  values = values_of(chosen)
  print(shown(chosen))
  model, settings = model_of(values), flags.settings_from(values)
  ours = objective.of_episode(
    settings,
    model,
    Episode(
      support_images=tf.constant(episode['support']),
      support_labels=tf.constant(episode['labels'], tf.int32),
      support_classes=tf.constant(episode['classes'], tf.int32),
      query_images=tf.constant(episode['query']),
      query_labels=tf.constant(episode['query_labels'], tf.int32),
      query_classes=None,
      query_in_support=None,
      seed=tf.constant([3, 4], tf.int64),
    ),
    range(FIRST_CLASS, FIRST_CLASS + CLASSES),
    tf.train.get_or_create_global_step(),
    tf.constant(1.0),
  )
  if not settings.loss.pretrain_shared:
    by_numpy(lab, hand_model, model, episode)
  rule, _ = optimizer.make(settings.optimizer, tf.train.get_or_create_global_step())
  update = rule.apply_gradients(optimizer.gradients(rule, ours.loss))
  lab.run(tf.global_variables_initializer())
  before = trained(lab)
  loss_value, _ = lab.run((ours.loss, update))
  assert np.isfinite(loss_value)
  after = trained(lab)
  assert all(np.isfinite(value).all() for value in after.values())
  assert any((before[name] != after[name]).any() for name in after)
  there_and_back(lab, model)


def trained(lab) -> dict[str, np.ndarray]:
  return lab.run({v.op.name: v for v in tf.global_variables()})


def by_numpy(lab, hand_model, model: HyperTransformer, episode: Mapping[str, np.ndarray]) -> None:
  """Compares the weight blocks of all layers and the logits of the queries, without noise."""
  ignored = None
  if model.config.generator == 'joint':
    ignored = np.arange(len(episode['labels'])) == 1
  support = Support(
    tf.constant(episode['support']),
    tf.constant(episode['labels'], tf.int32),
    None if ignored is None else tf.constant(ignored, tf.float32),
  )
  weights = model.generate(support)
  blocks = {
    name: layer.blocks for name, layer in weights.layers.items() if name.startswith('layer_')
  }
  logits = model.classify(tf.constant(episode['query']), weights).logits
  hand = hand_model(model.config, lab.fill())
  expected = hand.generate(episode['support'].astype(float), episode['labels'], ignored)
  found, found_logits = lab.run((blocks, logits))
  assert list(found) == [f'layer_{number}' for number in expected]
  for name, other in zip(found, expected.values(), strict=True):
    close(found[name], other, name)
  close(found_logits, hand.classify(episode['query'].astype(float), expected), 'logits')


def close(found: np.ndarray, expected: np.ndarray, name: str) -> None:
  """Compares to a thousandth of the largest number: batch norms of few images enlarge rounding."""
  np.testing.assert_allclose(
    found, expected, rtol=0, atol=1e-3 * np.abs(expected).max(), err_msg=name
  )


def there_and_back(lab, model: HyperTransformer) -> None:
  variables = trained(lab)
  separate = model.config.separate_query_variables
  if model.config.warmup_heads == 'generated' and any(
    'head_generator' in name for name in variables
  ):
    with pytest.raises(InputError, match='no generated warm-up heads'):
      names.export_variables(variables, separate)
    return
  back = names.import_variables(names.export_variables(variables, separate))
  assert sorted(back) == sorted(variables)
  for name, value in variables.items():
    assert back[name].dtype == value.dtype
    np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_every_pair_of_values_that_can_be_is_there():
  """Pairs that only go together with a third value may be missing; those are few."""
  rows = combinations()
  assert 10 < len(rows) < 60
  for name, choices in CHOICES.items():
    assert {row[name] for row in rows} == set(choices), name
