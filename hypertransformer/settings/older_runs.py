"""Runs of earlier versions that are another model now, told by their flags.json: its key VERSION is
missing.

Before that key was written, some combinations of flags made a model, or had a loss, other than the
original's. Their checkpoints must be neither resumed nor evaluated as if they were what the same
flags make today.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypertransformer import __version__, errors
from hypertransformer.settings import continual_flags

VERSION = 'hypertransformer_version'
LAST_COMMIT = '862113c'  # the last one that made such runs


def stamped(values: Mapping[str, Any]) -> dict[str, Any]:
  """The content of a flags.json: flag values, and the version that the run is of."""
  return {**values, VERSION: __version__}


def require_today(folder: str, values: Mapping[str, Any], training: bool) -> None:
  """Raises InputError if the run in `folder` is one that these flag values do not make any more.

  values: all flags, from its flags.json, and VERSION if it is there. training: the run is to go on,
  so that its loss matters too.
  """
  changes = (
    []
    if VERSION in values
    else [*_model_changes(values), *(_loss_changes(values) if training else [])]
  )
  if changes:
    raise errors.InputError(
      f'the run in {folder} was made by a version of hypertransformer that differed from the original there: '
      f'{"; ".join(changes)}. Train anew in another --train_log_dir, or go on with the version that made it (commit '
      f'{LAST_COMMIT} or before). If the checkpoint was imported from the original, delete flags.json beside it.'
    )


def _model_changes(v: Mapping[str, Any]) -> list[str]:
  generating = v['continual_scenario'] == 'none' or v['continual_method'] != 'constant_protonet'
  if v['pretrain_shared_feature'] or not generating:
    return []
  changes = []
  channels = v['default_num_channels']
  outputs = continual_flags.embedding_units(v) or v['num_labels']
  if v['num_layerwise_features'] == '' and outputs > channels and _has_local_logits_features(v):
    changes.append(
      f'--num_layerwise_features unset: the logits layer had {outputs} local features (its outputs), and '
      f'has {channels} (its input channels)'
    )
  if v['transformer_skip_last_nonlinearity'] and (
    v['use_decoder'] or v['layerwise_generator'] == 'separate'
  ):
    changes.append(
      '--transformer_skip_last_nonlinearity with a decoder: the encoder left out its last nonlinearity, '
      'and keeps it'
    )
  for name in ('lw_key_query_dim', 'lw_value_dim', 'lw_inner_dim'):
    if v['layerwise_generator'] == 'joint' and v[name] > 3 and int(v[name]) % v['heads']:
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
  return v['logits_feature_extractor'] != 'passthrough' or (
    v['warmup_steps'] > 0 and v['warmup_heads'] == 'generated'
  )


def _loss_changes(v: Mapping[str, Any]) -> list[str]:
  if v['label_smoothing'] > 0 and (v['shared_head_weight'] > 0 or v['pretrain_shared_feature']):
    return [f'--label_smoothing={v["label_smoothing"]:g}: the real-class head had none, and has it']
  return []
