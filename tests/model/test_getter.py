"""The custom getter, and the layout of weight blocks.

The tests say where a variable is in the blocks, what takes its place, and what is recorded.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.model.blocks import BlockLayout
from hypertransformer.model.getter import BOTH, GENERATED, TRAINED, LayerGetter, LayerWeights

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
  assert [OUTPUT.columns(name) for name in OUTPUT.shapes] == [(0, 6), (6, 7), (7, 8), (8, 9)]
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


def read_layer(
  weights: LayerWeights | None, rows: list, trained_scope: str | None = None
) -> dict[str, tf.Tensor]:
  """Asks for the variables of a layer, as the CNN does."""
  own = LayerGetter('layer_1', 'model/cnn', weights, trained_scope, rows)
  with (
    tf.variable_scope('model', reuse=tf.AUTO_REUSE),
    tf.variable_scope('cnn'),
    tf.variable_scope('layer_1', custom_getter=own),
  ):
    with tf.variable_scope('conv'):
      kernel, bias = tf.get_variable('kernel', [2, 2, 2, 3]), tf.get_variable('bias', [3])
    with tf.variable_scope('batch_norm'):
      gamma = tf.get_variable('gamma', [3])
  return {'kernel': kernel, 'bias': bias, 'gamma': gamma}


def spatial_weights(add_trained: bool = False) -> LayerWeights:
  return LayerWeights(SPATIAL, tf.reshape(tf.range(24.0), [4, 6]), add_trained)


def names() -> set[str]:
  return {v.op.name for v in tf.global_variables()}


def test_a_generated_tensor_takes_the_place_of_its_variable(lab):
  rows = []
  layer = read_layer(spatial_weights(), rows)
  assert names() == {'model/cnn/layer_1/conv/bias', 'model/cnn/layer_1/batch_norm/gamma'}
  np.testing.assert_array_equal(lab.run(layer['kernel']).ravel(), range(24))
  assert [(row.layer, row.variable, row.shape, row.source) for row in rows] == [
    ('layer_1', 'conv/kernel', (2, 2, 2, 3), GENERATED),
    ('layer_1', 'conv/bias', (3,), TRAINED),
    ('layer_1', 'batch_norm/gamma', (3,), TRAINED),
  ]
  assert rows[0].value is rows[0].generated is layer['kernel']
  assert rows[0].trained is None
  assert rows[1].generated is None
  assert rows[1].trained is rows[1].value


def test_a_trained_variable_can_be_added_to_a_generated_tensor(lab):
  rows = []
  layer = read_layer(spatial_weights(add_trained=True), rows)
  v = lab.fill()
  expected = np.arange(24).reshape(2, 2, 2, 3) + v['model/cnn/layer_1/conv/kernel']
  np.testing.assert_allclose(lab.run(layer['kernel']), expected, rtol=1e-6)
  assert [row.source for row in rows] == [BOTH, TRAINED, TRAINED]
  assert rows[0].trained.op.name == 'model/cnn/layer_1/conv/kernel'
  np.testing.assert_array_equal(lab.run(rows[0].generated).ravel(), range(24))


def test_a_trained_layer_has_variables_only():
  rows = []
  read_layer(None, rows)
  assert [row.source for row in rows] == [TRAINED] * 3
  assert names() == {
    f'model/cnn/layer_1/{name}' for name in ('conv/kernel', 'conv/bias', 'batch_norm/gamma')
  }


@pytest.mark.parametrize('add_trained', [False, True])
def test_every_use_has_the_same_tensors_and_variables(add_trained):
  weights = spatial_weights(add_trained)
  rows = []
  first, second = read_layer(weights, rows), read_layer(weights, rows)
  assert first == second
  assert len(rows) == 6
  assert getter.distinct(rows) == rows[:3]


def test_the_query_pass_may_have_its_own_trained_variables():
  """So may those that are added to generated tensors; the generated tensor itself is the same."""
  weights = spatial_weights(add_trained=True)
  rows = []
  support, query = read_layer(weights, rows), read_layer(weights, rows, 'model/cnn_query')
  assert support['kernel'] is not query['kernel']
  assert support['bias'] is not query['bias']
  assert rows[0].generated is rows[3].generated
  assert names() == {
    f'model/{name}'
    for name in (
      'cnn/layer_1/conv/kernel',
      'cnn/layer_1/conv/bias',
      'cnn/layer_1/batch_norm/gamma',
      'cnn_query/layer_1/conv/kernel',
      'cnn_query/layer_1/conv/bias',
      'cnn_query/layer_1/batch_norm/gamma',
    )
  }
  assert [(row.variable, row.trained.op.name.split('/')[1]) for row in getter.distinct(rows)] == [
    ('conv/kernel', 'cnn'),
    ('conv/bias', 'cnn'),
    ('batch_norm/gamma', 'cnn'),
    ('conv/kernel', 'cnn_query'),
    ('conv/bias', 'cnn_query'),
    ('batch_norm/gamma', 'cnn_query'),
  ]


def test_a_variable_of_another_scope_is_refused():
  own = LayerGetter('layer_1', 'model/cnn', None, None, [])
  with (
    tf.variable_scope('other', custom_getter=own),
    pytest.raises(ValueError, match='other/kernel is not a variable of model/cnn/layer_1/'),
  ):
    tf.get_variable('kernel', [1])


def test_the_table_lists_each_variable_once():
  rows = []
  read_layer(spatial_weights(), rows)
  read_layer(spatial_weights(), rows)
  assert getter.table(rows) == (
    'layer    variable          shape          source     trained variable\n'
    'layer_1  conv/kernel       2 x 2 x 2 x 3  generated  -\n'
    'layer_1  conv/bias         3              trained    model/cnn/layer_1/conv/bias\n'
    'layer_1  batch_norm/gamma  3              trained    model/cnn/layer_1/batch_norm/gamma'
  )
