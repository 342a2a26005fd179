"""Names of both sides: explicit pairs, round trips over the recorded cases, error messages."""

from __future__ import annotations

import gzip
import json
import pathlib
import random
import re

import numpy as np
import pytest

from hypertransformer import errors
from hypertransformer.original import names

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / 'shared' / 'golden'
NPZ_FILES = sorted(SHARED.glob('[ab][0-9][0-9].npz'))
# Names and shapes of all variables of the original in the recorded cases a01-a24, b01-b20.
NAMES: dict[str, dict[str, list[int]]] = json.loads(
  gzip.decompress((ROOT / 'tests/golden/checkpoint_names.json.gz').read_bytes())
)
BUILDER = 'model/cnn_builder/builder_layer_'
STACK = 'generator/transformer/transformer/'


def variables_of(case: str) -> dict[str, np.ndarray]:
  """The original's variables of a case, every tensor with values of its own."""
  averages = {'moving_mean': np.zeros, 'moving_variance': np.ones}
  result: dict[str, np.ndarray] = {}
  for number, (name, shape) in enumerate(NAMES[case].items()):
    make = averages.get(name.rsplit('/', 1)[-1].removesuffix('-eval'))
    result[name] = make(shape, np.float32) if make else np.full(shape, number, np.float32)
  result['global_step'] = np.asarray(402, np.int64)
  return result


def assert_same(
  found: dict[str, np.ndarray], expected: dict[str, np.ndarray], but: str = '$never'
) -> None:
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    assert found[name].dtype == value.dtype, name
    assert found[name].shape == value.shape, name
    if not re.search(but, name):
      np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize('case', sorted(NAMES))
def test_round_trip_of_every_case(case: str) -> None:
  """Also in any order: a checkpoint lists its variables by name, not by creation."""
  theirs = variables_of(case)
  shuffled = list(theirs)
  random.Random(case).shuffle(shuffled)
  ours = names.import_variables({name: theirs[name] for name in shuffled})
  separate = any('-eval' in name for name in theirs)
  assert_same(names.export_variables(ours, separate), theirs)
  assert_same(names.import_variables(names.export_variables(ours)), ours)


@pytest.mark.skipif(not NPZ_FILES, reason='no ../shared/golden')
@pytest.mark.parametrize('file', NPZ_FILES, ids=lambda file: file.stem)
def test_round_trip_of_recorded_values(file: pathlib.Path) -> None:
  """The recorded moving averages are perturbed; those of a real file are in test_convert."""
  with np.load(file) as data:
    theirs = {key[4:]: data[key] for key in data.files if key.startswith('var/')}
  exported = names.export_variables(
    names.import_variables(theirs), any('-eval' in name for name in theirs)
  )
  assert_same(exported, theirs, but='/moving_')
  for name, value in exported.items():
    if '/moving_' in name:
      np.testing.assert_array_equal(value, float('variance' in name), err_msg=name)


@pytest.mark.skipif(not NPZ_FILES, reason='no ../shared/golden')
def test_names_kept_here_are_the_recorded_ones() -> None:
  recorded = json.loads((SHARED / 'checkpoint_names.json').read_text())
  assert {case: NAMES[case] for case in recorded} == recorded


# Written by hand: a round trip alone would not notice query taken for key.
@pytest.mark.parametrize(
  ('case', 'theirs', 'ours'),
  [
    ('a01', 'global_step', 'global_step'),
    ('a01', 'model/shared_features/layer_4/kernel', 'model/shared_features/layer_4/kernel'),
    ('a01', 'loss/shared_head/fc/bias', 'loss/shared_head/bias'),
    (
      'a01',
      BUILDER + '2_generator/feature_extractor/layer_1/bias',
      'model/generator_2/features/layer_1/bias',
    ),
    (
      'a01',
      f'{BUILDER}5_{STACK}encoder/layer_3/attention/fc/kernel',
      'model/generator_5/transformer/encoder_3/self_attention/output/kernel',
    ),
    (
      'a01',
      f'{BUILDER}1_{STACK}encoder/layer_2/fc/layer_1/kernel',
      'model/generator_1/transformer/encoder_2/feed_forward/inner/kernel',
    ),
    (
      'a01',
      f'{BUILDER}1_{STACK}encoder/layer_2/fc/layer_2/bias',
      'model/generator_1/transformer/encoder_2/feed_forward/outer/bias',
    ),
    (
      'a08',
      f'{BUILDER}3_{STACK}decoder/layer_1/fc/layer_2/kernel',
      'model/generator_3/transformer/decoder_1/feed_forward/outer/kernel',
    ),
    (
      'a08',
      f'{BUILDER}3_{STACK}decoder/layer_2/attention_2/q/kernel',
      'model/generator_3/transformer/decoder_2/cross_attention/query/kernel',
    ),
    (
      'a08',
      f'{BUILDER}3_{STACK}decoder/layer_2/attention_1/fc/kernel',
      'model/generator_3/transformer/decoder_2/self_attention/output/kernel',
    ),
    # Layer norms: 3 encoder blocks of 2 and 3 decoder blocks of 3 are 15 to a generator.
    (
      'a08',
      BUILDER + '1_generator/transformer/layer_1/layer_1/layer_normalization/gamma',
      'model/generator_1/transformer/encoder_1/self_attention_norm/gamma',
    ),
    (
      'a08',
      BUILDER + '1_generator/transformer/layer_1/layer_1/layer_normalization_1/beta',
      'model/generator_1/transformer/encoder_1/feed_forward_norm/beta',
    ),
    (
      'a08',
      'model/cnn_builder_1/builder_layer_2_generator/transformer/layer_1_1/layer_1/'
      'layer_normalization_21/gamma',
      'model/generator_2/transformer/decoder_1/self_attention_norm/gamma',
    ),
    (
      'a08',
      'model/cnn_builder_1/builder_layer_2_generator/transformer/layer_1_1/layer_1/'
      'layer_normalization_22/gamma',
      'model/generator_2/transformer/decoder_1/cross_attention_norm/gamma',
    ),
    (
      'a08',
      'model/cnn_builder_3/builder_layer_4_generator/transformer/layer_3_1/layer_3/'
      'layer_normalization_59/beta',
      'model/generator_4/transformer/decoder_3/feed_forward_norm/beta',
    ),
    # Layers without generator do not count: layer 4 is trained, 3 generators of 4 norms before.
    (
      'a12',
      'model/cnn_builder_4/builder_layer_5_generator/transformer/layer_1/layer_1/'
      'layer_normalization_12/beta',
      'model/generator_5/transformer/encoder_1/self_attention_norm/beta',
    ),
    ('a12', 'model/cnn/layer_4/conv/kernel', 'model/cnn/layer_4/conv/kernel'),
    ('a09', 'model/cnn/layer_4/fc/bias', 'model/cnn/layer_4/logits/bias'),
    ('a13', 'model/cnn/layer_2/batch_normalization/gamma', 'model/cnn/layer_2/batch_norm/gamma'),
    (
      'a13',
      'model/cnn/layer_2/batch_normalization/beta-eval',
      'model/cnn_query/layer_2/batch_norm/beta',
    ),
    ('a18', 'model/cnn/head_layer_3/fc/kernel', 'model/cnn/head_3/logits/kernel'),
  ],
)
def test_pairs(case: str, theirs: str, ours: str) -> None:
  variables = variables_of(case)
  imported = names.import_apart(variables)
  np.testing.assert_array_equal(imported[ours], variables[theirs])
  np.testing.assert_array_equal(names.export_variables(imported)[theirs], variables[theirs])


# Widths are chosen apart: queries and keys 4 wide, values 6.
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
  theirs: str, ours: str, columns: tuple[int, int], part: str
) -> None:
  variables = projections()
  imported = names.import_apart(variables)
  expected = variables[f'{BUILDER}3_{STACK}{theirs}/{part}']
  ours = f'model/generator_3/transformer/{ours}/{part}'
  np.testing.assert_array_equal(imported[ours][..., slice(*columns)], expected)
  assert_same(names.export_variables(imported), variables)


def projections() -> dict[str, np.ndarray]:
  """The original's attentions of one generator, tokens 5 wide."""
  rng = np.random.default_rng(5)
  result = {}
  for scope in (
    'encoder/layer_3/attention',
    'decoder/layer_1/attention_1',
    'decoder/layer_2/attention_2',
  ):
    for name, shape in (('q', (5, 4)), ('k', (5, 4)), ('v', (5, 6)), ('fc', (6, 5))):
      result[f'{BUILDER}3_{STACK}{scope}/{name}/kernel'] = np.asarray(
        rng.normal(size=shape), np.float32
      )
      result[f'{BUILDER}3_{STACK}{scope}/{name}/bias'] = np.asarray(
        rng.normal(size=shape[1:]), np.float32
      )
  return result


def test_a_missing_projection_is_named() -> None:
  variables = projections()
  del variables[f'{BUILDER}3_{STACK}encoder/layer_3/attention/k/kernel']
  with pytest.raises(
    errors.InputError, match=r'encoder_3/self_attention/query_key_value/kernel: .*has no key for it'
  ):
    names.import_variables(variables)


@pytest.mark.parametrize('rows', [None, 7, 14])
def test_projections_that_cannot_be_split(rows: int | None) -> None:
  """The width of the values is that of the output kernel: missing, or not fitting (14 columns in
  all).
  """
  ours = names.import_apart(projections())
  output = 'model/generator_3/transformer/encoder_3/self_attention/output/kernel'
  del ours[output]
  if rows is not None:
    ours[output] = np.zeros([rows, 5], np.float32)
  with pytest.raises(errors.InputError, match=f'query_key_value/(kernel|bias).*{output}'):
    names.export_variables(ours)


def test_embedding_rows_keep_their_number() -> None:
  """21 labels: row 10 must not come after row 1, as names sort."""
  variables = variables_of('a01')
  setup = 'model/cnn_builder/layer_2_generator_setup/'
  labels = names.import_variables(variables)['model/generator_2/label_embeddings']
  weights = names.import_variables(variables)['model/generator_2/weight_embeddings']
  assert labels.shape == (21, 32)
  assert weights.shape == (8, 32)
  for k in (0, 2, 10, 20):
    np.testing.assert_array_equal(labels[k], variables[f'{setup}label_embeddings/label_{k}'])
  np.testing.assert_array_equal(weights[7], variables[f'{setup}weight_embeddings/weight_7'])


def test_layer_norms_are_sorted_by_a_counter_that_starts_anywhere() -> None:
  """As when the graph held other layer norms before: only their order in a block counts."""
  variables = variables_of('a01')
  shifted = {
    re.sub(r'(layer_normalization)(?:_(\d+))?', _plus_seven, name): value
    for name, value in variables.items()
  }
  assert sorted(shifted) != sorted(variables)
  assert_same(names.import_variables(shifted), names.import_variables(variables))


def _plus_seven(match: re.Match[str]) -> str:
  return f'{match[1]}_{int(match[2] or 0) + 7}'


def small_model() -> dict[str, np.ndarray]:
  """Ours: layer 1 trained, layer 2 generated with its batch norm, logits layer; one block each."""
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
    for norm in ('self_attention_norm', 'feed_forward_norm'):
      for affine in ('gamma', 'beta'):
        shapes[f'{scope}transformer/encoder_1/{norm}/{affine}'] = [8]
    for dense in ('inner', 'outer'):
      shapes[f'{scope}transformer/encoder_1/feed_forward/{dense}/kernel'] = [8, 8]
      shapes[f'{scope}transformer/encoder_1/feed_forward/{dense}/bias'] = [8]
  return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}


def test_trained_layers_heads_and_their_query_copies() -> None:
  ours = small_model()
  theirs = names.export_variables(ours)
  expected_pairs = {
    'model/cnn/layer_1/conv/kernel': 'model/cnn/layer_1/conv/kernel',
    'model/cnn_query/layer_1/conv/kernel': 'model/cnn/layer_1/conv/kernel-eval',
    'model/cnn_query/layer_1/conv/bias': 'model/cnn/layer_1/conv/bias-eval',
    'model/cnn_query/layer_1/batch_norm/gamma': 'model/cnn/layer_1/batch_normalization/gamma-eval',
    'model/cnn_query/head_1/logits/kernel': 'model/cnn/head_layer_1/fc/kernel-eval',
    'model/cnn/head_1/logits/bias': 'model/cnn/head_layer_1/fc/bias',
    'model/generator_3/transformer/encoder_1/self_attention_norm/beta': 'model/cnn_builder_2/builder_layer_3_generator/transformer/layer_1/layer_1/'
    'layer_normalization_2/beta',
  }
  for name, original_name in expected_pairs.items():
    np.testing.assert_array_equal(theirs[original_name], ours[name], err_msg=name)
  assert_same(names.import_apart(theirs), ours)


@pytest.mark.parametrize('case', ['b04', 'b05'])
def test_blocks_without_feed_forward_part_lack_its_norm_but_the_counter_counts_it(
  case: str,
) -> None:
  theirs = variables_of(case)
  imported = names.import_variables(theirs)
  assert not [name for name in imported if 'feed_forward' in name]
  exported = names.export_variables(imported)
  assert {name for name in exported if 'layer_normalization' in name} == {
    name for name in theirs if 'layer_normalization' in name
  }


def test_the_query_passs_added_variables_have_the_originals_suffix() -> None:
  ours = {
    'model/cnn_query/layer_4/logits/kernel': np.ones([4, 3]),
    'model/cnn_query/layer_4/logits/bias': np.ones(3),
    'model/cnn/layer_4/logits/kernel': np.zeros([4, 3]),
  }
  theirs = names.export_variables(ours)
  assert set(theirs) == {
    'model/cnn/layer_4/fc/kernel-eval',
    'model/cnn/layer_4/fc/bias-eval',
    'model/cnn/layer_4/fc/kernel',
  }
  assert_same(names.import_variables(theirs), ours)


def test_moving_averages_of_small_model() -> None:
  """Both layers have them for both passes; layer 2's batch norm is generated: its channels are its
  9 blocks.
  """
  theirs = names.export_variables(small_model())
  averages = {name: value for name, value in theirs.items() if '/moving_' in name}
  scope = 'model/cnn/layer_{}/batch_normalization/moving_{}'
  expected: dict[str, np.ndarray] = {
    scope.format(1, 'mean'): np.zeros(6, np.float32),
    scope.format(1, 'variance'): np.ones(6, np.float32),
    scope.format(1, 'mean-eval'): np.zeros(6, np.float32),
    scope.format(1, 'variance-eval'): np.ones(6, np.float32),
    scope.format(2, 'mean'): np.zeros(9, np.float32),
    scope.format(2, 'variance'): np.ones(9, np.float32),
    scope.format(2, 'mean-eval'): np.zeros(9, np.float32),
    scope.format(2, 'variance-eval'): np.ones(9, np.float32),
  }
  assert_same(averages, expected)


def test_what_has_no_counterpart_is_dropped() -> None:
  theirs, ours = variables_of('a13'), small_model()
  value: np.ndarray = np.zeros(3, np.float32)
  noise = ('augmentation/alpha', 'augmentations/augmentation_12/rotate')
  assert_same(
    names.import_variables({**theirs, **dict.fromkeys(noise, value)}),
    names.import_variables(theirs),
  )
  kernel = 'model/cnn/layer_1/conv/kernel'
  slots = (
    f'{kernel}/Momentum',
    f'{kernel}/Adam',
    f'{kernel}/Adam_1',
    f'loss/{kernel}/Adam',
    'beta1_power',
    'loss/beta2_power',
  )
  assert_same(
    names.export_variables({**ours, **dict.fromkeys(slots, value)}), names.export_variables(ours)
  )
  assert {names.dropped_kind(name, 'export') for name in slots} == {'optimizer variable'}
  assert {names.dropped_kind(name, 'import') for name in noise} == {'augmentation variable'}
  assert names.dropped_kind(kernel, 'export') is None
  assert names.dropped_kind(kernel, 'import') is None


def test_unknown_names_are_listed() -> None:
  few = {**variables_of('a13'), 'model/odd': np.zeros(1)}
  with pytest.raises(
    errors.InputError,
    match=re.escape('cannot import model/odd: no variables of this project correspond to them.'),
  ):
    names.import_variables(few)
  many = {**small_model(), **{f'extra/{k}': np.zeros(1) for k in range(7)}}
  with pytest.raises(
    errors.InputError,
    match=re.escape(
      'cannot export extra/0, extra/1, extra/2, extra/3, extra/4, ... (7 in all): '
      'no variables of the original correspond to them.'
    ),
  ):
    names.export_variables(many)


@pytest.mark.parametrize(
  'name',
  [
    'model/cnn/layer_0/conv/kernel',
    'model/cnn/layer_01/conv/kernel',
    'model/cnn/layer_1/conv/kernel/more',
    'more/model/cnn/layer_1/conv/kernel',
    'model/generator_2/transformer/encoder_1/cross_attention_norm/gamma',
    'model/generator_2/transformer/encoder_1/self_attention/q/kernel',
    'model/cnn/layer_1/conv/kernel-eval',
    'model/cnn/layer_1/batch_normalization/moving_mean',
    'augmentation/alpha',
    'model/shared_features/layer_1/batch_norm/gamma',
  ],
)
def test_almost_our_names_are_unknown(name: str) -> None:
  with pytest.raises(errors.InputError, match=re.escape(name)):
    names.export_variables({**small_model(), name: np.zeros(1)})


def test_wrong_direction() -> None:
  with pytest.raises(
    errors.InputError,
    match=r'wrong direction: import expects variables of the '
    r'original, but these are of this project \(.*Use --direction=export\.',
  ):
    names.import_variables(small_model())
  with pytest.raises(
    errors.InputError,
    match=r'wrong direction: export expects variables of this '
    r'project, but these are of the original \(.*Use --direction=import\.',
  ):
    names.export_variables(variables_of('a01'))
  with pytest.raises(errors.InputError, match='Use --direction=export'):
    names.import_variables(names.import_variables(variables_of('a22')))


def test_generated_heads_cannot_be_exported() -> None:
  name = 'model/head_generator_1/label_embeddings'
  with pytest.raises(
    errors.InputError,
    match=r'no generated warm-up heads, so '
    rf'{name} cannot be exported.*--warmup_heads=trained',
  ):
    names.export_variables({**small_model(), name: np.zeros([5, 8])})


def test_incomplete_variables() -> None:
  theirs = variables_of('a01')
  del theirs['model/cnn_builder/layer_2_generator_setup/label_embeddings/label_3']
  with pytest.raises(
    errors.InputError,
    match=r'model/generator_2/label_embeddings: its 20 vectors '
    r'.* are numbered 0 to 20 .*; expected 0 to 19',
  ):
    names.import_variables(theirs)
  theirs = variables_of('a01')
  del theirs[BUILDER + '1_generator/transformer/layer_2/layer_2/layer_normalization_3/beta']
  with pytest.raises(
    errors.InputError, match='generator 1, encoder block 2: 1 layer norms with a beta, expected 2'
  ):
    names.import_variables(theirs)
  ours = small_model()
  del ours['model/generator_2/transformer/encoder_1/feed_forward_norm/gamma']
  with pytest.raises(
    errors.InputError, match='generator 2, encoder block 1: 1 layer norms with a gamma, expected 2'
  ):
    names.export_variables(ours)
  ours = small_model()
  del ours['model/cnn/layer_1/batch_norm/gamma']
  with pytest.raises(errors.InputError, match=r'CNN layer 1 has neither .*number of channels'):
    names.export_variables(ours)


def test_embedding_table_must_be_a_table() -> None:
  ours = {**small_model(), 'model/generator_2/label_embeddings': np.zeros(8)}
  with pytest.raises(errors.InputError, match=r'label_embeddings: shape \(8,\), expected \[rows'):
    names.export_variables(ours)
