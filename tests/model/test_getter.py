"""The custom getter, and the layout of weight blocks.

The tests say where a variable is in the blocks, what takes its place, and what is recorded.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.getter import (
  BOTH,
  GENERATED,
  TRAINED,
  LayerGetter,
  LayerWeights,
  VariableUse,
)

# Two output channels, each with a 1 x 2 kernel over 3 inputs, bias, gamma, beta: 9 numbers a block.
OUTPUT = BlockLayout(
  'output',
  2,
  {
    'conv/kernel': (1, 2, 3, 2),
    'conv/bias': (2,),
    'batch_norm/gamma': (2,),
    'batch_norm/beta': (2,),
  },
)
# Four kernel positions of [2 inputs, 3 outputs].
SPATIAL = BlockLayout('spatial', 4, {'conv/kernel': (2, 2, 2, 3)})


def test_a_block_of_allocation_output_holds_one_channel(lab):
  blocks = np.arange(18, dtype=np.float32).reshape(2, 9)
  parts = {name: lab.run(OUTPUT.unpack(name, tf.constant(blocks))) for name in OUTPUT.shapes}
  assert OUTPUT.block_size == 9
  for channel in range(2):
    np.testing.assert_array_equal(
      parts['conv/kernel'][..., channel], blocks[channel, :6].reshape(1, 2, 3)
    )
  assert parts['conv/kernel'][0, 1, 2].tolist() == [5, 14]  # last number of each kernel
  assert parts['conv/bias'].tolist() == [6, 15]
  assert parts['batch_norm/gamma'].tolist() == [7, 16]
  assert parts['batch_norm/beta'].tolist() == [8, 17]


def test_a_block_of_logits_holds_one_label(lab):
  """A block per label holds its column of the kernel, and then its bias."""
  layout = BlockLayout('output', 3, {'logits/kernel': (2, 3), 'logits/bias': (3,)})
  blocks = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
  assert lab.run(layout.unpack('logits/kernel', blocks)).tolist() == [[1, 4, 7], [2, 5, 8]]
  assert lab.run(layout.unpack('logits/bias', blocks)).tolist() == [3, 6, 9]


def test_a_block_of_allocation_spatial_holds_one_kernel_position(lab):
  blocks = np.arange(24, dtype=np.float32).reshape(4, 6)
  kernel = lab.run(SPATIAL.unpack('conv/kernel', tf.constant(blocks)))
  assert SPATIAL.block_size == 6
  for number, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
    np.testing.assert_array_equal(kernel[row, column], blocks[number].reshape(2, 3))


@pytest.mark.parametrize('layout', [OUTPUT, SPATIAL], ids=['output', 'spatial'])
def test_pack_is_the_inverse_of_unpack(lab, rng, layout):
  blocks = rng.normal(size=(layout.num_blocks, layout.block_size)).astype(np.float32)
  variables = {name: layout.unpack(name, tf.constant(blocks)) for name in layout.shapes}
  assert {name: tuple(x.shape.as_list()) for name, x in variables.items()} == layout.shapes
  packed = layout.pack(variables)
  assert packed.shape.as_list() == list(blocks.shape)
  np.testing.assert_array_equal(lab.run(packed), blocks)


def read_layer(weights: LayerWeights | None, trained_scope: str = 'model/cnn') -> list[VariableUse]:
  """Requests the variables of a layer, as the CNN does, and returns what the getter recorded."""
  own = LayerGetter('layer_1', 'model/cnn', weights, trained_scope)
  with (
    tf.variable_scope('model', reuse=tf.AUTO_REUSE),
    tf.variable_scope('cnn'),
    tf.variable_scope('layer_1', custom_getter=own),
  ):
    with tf.variable_scope('conv'):
      values = [tf.get_variable('kernel', [2, 2, 2, 3]), tf.get_variable('bias', [3])]
    with tf.variable_scope('batch_norm'):
      values.append(tf.get_variable('gamma', [3]))
  assert [use.value for use in own.uses] == values
  return own.uses


def spatial_weights(add_trained: bool = False) -> LayerWeights:
  return LayerWeights(SPATIAL, tf.reshape(tf.range(24.0), [4, 6]), add_trained)


def names() -> set[str]:
  return {v.op.name for v in tf.global_variables()}


def test_a_generated_tensor_takes_the_place_of_its_variable(lab):
  uses = read_layer(spatial_weights())
  assert names() == {'model/cnn/layer_1/conv/bias', 'model/cnn/layer_1/batch_norm/gamma'}
  np.testing.assert_array_equal(lab.run(uses[0].value).ravel(), range(24))
  assert [(use.layer, use.variable, use.shape, use.source) for use in uses] == [
    ('layer_1', 'conv/kernel', (2, 2, 2, 3), GENERATED),
    ('layer_1', 'conv/bias', (3,), TRAINED),
    ('layer_1', 'batch_norm/gamma', (3,), TRAINED),
  ]


def test_a_trained_variable_can_be_added_to_a_generated_tensor(lab):
  uses = read_layer(spatial_weights(add_trained=True))
  v = lab.fill()
  expected = np.arange(24).reshape(2, 2, 2, 3) + v['model/cnn/layer_1/conv/kernel']
  np.testing.assert_allclose(lab.run(uses[0].value), expected, rtol=1e-6)
  assert [use.source for use in uses] == [BOTH, TRAINED, TRAINED]
  assert uses[0].trained.op.name == 'model/cnn/layer_1/conv/kernel'
  np.testing.assert_array_equal(lab.run(uses[0].generated).ravel(), range(24))


def test_a_trained_layer_has_variables_only():
  assert [use.source for use in read_layer(None)] == [TRAINED] * 3
  assert names() == {
    f'model/cnn/layer_1/{name}' for name in ('conv/kernel', 'conv/bias', 'batch_norm/gamma')
  }


@pytest.mark.parametrize('add_trained', [False, True])
def test_every_use_has_the_same_tensors_and_variables(add_trained):
  weights = spatial_weights(add_trained)
  first, second = read_layer(weights), read_layer(weights)
  assert [use.value for use in first] == [use.value for use in second]
  assert getter.distinct(first + second) == first


def test_the_query_pass_may_have_its_own_trained_variables():
  """So may those that are added to generated tensors; the generated tensor itself is the same."""
  weights = spatial_weights(add_trained=True)
  support, query = read_layer(weights), read_layer(weights, 'model/cnn_query')
  assert not {id(use.value) for use in support} & {id(use.value) for use in query}
  assert support[0].generated is query[0].generated
  variables = ['conv/kernel', 'conv/bias', 'batch_norm/gamma']
  assert [use.trained.op.name for use in getter.distinct(support + query)] == [
    f'model/{scope}/layer_1/{name}' for scope in ('cnn', 'cnn_query') for name in variables
  ]


def test_a_variable_of_another_scope_is_refused():
  own = LayerGetter('layer_1', 'model/cnn', None, 'model/cnn')
  with tf.variable_scope('other', custom_getter=own), pytest.raises(ValueError, match='layer_1/'):
    tf.get_variable('kernel', [1])


def test_the_table_lists_each_variable_once():
  weights = spatial_weights()
  assert getter.table(read_layer(weights) + read_layer(weights)) == (
    'layer    variable          shape          source     trained variable\n'
    'layer_1  conv/kernel       2 x 2 x 2 x 3  generated  -\n'
    'layer_1  conv/bias         3              trained    model/cnn/layer_1/conv/bias\n'
    'layer_1  batch_norm/gamma  3              trained    model/cnn/layer_1/batch_norm/gamma'
  )
