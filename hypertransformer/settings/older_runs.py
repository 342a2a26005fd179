"""Refuses runs of earlier versions whose flags make another model, or have another loss, today.

Up to commit LAST_COMMIT, some combinations of flags made a model, or had a loss, other than the
original's. Checkpoints of such runs must be neither resumed nor evaluated as if they were what the
same flags make today. These runs are recognised by their flags.json: its key VERSION is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypertransformer import __version__, errors
from hypertransformer.settings import continual_flags
from hypertransformer.settings.model_config import LARGEST_FRACTION

VERSION = 'hypertransformer_version'
LAST_COMMIT = '862113c'  # the last commit that made such runs


def stamped(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of a flags.json: flag values by name, and the version of this package."""
  return {**values, VERSION: __version__}


def require_today(folder: str, values: Mapping[str, Any], training: bool) -> None:
  """Checks that the run in a folder is what its flags still make today.

  Args:
    folder: folder of the run, for the message.
    values: all flag values by name, of the run's flags.json, and VERSION if it is there.
    training: whether the run is to be trained further, so that its loss matters too.

  Raises:
    InputError: the flags make another model, or have another loss, today.
  """
  changes = (
    []
    if VERSION in values
    else [*_model_changes(values), *(_loss_changes(values) if training else [])]
  )
  if changes:
    raise errors.InputError(
      f'the run in {folder} was made by a version of hypertransformer that differed from the '
      f'original there: {"; ".join(changes)}. Train anew in another --train_log_dir, or go on with '
      f'the version that made it (commit {LAST_COMMIT} or before). If the checkpoint was imported '
      'from the original, delete flags.json beside it.'
    )


def _model_changes(v: Mapping[str, Any]) -> list[str]:
  """Lists what about the model of these flags was different before."""
  generating = v['continual_scenario'] == 'none' or v['continual_method'] != 'constant_protonet'
  if v['pretrain_shared_feature'] or not generating:
    return []
  changes = []
  channels = v['default_num_channels']
  outputs = continual_flags.embedding_units(v) or v['num_labels']
  if v['num_layerwise_features'] == '' and outputs > channels and _has_local_logits_features(v):
    changes.append(
      f'--num_layerwise_features unset: the logits layer had {outputs} local features (its '
      f'outputs), and has {channels} (its input channels)'
    )
  if v['transformer_skip_last_nonlinearity'] and (
    v['use_decoder'] or v['layerwise_generator'] == 'separate'
  ):
    changes.append(
      '--transformer_skip_last_nonlinearity with a decoder: the encoder left out its last '
      'nonlinearity, and keeps it'
    )
  for name in ('lw_key_query_dim', 'lw_value_dim', 'lw_inner_dim'):
    if (
      v['layerwise_generator'] == 'joint'
      and v[name] > LARGEST_FRACTION
      and int(v[name]) % v['heads']
    ):
      changes.append(
        f'--{name}={v[name]:g} was rounded up to a multiple of --heads={v["heads"]}, and is not'
      )
  if v['add_trainable_weights'] and v['separate_evaluation_bn_vars']:
    changes.append(
      '--add_trainable_weights with --separate_evaluation_bn_vars: both passes shared the added '
      'variables, and have their own'
    )
  return changes


def _has_local_logits_features(v: Mapping[str, Any]) -> bool:
  """Whether the final logits layer, or a warm-up head, is generated from local features."""
  return v['logits_feature_extractor'] != 'passthrough' or (
    v['warmup_steps'] > 0 and v['warmup_heads'] == 'generated'
  )


def _loss_changes(v: Mapping[str, Any]) -> list[str]:
  """Lists what about the loss of these flags was different before."""
  if v['label_smoothing'] > 0 and (v['shared_head_weight'] > 0 or v['pretrain_shared_feature']):
    return [f'--label_smoothing={v["label_smoothing"]:g}: the real-class head had none, and has it']
  return []
