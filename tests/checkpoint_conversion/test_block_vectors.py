"""The vectors of a transformer block, each by its name and all together in one variable."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.checkpoint_conversion import joins
from hypertransformer.model import transformer
from hypertransformer.settings.model_config import TransformerConfig

SCOPE = 'model/generator_2/transformer/'


def block(stack: str, attentions: dict[str, dict[str, int]]) -> dict[str, np.ndarray]:
  """Makes the variables of a block, each vector by its name; all hold numbers of their own.

  Args:
    stack: 'encoder' or 'decoder'.
    attentions: for each attention its layers, and how wide they are. Tokens are 5 wide, and the
      inner layer of the feed-forward part is 7 wide.
  """
  widths = {
    f'{attention}/{name}': width
    for attention, layers in attentions.items()
    for name, width in layers.items()
  }
  widths |= {'feed_forward/inner': 7, 'feed_forward/outer': 5}
  shapes: dict[str, list[int]] = {}
  for name, width in widths.items():
    shapes |= {f'{name}/kernel': [3, width], f'{name}/bias': [width]}
  for norm in (*(f'{attention}_norm' for attention in attentions), 'feed_forward_norm'):
    shapes |= {f'{norm}/gamma': [5], f'{norm}/beta': [5]}
  rng = np.random.default_rng(1)
  return {
    f'{SCOPE}{stack}_1/{name}': np.asarray(rng.normal(size=shape), np.float32)
    for name, shape in shapes.items()
  }


BLOCKS = {
  'encoder': block('encoder', {'self_attention': {'query_key_value': 14, 'output': 5}}),
  'decoder': block(
    'decoder',
    {
      'self_attention': {'query_key_value': 14, 'output': 5},
      'cross_attention': {'query': 4, 'key_value': 10, 'output': 5},
    },
  ),
}


@pytest.mark.parametrize('stack', ['encoder', 'decoder'])
def test_separate_is_the_reverse_of_join(stack: str) -> None:
  apart = {**BLOCKS[stack], 'global_step': np.array(3)}
  together = joins.join_vectors(apart)
  vectors = f'{SCOPE}{stack}_1/vectors'
  assert set(together) == {
    name for name in apart if not name.endswith(('bias', 'gamma', 'beta'))
  } | {vectors}
  assert together[vectors].size == sum(
    value.size for name, value in apart.items() if value.ndim == 1
  )
  assert joins.is_together(vectors)
  again = joins.separate_vectors(together)
  assert again.keys() == apart.keys()
  assert all(np.array_equal(again[name], apart[name]) for name in apart)
  assert joins.join_vectors(together).keys() == together.keys()


@pytest.mark.parametrize(
  'name',
  [
    'vectors',
    'model/generator_1/transformer/encoder_1/vectors/Adam',
    'model/generator_1/transformer/coder_1/vectors',
  ],
)
def test_other_variables_do_not_hold_vectors(name: str) -> None:
  assert not joins.is_together(name)


@pytest.mark.parametrize('stack', ['encoder', 'decoder'])
def test_the_model_has_its_vectors_under_these_names(stack: str) -> None:
  """Shown by their initial values, and by the last norm, which decides about the outputs.

  The tests of the model compare it with NumPy, by these names.
  """
  config = TransformerConfig(num_layers=1, heads=2)
  with tf.Graph().as_default(), tf.Session() as session:
    x = tf.constant(np.random.default_rng(2).normal(size=[4, 5]), tf.float32)
    sizes = transformer.Widths(key_query=4, value=6, inner=7)
    y = (
      transformer.encoder(x, sizes, config)
      if stack == 'encoder'
      else transformer.decoder(x, x, sizes, config)
    )
    variables = {v.op.name: v for v in tf.global_variables()}
    session.run(tf.global_variables_initializer())
    values = joins.separate_vectors(session.run(variables))
    for name, value in values.items():
      if value.ndim == 1:
        np.testing.assert_array_equal(value, float(name.endswith('gamma')), err_msg=name)
    values[f'{stack}_1/feed_forward_norm/gamma'] = np.zeros(5, np.float32)
    values[f'{stack}_1/feed_forward_norm/beta'] = np.arange(5, dtype=np.float32)
    for name, value in joins.join_vectors(values).items():
      variables[name].load(value, session)
    np.testing.assert_array_equal(session.run(y), np.tile(np.arange(5, dtype=np.float32), [4, 1]))


def test_a_missing_vector_is_named() -> None:
  variables = dict(BLOCKS['encoder'])
  del variables[f'{SCOPE}encoder_1/feed_forward_norm/gamma']
  with pytest.raises(
    errors.InputError, match=f'{SCOPE}encoder_1: there is no feed_forward_norm/gamma'
  ):
    joins.join_vectors(variables)


def test_vectors_cannot_be_split_without_fitting_kernels() -> None:
  together = joins.join_vectors(BLOCKS['encoder'])
  kernel = f'{SCOPE}encoder_1/feed_forward/inner/kernel'
  with pytest.raises(
    errors.InputError, match=r'encoder_1/vectors has shape \(51,\), but .* make it \(52,\)'
  ):
    joins.separate_vectors({**together, kernel: np.zeros([3, 8], np.float32)})
  del together[kernel]
  with pytest.raises(
    errors.InputError, match=f'encoder_1/vectors cannot be split: there is no {kernel}'
  ):
    joins.separate_vectors(together)
