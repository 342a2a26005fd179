"""Names of variables on both sides: pairs written by hand, and the way there and back."""

from __future__ import annotations

import gzip
import json
import pathlib
import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer.checkpoint_conversion import names
from hypertransformer.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
RECORDED_NAMES = ROOT / 'tests/golden/checkpoint_names.json.gz'
CASES = sorted(json.loads(gzip.decompress(RECORDED_NAMES.read_bytes())))
BUILDER = 'model/cnn_builder/builder_layer_'
STACK = 'generator/transformer/transformer/'
OUR_BLOCK = 'model/generator_2/transformer/encoder_1/'


@pytest.mark.parametrize('case', CASES)
def test_variables_of_every_case_come_back_unchanged(
  case: str, variables_of: Callable[[str], dict[str, np.ndarray]], assert_same: Callable[..., None]
) -> None:
  """Their order does not matter: a checkpoint lists them by name, not as they were made."""
  theirs = variables_of(case)
  shuffled = list(theirs)
  random.Random(case).shuffle(shuffled)
  ours = names.import_variables({name: theirs[name] for name in shuffled})
  separate = any('-eval' in name for name in theirs)
  assert_same(names.export_variables(ours, separate), theirs)
  assert_same(names.import_variables(names.export_variables(ours)), ours)


# Written by hand: that variables come back unchanged says nothing of their names in between.
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
      'a08',
      f'{BUILDER}3_{STACK}decoder/layer_2/attention_2/q/kernel',
      'model/generator_3/transformer/decoder_2/cross_attention/query/kernel',
    ),
    # Layer norms: 3 encoder blocks of 2 and 3 decoder blocks of 3 are 15 to a generator.
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
def test_a_variable_has_the_name_that_was_written_by_hand(
  case: str, theirs: str, ours: str, variables_of: Callable[[str], dict[str, np.ndarray]]
) -> None:
  variables = variables_of(case)
  imported = names.import_variables(variables)
  np.testing.assert_array_equal(names.separate_vectors(imported)[ours], variables[theirs])
  np.testing.assert_array_equal(names.export_variables(imported)[theirs], variables[theirs])


def test_embedding_rows_keep_their_number(
  variables_of: Callable[[str], dict[str, np.ndarray]],
) -> None:
  """Of 21 labels row 10 must not follow row 1, as it does where names are sorted."""
  variables = variables_of('a01')
  setup = 'model/cnn_builder/layer_2_generator_setup/'
  labels = names.import_variables(variables)['model/generator_2/label_embeddings']
  weights = names.import_variables(variables)['model/generator_2/weight_embeddings']
  assert labels.shape == (21, 32)
  assert weights.shape == (8, 32)
  for k in (0, 2, 10, 20):
    np.testing.assert_array_equal(labels[k], variables[f'{setup}label_embeddings/label_{k}'])
  np.testing.assert_array_equal(weights[7], variables[f'{setup}weight_embeddings/weight_7'])


def test_layer_norms_are_sorted_by_a_counter_that_starts_anywhere(
  variables_of: Callable[[str], dict[str, np.ndarray]], assert_same: Callable[..., None]
) -> None:
  """The graph may have held other layer norms before: only the order in a block matters."""
  variables = variables_of('a01')
  shifted = {
    re.sub(r'(layer_normalization)(?:_(\d+))?', _plus_seven, name): value
    for name, value in variables.items()
  }
  assert sorted(shifted) != sorted(variables)
  assert_same(names.import_variables(shifted), names.import_variables(variables))


def _plus_seven(match: re.Match[str]) -> str:
  return f'{match[1]}_{int(match[2] or 0) + 7}'


def test_what_has_no_counterpart_is_dropped(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  assert_same: Callable[..., None],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
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


# ---- projections, side by side in our variables


PROJECTIONS = (
  ('encoder/layer_3/attention/q', 'encoder_3/self_attention/query_key_value', (0, 4)),
  ('encoder/layer_3/attention/k', 'encoder_3/self_attention/query_key_value', (4, 8)),
  ('encoder/layer_3/attention/v', 'encoder_3/self_attention/query_key_value', (8, 14)),
  ('decoder/layer_1/attention_1/k', 'decoder_1/self_attention/query_key_value', (4, 8)),
  ('decoder/layer_1/attention_2/q', 'decoder_1/cross_attention/query', (0, 4)),
  ('decoder/layer_1/attention_2/k', 'decoder_1/cross_attention/key_value', (0, 4)),
  ('decoder/layer_1/attention_2/v', 'decoder_1/cross_attention/key_value', (4, 10)),
)
THEIRS = f'{BUILDER}3_{STACK}'
NORMS = 'model/cnn_builder_2/builder_layer_3_generator/transformer'


def attentions() -> dict[str, np.ndarray]:
  """The original's attentions of one generator: tokens 5 wide, queries and keys 4, values 6."""
  rng = np.random.default_rng(5)
  shapes: dict[str, tuple[int, ...]] = {}
  for scope in (
    'encoder/layer_3/attention',
    'decoder/layer_1/attention_1',
    'decoder/layer_1/attention_2',
  ):
    for name, shape in (('q', (5, 4)), ('k', (5, 4)), ('v', (5, 6)), ('fc', (6, 5))):
      shapes |= {f'{THEIRS}{scope}/{name}/kernel': shape, f'{THEIRS}{scope}/{name}/bias': shape[1:]}
  for scope, count in (
    ('layer_3/layer_3/layer_normalization', ''),
    ('layer_1_1/layer_1/layer_normalization', '_2'),
    ('layer_1_1/layer_1/layer_normalization', '_3'),
  ):
    shapes |= {f'{NORMS}/{scope}{count}/{affine}': (5,) for affine in ('gamma', 'beta')}
  return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(('theirs', 'ours', 'columns'), PROJECTIONS)
@pytest.mark.parametrize('part', ['kernel', 'bias'])
def test_projections_lie_side_by_side(
  theirs: str, ours: str, columns: tuple[int, int], part: str, assert_same: Callable[..., None]
) -> None:
  variables = attentions()
  imported = names.import_variables(variables)
  found = names.separate_vectors(imported)[f'model/generator_3/transformer/{ours}/{part}']
  np.testing.assert_array_equal(found[..., slice(*columns)], variables[f'{THEIRS}{theirs}/{part}'])
  assert_same(names.export_variables(imported), variables)


# ---- refused


def test_unknown_names_are_listed(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
  with pytest.raises(InputError, match='import model/odd'):
    names.import_variables({**variables_of('a13'), 'model/odd': np.zeros(1)})
  many = {**small_model(), **{f'extra/{k}': np.zeros(1) for k in range(7)}}
  with pytest.raises(InputError, match=r'extra/4, \.\.\. \(7 in all\)'):
    names.export_variables(many)


@pytest.mark.parametrize(
  'name',
  [
    'model/cnn/layer_0/conv/kernel',
    'model/generator_2/transformer/encoder_1/cross_attention_norm/gamma',
    'model/generator_2/transformer/encoder_1/self_attention/q/kernel',
    'model/cnn/layer_1/conv/kernel-eval',
    'model/cnn/layer_1/batch_normalization/moving_mean',
    'model/shared_features/layer_1/batch_norm/gamma',
    'model/head_generator_1/label_embeddings',  # the original has no generated warm-up heads
  ],
)
def test_what_the_original_does_not_have_is_refused(
  name: str, small_model: Callable[[], dict[str, np.ndarray]]
) -> None:
  with pytest.raises(InputError, match=re.escape(name)):
    names.export_variables({**small_model(), name: np.zeros(1)})


def test_the_wrong_direction_is_recognized(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
  with pytest.raises(InputError, match='--direction=export'):
    names.import_variables(small_model())
  with pytest.raises(InputError, match='--direction=import'):
    names.export_variables(variables_of('a01'))
  with pytest.raises(InputError, match='--direction=export'):
    names.import_variables(names.import_variables(variables_of('a22')))


@pytest.mark.parametrize(
  ('missing', 'found'),
  [
    (
      'model/cnn_builder/layer_2_generator_setup/label_embeddings/label_3',
      'model/generator_2/label_embeddings',
    ),
    (
      BUILDER + '1_generator/transformer/layer_2/layer_2/layer_normalization_3/beta',
      'generator_1/transformer/encoder_2',
    ),
    (f'{BUILDER}1_{STACK}encoder/layer_2/attention/k/kernel', 'self_attention/key/kernel'),
    (f'{BUILDER}1_{STACK}encoder/layer_2/attention/fc/bias', 'self_attention/output/bias'),
  ],
)
def test_missing_variables_of_the_original_are_named(
  missing: str, found: str, variables_of: Callable[[str], dict[str, np.ndarray]]
) -> None:
  theirs = variables_of('a01')
  del theirs[missing]
  with pytest.raises(InputError, match=found):
    names.import_variables(theirs)


@pytest.mark.parametrize(
  ('changed', 'shape', 'found'),
  [
    ('model/cnn/layer_1/batch_norm/gamma', None, 'CNN layer 1'),
    ('model/generator_2/label_embeddings', [8], 'label_embeddings'),
    (f'{OUR_BLOCK}feed_forward/inner/kernel', None, 'feed_forward/inner/kernel'),
    (f'{OUR_BLOCK}feed_forward/inner/kernel', [8, 9], 'encoder_1/vectors'),
    (f'{OUR_BLOCK}self_attention/output/kernel', [24, 8], 'query_key_value'),
  ],
)
def test_our_variables_must_fit_each_other(
  changed: str,
  shape: list[int] | None,
  found: str,
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
  ours = small_model()
  del ours[changed]
  if shape is not None:
    ours[changed] = np.zeros(shape, np.float32)
  with pytest.raises(InputError, match=found):
    names.export_variables(ours)
