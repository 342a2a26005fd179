"""Which variables of the CNN are generated, trained, or the sum of both."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import SIDE, Built, config, trained_names

from hypertransformer.model import getter
from hypertransformer.model.hypertransformer import HyperTransformer

CONVOLUTIONS = ('layer_1', 'layer_2', 'layer_3')
NORM = ('batch_norm/gamma', 'batch_norm/beta')


def table(built: Built, source: str) -> set[str]:
  """Lists what came from this source in the query pass, as "layer_1 conv/kernel".

  In the query pass every variable is used.
  """
  uses = {f'{use.layer} {use.variable}': use.source for use in built.classified.uses}
  assert len(uses) == len(built.classified.uses)
  return {name for name, own in uses.items() if own == source}


def of(layers, *variables) -> set[str]:
  """Names these variables of each of the layers, as "layer_1 conv/kernel"."""
  return {f'{layer} {variable}' for layer in layers for variable in variables}


LOGITS = of(['layer_4'], 'logits/kernel', 'logits/bias')


@pytest.mark.parametrize(
  ('settings', 'generated', 'trained'),
  [
    ({}, of(CONVOLUTIONS, 'conv/kernel') | LOGITS, of(CONVOLUTIONS, *NORM)),
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
  ids=['default', 'first two trained', 'last trained', 'heads generated', 'heads trained'],
)
def test_which_variables_are_generated(build, settings, generated, trained):
  built = build(config(**settings))
  assert table(built, getter.GENERATED) == generated
  assert table(built, getter.TRAINED) == trained
  assert table(built, getter.BOTH) == set()
  assert trained_names('model/cnn') == sorted(
    'model/cnn/' + name.replace(' ', '/') for name in trained
  )
  with_generator = {
    name.split('/')[1].replace('generator_', '') for name in trained_names() if 'generator_' in name
  }
  layers = {name.split()[0].replace('layer_', '') for name in generated}
  assert with_generator == layers  # a trained layer has no generator


def test_generated_weights_with_trained_ones_added_are_recorded_as_both(build):
  built = build(config(add_trainable_weights=True))
  assert table(built, getter.BOTH) == of(CONVOLUTIONS, 'conv/kernel') | LOGITS
  assert table(built, getter.TRAINED) == of(CONVOLUTIONS, *NORM)
  assert trained_names('model/cnn') == sorted(
    'model/cnn/' + name.replace(' ', '/')
    for name in of(CONVOLUTIONS, 'conv/kernel', *NORM) | LOGITS
  )


def test_trained_weights_can_be_added_to_convolutions_only(build):
  made = config(
    add_trainable_weights=True, add_trainable_weights_to='convolutions', generated_weight_scale=0.1
  )
  built = build(made)
  assert table(built, getter.BOTH) == of(CONVOLUTIONS, 'conv/kernel')
  assert table(built, getter.GENERATED) == LOGITS


def test_generated_weights_are_scaled_before_trained_ones_are_added(lab, build):
  """The weight is trained + scale * generated.

  The generator of the first layer sees the same images at any scale.
  """
  both = [
    build(config(add_trainable_weights=True, generated_weight_scale=scale)) for scale in (1.0, 0.25)
  ]
  kernels = [
    next(use for use in built.classified.uses if use.variable == 'conv/kernel') for built in both
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


def test_the_query_pass_can_have_trained_variables_of_its_own(lab, build):
  built = build(config(separate_query_variables=True, trained_layers=1))
  logits, blocks = (
    built.classified.logits,
    [weights.blocks for weights in built.weights.layers.values()],
  )
  own = of(CONVOLUTIONS, *NORM) | of(['layer_1'], 'conv/kernel')
  for scope, uses in (('cnn', built.weights.uses), ('cnn_query', built.classified.uses)):
    expected = sorted(f'model/{scope}/' + name.replace(' ', '/') for name in own)
    assert sorted(use.trained.op.name for use in uses if use.trained is not None) == expected
    assert trained_names(f'model/{scope}/') == expected
  v = lab.fill()
  plain = lab.run((logits, blocks))
  for scope, of_blocks in (('cnn_query', False), ('cnn', True)):
    name = f'model/{scope}/layer_1/batch_norm/gamma'
    lab.load({name: v[name] + 1})
    changed = lab.run((logits, blocks))
    assert np.abs(changed[0] - plain[0]).max() > 1e-4
    assert any((a != b).any() for a, b in zip(changed[1], plain[1], strict=True)) == of_blocks
    lab.load({name: v[name]})
