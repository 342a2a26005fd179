"""Runs of versions that made another model of the same flags are refused, and no others are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings import flags, older_runs

ADDED = {'add_trainable_weights': True, 'separate_evaluation_bn_vars': True}
SMOOTHED = {'label_smoothing': 0.1, 'shared_head_weight': 1.0}


def require(training: bool = False, **changes: Any) -> None:
  """Checks a run of an earlier version, with the default flags but for these changes."""
  older_runs.require_today('logs', flags.defaults() | changes, training)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'num_labels': 20, 'default_num_channels': 8},
      '--num_layerwise_features unset: the logits layer had 20 local features (its outputs), and '
      'has 8 (its input ',
    ),
    (
      {'continual_scenario': 'class_incremental'},
      'the logits layer had 32 local features (its outputs), and has 16',
    ),
    (
      {'transformer_skip_last_nonlinearity': True, 'use_decoder': True},
      'left out its last nonlinearity',
    ),
    (
      {'transformer_skip_last_nonlinearity': True, 'layerwise_generator': 'separate'},
      'left out its last nonlinearity',
    ),
    (
      {'lw_inner_dim': 10.0, 'heads': 4},
      '--lw_inner_dim=10 was rounded up to a multiple of --heads=4, and is not',
    ),
    (
      ADDED,
      '--add_trainable_weights with --separate_evaluation_bn_vars: both passes shared the added '
      'variables',
    ),
  ],
)
@pytest.mark.parametrize('training', [False, True])
def test_a_run_that_is_another_model_today_is_refused(
  changes: dict[str, Any], message: str, training: bool
) -> None:
  with pytest.raises(InputError, match=re.escape(message)) as caught:
    require(training, **changes)
  assert str(caught.value).startswith(
    'the run in logs was made by a version of hypertransformer that differed from'
  )
  assert (
    '--train_log_dir, or go on with the version that made it (commit 862113c or before)'
    in str(caught.value)
  )
  assert (
    older_runs.require_today('logs', older_runs.stamped(flags.defaults() | changes), training)
    is None
  )


@pytest.mark.parametrize(
  'changes', [SMOOTHED, {'label_smoothing': 0.1, 'pretrain_shared_feature': True}]
)
def test_another_loss_matters_to_training_only(changes: dict[str, Any]) -> None:
  require(**changes)
  with pytest.raises(
    InputError, match=re.escape('--label_smoothing=0.1: the real-class head had none, and has it')
  ):
    require(training=True, **changes)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'num_labels': 20, 'default_num_channels': 8, 'num_layerwise_features': '8'},
    {'num_labels': 16},
    {'num_labels': 20, 'logits_feature_extractor': 'passthrough'},
    {'continual_scenario': 'class_incremental', 'continual_method': 'constant_protonet'},
    {'transformer_skip_last_nonlinearity': True},
    {'use_decoder': True},
    {'lw_inner_dim': 12.0, 'heads': 4},
    {'lw_inner_dim': 0.3, 'heads': 4},
    {'lw_inner_dim': 10.0, 'layerwise_generator': 'separate'},
    {'add_trainable_weights': True},
    {'separate_evaluation_bn_vars': True},
    {'label_smoothing': 0.1},
  ],
)
def test_a_run_that_is_the_same_today_goes_on(changes: dict[str, Any]) -> None:
  require(training=True, **changes)
