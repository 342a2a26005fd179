"""The flags on the command line: those of the original and our own, and how they are read."""

from __future__ import annotations

import json
import logging
import pathlib

import pytest
from absl import flags as absl_flags

from hypertransformer.model import cnn
from hypertransformer.settings import flags

REPO = pathlib.Path(__file__).resolve().parents[2]
SPEC = REPO.parent / 'shared/spec/flags.json'  # the same flags, with their help texts
KINDS = {'int': int, 'float': float, 'bool': bool, 'string': str, 'string enum': str}
OWN = {
  'add_trainable_weights_to',
  'continual_loss',
  'continual_loss_terms',
  'continual_method',
  'continual_scenario',
  'disjoint_query',
  'embedding_units',
  'episodes_per_step',
  'eval_checkpoint',
  'eval_num_tasks',
  'eval_once',
  'eval_timeout_secs',
  'feature_normalization',
  'generated_weight_scale',
  'gradient_norm_clip',
  'image_summaries',
  'kernel_threads',
  'learning_rate_cooldown',
  'mixed_queries',
  'init_from',
  'num_gpus',
  'num_tasks',
  'optimizer',
  'per_class',
  'prototype_logits',
  'query_statistics',
  'seed',
  'sync_replicas',
  'warmup_heads',
  'xla',
}


def parsed(*arguments, **options):
  """Parses a command line, on flags of its own."""
  own = absl_flags.FlagValues()
  flags.define(own, **options)
  own(['program', *arguments])
  return own


def recorded():
  """Reads the original's flags from tests/golden/flags.json: (name, kind, default, choices)."""
  rows = json.loads((REPO / 'tests/golden/flags.json').read_text())
  return [(name, KINDS[kind], default, tuple(*choices)) for name, kind, default, *choices in rows]


def test_the_flags_are_those_of_the_original_and_our_own():
  ours = {flag.name: (flag.name, flag.kind, flag.default, flag.choices) for flag in flags.ALL_FLAGS}
  assert len(ours) == len(flags.ALL_FLAGS)
  assert len(recorded()) == 89
  for row in recorded():
    assert ours.pop(row[0]) == row
    assert row[2] is None or type(row[2]) is row[1]  # 1 and 1.0 are not the same default
  assert set(ours) == OWN
  assert all(flag.help for flag in flags.ALL_FLAGS)


def test_the_flags_recorded_here_are_those_of_the_specification():
  if not SPEC.exists():
    pytest.skip(f'{SPEC} is not here')
  spec = [
    (flag['name'], KINDS[flag['type']], flag['default'], tuple(flag.get('enum', ())))
    for flag in json.loads(SPEC.read_text())
  ]
  assert spec == recorded()


def test_the_command_line_sets_values(values):
  assert flags.values(parsed()) == flags.defaults()
  own = flags.values(
    parsed(
      '--num_labels=20',
      '--learning_rate=0.02',
      '--balanced_batches',
      '--nolw_generate_bias',
      '--layerwise_generator=separate',
      '--num_layerwise_features=8',
      '--seed=5',
    )
  )
  assert own == values(
    num_labels=20,
    learning_rate=0.02,
    balanced_batches=True,
    layerwise_generator='separate',
    num_layerwise_features='8',
    seed=5,
  )


@pytest.mark.parametrize(
  'argument',
  [
    '--layerwise_generator=both',
    '--optimizer=lbfgs',
    '--num_labels=some',
    '--shared_feature_extractor=2-layer-bn',
    '--cnn_model_name=5-layer',
    '--no_such_flag=1',
  ],
)
def test_the_parser_refuses_unknown_flags_and_values_of_another_type(argument):
  with pytest.raises(absl_flags.Error):
    parsed(argument, choices={'cnn_model_name': list(cnn.ARCHITECTURES)})


def test_flags_without_effect_are_named_in_one_warning(caplog):
  with caplog.at_level(logging.WARNING, logger='absl'):
    flags.values(parsed('--value_dim=256'))  # its default
    assert caplog.messages == []
    flags.values(parsed('--value_dim=3', '--num_labels=5', '--boundary_probability=0.5'))
  assert len(caplog.messages) == 1
  assert '--boundary_probability, --value_dim' in caplog.messages[0]


# What depends on each of these flags. The sets of the declarations replace four lists of names.
AFFECTED = {
  'num_labels': {'training', 'evaluation'},
  'seed': {'training', 'evaluation'},
  'train_dataset': {'training', 'evaluation'},
  'rotation_probability': {'training', 'evaluation'},
  'disjoint_query': {'training', 'evaluation'},
  'learning_rate': {'training'},
  'optimizer': {'training'},
  'label_smoothing': {'training'},
  'dropout_rate': {'training'},
  'episodes_per_step': {'training'},
  'num_tasks': {'training'},
  'init_from': {'training'},
  'restore_shared_features_from': {'training'},
  'test_rotation_probability': {'evaluation'},
  'num_task_evals': {'evaluation'},
  'eval_num_tasks': {'evaluation'},
  'eval_datasets': {'evaluation'},
  'train_log_dir': set(),
  'data_numpy_dir': set(),
  'steps_between_saves': set(),
  'kernel_threads': set(),
  'image_summaries': set(),
  'xla': set(),
  'eval_once': set(),
  'eval_timeout_secs': set(),
  'boundary_probability': set(),
  'value_dim': set(),
}


def test_what_depends_on_a_flag():
  found = {
    name: {what for what in ('training', 'evaluation') if name in flags.affecting(what)}
    for name in AFFECTED
  }
  assert found == AFFECTED


def test_flags_that_decide_which_variables_there_are_belong_to_the_model():
  model = {flag.name for flag in flags.ALL_FLAGS if flag.model}
  assert {
    'add_trainable_weights',
    'cnn_model_name',
    'continual_scenario',
    'default_num_channels',
    'embedding_dim',
    'embedding_units',
    'feature_normalization',
    'heads',
    'image_size',
    'kernel_size',
    'layerwise_generator',
    'logits_feature_extractor',
    'lw_generate_bias',
    'lw_generate_bn',
    'lw_inner_dim',
    'lw_key_query_dim',
    'lw_value_dim',
    'lw_weight_allocation',
    'num_labels',
    'num_layers',
    'num_layerwise_features',
    'number_of_trained_cnn_layers',
    'optimizer',
    'separate_evaluation_bn_vars',
    'shared_feature_extractor',
    'shared_features_dim',
    'shuffle_labels_seed',
    'stride',
    'use_decoder',
    'warmup_heads',
    'warmup_steps',
  } <= model
  assert not model & {
    'disjoint_query',
    'dropout_rate',
    'eval_datasets',
    'label_smoothing',
    'learning_rate',
    'samples_transformer',
    'seed',
    'smooth_probability',
    'train_dataset',
    'train_log_dir',
    'train_steps',
  }
