"""The custom getter, and the layout of weight blocks.

The tests say where a variable is in the blocks, what takes its place, and what is recorded.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.getter import LayerGetter, LayerWeights, VariableUse

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


@pytest.mark.parametrize('add_trained', [False, True])
def test_every_use_has_the_same_tensors_and_variables(add_trained):
  weights = spatial_weights(add_trained)
  first, second = read_layer(weights), read_layer(weights)
  assert [use.value for use in first] == [use.value for use in second]
  assert getter.distinct(first + second) == first


def test_a_variable_of_another_scope_is_refused():
  own = LayerGetter('layer_1', 'model/cnn', None, 'model/cnn')
  with tf.variable_scope('other', custom_getter=own), pytest.raises(ValueError, match='layer_1/'):
    tf.get_variable('kernel', [1])
