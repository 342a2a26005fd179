"""What the tests of the original's numbers and names share."""

from __future__ import annotations

import gzip
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
Variables = dict[str, np.ndarray]


@pytest.fixture(scope='session')
def original_shapes() -> dict[str, dict[str, list[int]]]:
  """The shape of every variable of the original by name, for each of the cases a01-a24, b01-b20."""
  return json.loads(gzip.decompress((GOLDEN / 'checkpoint_names.json.gz').read_bytes()))


@pytest.fixture(scope='session')
def variables_of(original_shapes: dict[str, dict[str, list[int]]]) -> Callable[[str], Variables]:
  """variables_of(case): the original's variables of a case; each holds numbers of its own."""

  def make(case: str) -> Variables:
    averages = {'moving_mean': np.zeros, 'moving_variance': np.ones}
    result: Variables = {}
    for number, (name, shape) in enumerate(original_shapes[case].items()):
      fill = averages.get(name.rsplit('/', 1)[-1].removesuffix('-eval'))
      result[name] = fill(shape, np.float32) if fill else np.full(shape, number, np.float32)
    result['global_step'] = np.asarray(402, np.int64)
    return result

  return make


@pytest.fixture(scope='session')
def small_model() -> Callable[[], Variables]:
  """small_model(): variables of a model of ours.

  Layer 1 is trained. Layer 2 is generated together with its batch norm; layer 3 gives the logits.
  Each transformer has one block. The query pass has trained variables of its own.
  """

  def make() -> Variables:
    rng = np.random.default_rng(3)
    shapes: dict[str, list[int]] = {'global_step': []}
    for which, channels in (('cnn', 6), ('cnn_query', 6)):
      shapes[f'model/{which}/layer_1/conv/kernel'] = [3, 3, 1, channels]
      shapes[f'model/{which}/layer_1/conv/bias'] = [channels]
      shapes[f'model/{which}/layer_1/batch_norm/gamma'] = [channels]
      shapes[f'model/{which}/layer_1/batch_norm/beta'] = [channels]
      shapes[f'model/{which}/head_1/logits/kernel'] = [channels, 4]
      shapes[f'model/{which}/head_1/logits/bias'] = [4]
    for generator, blocks in ((2, 9), (3, 4)):
      scope = f'model/generator_{generator}/'
      shapes[scope + 'label_embeddings'] = [5, 8]
      shapes[scope + 'weight_embeddings'] = [blocks, 8]
      block = f'{scope}transformer/encoder_1/'
      for layer in ('self_attention/output', 'feed_forward/inner', 'feed_forward/outer'):
        shapes[f'{block}{layer}/kernel'] = [8, 8]
      shapes[f'{block}self_attention/query_key_value/kernel'] = [8, 24]
      shapes[f'{block}vectors'] = [24 + 7 * 8]
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}

  return make


@pytest.fixture(scope='session')
def assert_same() -> Callable[..., None]:
  """assert_same(found, expected, but): checks that names, types, shapes and values are equal.

  The values of variables whose names match the pattern `but` may differ.
  """

  def check(found: Variables, expected: Variables, but: str = '$never') -> None:
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
      assert found[name].dtype == value.dtype, name
      assert found[name].shape == value.shape, name
      if not re.search(but, name):
        np.testing.assert_array_equal(found[name], value, err_msg=name)

  return check
