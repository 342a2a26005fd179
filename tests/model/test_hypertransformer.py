"""The model as a whole: against NumPy, which of its variables are generated, and what depends on
what.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import accuracy, getter
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.noise import Noise
from hypertransformer.original import block_vectors
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig
from hypertransformer.training import losses

SIDE, K = 12, 3
LABELS = np.array([0, 1, 2, 3, 1, 0])  # the fourth has no label
TINY = {'num_labels': K, 'kernel_size': 2, 'channels': 2, 'embedding_dim': 4}
POOLING = {'cnn_name': 'maxpool-4-layer', 'stride': 1, 'kernel_size': 3}  # 16 -> 8 -> 4 -> 2 -> 1


def config(
  features: FeatureConfig | None = None, use_decoder: bool = False, **changes
) -> ModelConfig:
  return ModelConfig(
    **{
      **TINY,
      'features': features or FeatureConfig(),
      'transformer': TransformerConfig(num_layers=1, heads=1, use_decoder=use_decoder),
      **changes,
    }
  )


def draw(rng, count: int, side: int = SIDE) -> np.ndarray:
  return rng.uniform(-1, 1, (count, side, side, 1)).astype(np.float32)


@dataclasses.dataclass
class Built:
  """A model with one CNN and its logits on four queries."""

  model: HyperTransformer
  support: Support
  query: tf.Tensor

  @functools.cached_property
  def weights(self):
    return self.model.generate(self.support)

  @functools.cached_property
  def classified(self):
    return self.model.classify(self.query, self.weights)


@pytest.fixture
def build(rng):
  """build(config, ...): a Built on random images."""

  def make(settings: ModelConfig, side: int = SIDE, mask: np.ndarray | None = None) -> Built:
    support = Support(
      tf.constant(draw(rng, 6, side)),
      tf.constant(LABELS),
      None if mask is None else tf.constant(mask, tf.float32),
    )
    return Built(
      HyperTransformer(settings, (side, side, 1)), support, tf.constant(draw(rng, 4, side))
    )

  return make


def names(prefix: str = '') -> list[str]:
  return sorted(v.op.name for v in tf.trainable_variables() if v.op.name.startswith(prefix))


# ---- against NumPy


@pytest.mark.parametrize(
  'settings',
  [
    config(),
    config(allocation='output', generate_bias=True, generate_bn=True, use_decoder=True),
    config(generator='separate', features=FeatureConfig('2-layer', shared_dim=3)),
    config(features=FeatureConfig('2-layer', shared_dim=3, layerwise=0)),
    config(
      **POOLING, allocation='output', features=FeatureConfig(layerwise=2, logits_extractor='mix')
    ),
  ],
  ids=['spatial', 'output', 'separate', 'shared only', 'pooling'],
)
def test_the_whole_model(lab, hand_model, build, settings):
  side = 16 if settings.cnn_name in POOLING.values() else SIDE
  ignored = None if settings.generator == 'separate' else np.array([0, 0, 1, 0, 0, 0], bool)
  built = build(settings, side, ignored)
  logits = built.classified.logits
  hand = hand_model(settings, lab.fill())
  ours, logits, images, query = lab.run(
    (
      [weights.blocks for weights in built.weights.layers.values()],
      logits,
      built.support.images,
      built.query,
    )
  )
  expected = hand.generate(images.astype(float), LABELS, ignored)
  assert list(built.weights.layers) == [f'layer_{number}' for number in range(1, hand.count + 2)]
  for own, other in zip(ours, expected.values(), strict=True):
    np.testing.assert_allclose(own, other, rtol=2e-4, atol=2e-4)
  np.testing.assert_allclose(
    logits, hand.classify(query.astype(float), expected), rtol=5e-4, atol=5e-4
  )


# ---- the getter's table

CONVOLUTIONS, ALL = ('layer_1', 'layer_2', 'layer_3'), ('layer_1', 'layer_2', 'layer_3', 'layer_4')
NORM = ('batch_norm/gamma', 'batch_norm/beta')


def table(built: Built, source: str) -> set[str]:
  """'layer_1 conv/kernel' of what came from this source in the query pass, in which every variable
  is used.
  """
  rows = {f'{row.layer} {row.variable}': row.source for row in built.classified.rows}
  assert len(rows) == len(built.classified.rows)
  return {name for name, own in rows.items() if own == source}


def of(layers, *variables) -> set[str]:
  return {f'{layer} {variable}' for layer in layers for variable in variables}


LOGITS = of(['layer_4'], 'logits/kernel', 'logits/bias')


@pytest.mark.parametrize(
  ('settings', 'generated', 'trained'),
  [
    ({}, of(CONVOLUTIONS, 'conv/kernel') | LOGITS, of(CONVOLUTIONS, *NORM)),
    (
      {'allocation': 'output', 'generate_bias': True},
      of(CONVOLUTIONS, 'conv/kernel', 'conv/bias') | LOGITS,
      of(CONVOLUTIONS, *NORM),
    ),
    (
      {'allocation': 'output', 'generate_bn': True},
      of(CONVOLUTIONS, 'conv/kernel', *NORM) | LOGITS,
      set(),
    ),
    (
      {'trained_layers': 2},
      of(['layer_3'], 'conv/kernel') | LOGITS,
      of(CONVOLUTIONS, *NORM) | of(['layer_1', 'layer_2'], 'conv/kernel'),
    ),
    (
      {'trained_layers': -1, 'allocation': 'output', 'generate_bias': True, 'generate_bn': True},
      of(['layer_1', 'layer_2'], 'conv/kernel', 'conv/bias', *NORM) | LOGITS,
      of(['layer_3'], 'conv/kernel', 'conv/bias', *NORM),
    ),
    (
      {'warmup_heads': 'generated'},
      of(CONVOLUTIONS, 'conv/kernel')
      | LOGITS
      | of(['head_1', 'head_2'], 'logits/kernel', 'logits/bias'),
      of(CONVOLUTIONS, *NORM),
    ),
    (
      {'warmup_heads': 'trained'},
      of(CONVOLUTIONS, 'conv/kernel') | LOGITS,
      of(CONVOLUTIONS, *NORM) | of(['head_1', 'head_2'], 'logits/kernel', 'logits/bias'),
    ),
  ],
  ids=[
    'default',
    'bias',
    'bn',
    'first two trained',
    'last trained',
    'heads generated',
    'heads trained',
  ],
)
def test_which_variables_are_generated(build, settings, generated, trained):
  built = build(config(**settings))
  assert table(built, getter.GENERATED) == generated
  assert table(built, getter.TRAINED) == trained
  assert table(built, getter.BOTH) == set()
  assert names('model/cnn') == sorted('model/cnn/' + name.replace(' ', '/') for name in trained)
  with_generator = {
    name.split('/')[1].replace('generator_', '') for name in names() if 'generator_' in name
  }
  layers = {name.split()[0].replace('layer_', '') for name in generated}
  assert with_generator == layers  # a trained layer has no generator


def test_added_trainable_weights(build):
  built = build(config(add_trainable_weights=True))
  assert table(built, getter.BOTH) == of(CONVOLUTIONS, 'conv/kernel') | LOGITS
  assert table(built, getter.TRAINED) == of(CONVOLUTIONS, *NORM)
  assert names('model/cnn') == sorted(
    'model/cnn/' + name.replace(' ', '/')
    for name in of(CONVOLUTIONS, 'conv/kernel', *NORM) | LOGITS
  )


def test_the_scale_of_generated_weights(lab, build):
  """weight = trained + scale * generated; the first layer's generator sees the same images at any
  scale.
  """
  both = [
    build(config(add_trainable_weights=True, generated_weight_scale=scale)) for scale in (1.0, 0.25)
  ]
  kernels = [
    next(row for row in built.classified.rows if row.variable == 'conv/kernel') for built in both
  ]
  assert kernels[0].trained is kernels[1].trained
  lab.load({name: value for name, value in lab.fill().items() if name.startswith('model/')})
  support = both[0].support
  both = [
    HyperTransformer(built.model.config, (SIDE, SIDE, 1)).generate(support).layers['layer_1']
    for built in both
  ]
  (whole, part), values, generated, trained = lab.run(
    (
      [weights.blocks for weights in both],
      kernels[1].value,
      kernels[1].generated,
      kernels[1].trained,
    )
  )
  np.testing.assert_allclose(part, 0.25 * whole, rtol=1e-6)
  np.testing.assert_allclose(values, generated + trained, rtol=1e-6)


def test_an_embedding_in_place_of_logits(lab, build):
  """One weight block per unit, however many classes."""
  built = build(config(embedding_units=7))
  assert built.classified.logits.shape.as_list() == [4, 7]
  assert built.weights.layers['layer_4'].blocks.shape.as_list() == [7, 3]
  outputs = built.model.support_outputs(built.weights)
  again = built.model.classify(
    built.support.images,
    built.model.with_blocks(
      {name: weights.blocks for name, weights in built.weights.layers.items()}
    ),
  ).logits
  lab.fill()
  np.testing.assert_allclose(*lab.run((outputs, again)), rtol=1e-5, atol=1e-5)


def test_separate_query_variables(lab, build):
  built = build(config(separate_query_variables=True, trained_layers=1))
  logits, blocks = (
    built.classified.logits,
    [weights.blocks for weights in built.weights.layers.values()],
  )
  own = of(CONVOLUTIONS, *NORM) | of(['layer_1'], 'conv/kernel')
  for scope, rows in (('cnn', built.weights.rows), ('cnn_query', built.classified.rows)):
    expected = sorted(f'model/{scope}/' + name.replace(' ', '/') for name in own)
    assert sorted(row.trained.op.name for row in rows if row.trained is not None) == expected
    assert names(f'model/{scope}/') == expected
  v = lab.fill()
  plain = lab.run((logits, blocks))
  for scope, of_blocks in (('cnn_query', False), ('cnn', True)):
    name = f'model/{scope}/layer_1/batch_norm/gamma'
    lab.load({name: v[name] + 1})
    changed = lab.run((logits, blocks))
    assert np.abs(changed[0] - plain[0]).max() > 1e-4
    assert any((a != b).any() for a, b in zip(changed[1], plain[1], strict=True)) == of_blocks
    lab.load({name: v[name]})


# ---- what depends on what


@pytest.fixture
def with_heads(build):
  return build(
    config(warmup_heads='generated', allocation='output', generate_bias=True, generate_bn=True)
  )


def test_every_generated_number_changes_the_logits(lab, with_heads, rng):
  """Each entry of each block, in turn: of the logits behind it, and of no others. In some of 20
  CNNs: in most, ReLU or batch norm take the change out for one or the other.
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


def test_a_generator_of_zeros_guesses(lab, with_heads):
  """With the last norm of every generator at zero all blocks are zero: all logits are equal, the
  loss is log K.
  """
  outputs = [with_heads.classified.logits, *with_heads.classified.head_logits]
  labels = tf.constant([0, 1, 2, 0])
  measured = [(losses.cross_entropy(x, labels), accuracy.accuracy(x, labels)) for x in outputs]
  lab.fill(**{'feed_forward_norm/gamma': 0.0, 'feed_forward_norm/beta': 0.0})
  for x, (loss, right) in zip(lab.run(outputs), lab.run(measured), strict=True):
    assert not x.any()
    assert loss == pytest.approx(np.log(K), rel=1e-6)
    assert right == 0.5  # always class 0


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {
      'generator': 'separate',
      'allocation': 'output',
      'features': FeatureConfig('2-layer', shared_dim=3),
    },
  ],
  ids=['joint', 'separate'],
)
def test_the_gradient_reaches_every_variable(lab, build, settings):
  built = build(config(**settings))
  loss = losses.cross_entropy(built.classified.logits, tf.constant([0, 1, 2, 0]))
  variables = tf.trainable_variables()
  gradients = [tf.convert_to_tensor(gradient) for gradient in tf.gradients(loss, variables)]
  lab.fill()
  found = dict(zip((v.op.name for v in variables), lab.run(gradients), strict=True))
  sizes = {name: np.abs(gradient).max() for name, gradient in block_vectors.separate(found).items()}
  assert not {name for name, size in sizes.items() if size < 1e-9}
  assert len([name for name in sizes if 'generator_' in name]) > 60


def test_the_gradient_is_the_slope(lab, build):
  """Through later generators, too, which see activations that the first one's weights made: against
  a difference quotient along the gradient for each generator's variables.
  """
  built = build(config())
  loss = losses.cross_entropy(built.classified.logits, tf.constant([0, 1, 2, 0]))
  variables = {v.op.name: v for v in tf.trainable_variables()}
  gradients = dict(
    zip(
      variables,
      [tf.convert_to_tensor(gradient) for gradient in tf.gradients(loss, list(variables.values()))],
      strict=True,
    )
  )
  v = block_vectors.join(lab.fill())
  gradients = lab.run(gradients)

  def loss_at(along: dict[str, np.ndarray], step: float) -> float:
    lab.load({name: v[name] + np.float32(step) * direction for name, direction in along.items()})
    return float(lab.run(loss))

  for number in range(1, 5):
    own = {
      name: g for name, g in gradients.items() if name.startswith(f'model/generator_{number}/')
    }
    length = sum(np.sum(g**2.0) for g in own.values()) ** 0.5
    along = {name: g / np.float32(length) for name, g in own.items()}
    slope = (loss_at(along, 0.0005) - loss_at(along, -0.0005)) / 0.001
    assert slope == pytest.approx(length, rel=0.03)
    lab.load({name: v[name] for name in own})


def test_variables_are_made_once(build):
  built = build(
    config(
      warmup_heads='trained',
      features=FeatureConfig('2-layer', shared_dim=3),
      add_trainable_weights=True,
    )
  )
  assert built.classified.logits.shape.as_list() == [4, K]
  once = names()
  second = build(built.model.config)
  again = built.model.generate(second.support)
  built.model.classify(second.query, again)
  built.model.classify(second.query, built.weights)
  assert second.classified is not None  # another model object of the same settings
  assert names() == once
  assert all(name.startswith('model/') for name in once)


def test_heads_see_the_spatial_mean_of_their_layer(lab, with_heads):
  classified, layers = with_heads.classified, with_heads.weights.layers
  assert len(classified.head_logits) == 2
  assert list(classified.activations) == list(ALL)
  lab.fill()
  for number, head in enumerate(classified.head_logits, start=1):
    x, blocks, ours = lab.run(
      (classified.activations[f'layer_{number}'], layers[f'head_{number}'].blocks, head)
    )
    np.testing.assert_allclose(
      ours, x.mean((1, 2)) @ blocks[:, :-1].T + blocks[:, -1], rtol=1e-4, atol=1e-4
    )


def test_dropout_of_the_cnn_is_in_the_query_pass_of_training_only(lab, build):
  built = build(config(cnn_dropout_rate=0.5))
  noise = Noise(tf.constant([1, 2]))
  noisy = built.model.generate(built.support, noise)
  outputs = (
    [weights.blocks for weights in built.weights.layers.values()],
    [weights.blocks for weights in noisy.layers.values()],
  )
  logits = built.classified.logits, built.model.classify(built.query, built.weights, noise).logits
  lab.fill()
  for plain, same in zip(*lab.run(outputs), strict=True):
    np.testing.assert_array_equal(plain, same)
  plain, dropped = lab.run(logits)
  assert np.abs(plain - dropped).max() > 1e-3


def test_dropout_of_local_and_shared_features(lab, build):
  built = build(
    config(features=FeatureConfig('2-layer', shared_dim=3, dropout=0.5, shared_dropout=0.5))
  )
  noisy = built.model.generate(built.support, Noise(tf.constant([1, 2])))
  both = [
    [weights.layers[name].blocks for name in weights.layers] for weights in (built.weights, noisy)
  ]
  lab.fill()
  for plain, dropped in zip(*lab.run(both), strict=True):
    assert np.abs(plain - dropped).max() > 1e-3


# ---- refused before anything is built


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'transformer': TransformerConfig(heads=4), 'generator': 'separate'},
      'heads=4 does not divide the attention width',
    ),
    (
      {'features': FeatureConfig('4-layer')},
      'image_size=12 is too small for shared_feature_extractor=4-layer',
    ),
    (
      {'cnn_name': '4-layer', 'kernel_size': 3},
      'image_size is too small for cnn_model_name=4-layer',
    ),
    ({'trained_layers': -4}, 'number_of_trained_cnn_layers is -4'),
  ],
)
def test_what_does_not_fit_is_refused(settings, message):
  with pytest.raises(InputError, match=message):
    HyperTransformer(config(**settings), (SIDE, SIDE, 1))
  assert not tf.get_default_graph().get_operations()
