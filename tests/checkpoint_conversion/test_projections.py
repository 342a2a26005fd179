"""Queries, keys and values: variables of their own in the original, side by side in ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer import errors
from hypertransformer.checkpoint_conversion import names

SCOPE = 'model/cnn_builder/builder_layer_3_generator/transformer/transformer/'


def projections() -> dict[str, np.ndarray]:
  """The original's attentions of one generator: tokens 5 wide, queries and keys 4, values 6."""
  rng = np.random.default_rng(5)
  result = {}
  for scope in (
    'encoder/layer_3/attention',
    'decoder/layer_1/attention_1',
    'decoder/layer_2/attention_2',
  ):
    for name, shape in (('q', (5, 4)), ('k', (5, 4)), ('v', (5, 6)), ('fc', (6, 5))):
      result[f'{SCOPE}{scope}/{name}/kernel'] = np.asarray(rng.normal(size=shape), np.float32)
      result[f'{SCOPE}{scope}/{name}/bias'] = np.asarray(rng.normal(size=shape[1:]), np.float32)
  return result


@pytest.mark.parametrize(
  ('theirs', 'ours', 'columns'),
  [
    ('encoder/layer_3/attention/q', 'encoder_3/self_attention/query_key_value', (0, 4)),
    ('encoder/layer_3/attention/k', 'encoder_3/self_attention/query_key_value', (4, 8)),
    ('encoder/layer_3/attention/v', 'encoder_3/self_attention/query_key_value', (8, 14)),
    ('decoder/layer_1/attention_1/q', 'decoder_1/self_attention/query_key_value', (0, 4)),
    ('decoder/layer_1/attention_1/k', 'decoder_1/self_attention/query_key_value', (4, 8)),
    ('decoder/layer_1/attention_1/v', 'decoder_1/self_attention/query_key_value', (8, 14)),
    ('decoder/layer_2/attention_2/q', 'decoder_2/cross_attention/query', (0, 4)),
    ('decoder/layer_2/attention_2/k', 'decoder_2/cross_attention/key_value', (0, 4)),
    ('decoder/layer_2/attention_2/v', 'decoder_2/cross_attention/key_value', (4, 10)),
  ],
)
@pytest.mark.parametrize('part', ['kernel', 'bias'])
def test_projections_lie_side_by_side(
  theirs: str, ours: str, columns: tuple[int, int], part: str, assert_same: Callable[..., None]
) -> None:
  variables = projections()
  imported = names.import_apart(variables)
  expected = variables[f'{SCOPE}{theirs}/{part}']
  ours = f'model/generator_3/transformer/{ours}/{part}'
  np.testing.assert_array_equal(imported[ours][..., slice(*columns)], expected)
  assert_same(names.export_variables(imported), variables)


def test_a_missing_projection_is_named() -> None:
  variables = projections()
  del variables[f'{SCOPE}encoder/layer_3/attention/k/kernel']
  with pytest.raises(
    errors.InputError, match=r'encoder_3/self_attention/query_key_value/kernel: .*has no key for it'
  ):
    names.import_variables(variables)


@pytest.mark.parametrize('rows', [None, 7, 14])
def test_projections_cannot_be_split_without_a_fitting_output_kernel(rows: int | None) -> None:
  """Its rows tell how wide the values are. Here it is missing, or its rows do not go with the 14
  columns that there are in all.
  """
  ours = names.import_apart(projections())
  output = 'model/generator_3/transformer/encoder_3/self_attention/output/kernel'
  del ours[output]
  if rows is not None:
    ours[output] = np.zeros([rows, 5], np.float32)
  with pytest.raises(errors.InputError, match=f'query_key_value/(kernel|bias).*{output}'):
    names.export_variables(ours)
