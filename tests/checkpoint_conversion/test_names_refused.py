"""Variables that cannot be converted, and what the message says of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer import errors
from hypertransformer.checkpoint_conversion import names

BUILDER = 'model/cnn_builder/builder_layer_'


def test_unknown_names_are_listed(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
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
def test_almost_our_names_are_unknown(
  name: str, small_model: Callable[[], dict[str, np.ndarray]]
) -> None:
  with pytest.raises(errors.InputError, match=re.escape(name)):
    names.export_variables({**small_model(), name: np.zeros(1)})


def test_the_wrong_direction_is_recognised(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
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


def test_generated_heads_cannot_be_exported(
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
  name = 'model/head_generator_1/label_embeddings'
  with pytest.raises(
    errors.InputError,
    match=r'no generated warm-up heads, so '
    rf'{name} cannot be exported.*--warmup_heads=trained',
  ):
    names.export_variables({**small_model(), name: np.zeros([5, 8])})


def test_missing_variables_are_named(
  variables_of: Callable[[str], dict[str, np.ndarray]],
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
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


def test_an_embedding_table_must_have_two_axes(
  small_model: Callable[[], dict[str, np.ndarray]],
) -> None:
  ours = {**small_model(), 'model/generator_2/label_embeddings': np.zeros(8)}
  with pytest.raises(errors.InputError, match=r'label_embeddings: shape \(8,\), expected \[rows'):
    names.export_variables(ours)
