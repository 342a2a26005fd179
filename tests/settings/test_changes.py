"""Which changes of flags make another model; those of sequences are in test_continual_flags.py."""

from __future__ import annotations

import pytest

from hypertransformer.settings import flags, flags_file


def test_changed_flags_of_the_model_are_named_and_others_are_not(values):
  old = values(num_labels=20, learning_rate=0.1)
  assert flags_file.model_flag_changes(old, old) == []
  new = {**old, 'num_labels': 5, 'cnn_activation': 'lrelu', 'learning_rate': 0.2, 'train_steps': 3}
  assert flags_file.model_flag_changes(old, new) == [
    '--num_labels was 20, is 5',
    "--cnn_activation was 'relu', is 'lrelu'",
  ]


@pytest.mark.parametrize(
  ('old', 'new', 'changed'),
  [
    ({'warmup_steps': 100}, {'warmup_steps': 200}, []),  # the same heads, for longer
    ({'warmup_steps': 0}, {'warmup_steps': 5}, ['--warmup_steps was 0, is 5']),
    ({'warmup_heads': 'trained'}, {}, []),  # there are none
    (
      {'warmup_heads': 'trained'},
      {'warmup_steps': 5},
      ['--warmup_steps was 0, is 5', "--warmup_heads was 'trained', is 'generated'"],
    ),
    (
      {'warmup_steps': 5, 'warmup_heads': 'trained'},
      {'warmup_steps': 5},
      ["--warmup_heads was 'trained', is 'generated'"],
    ),
  ],
)
def test_of_the_warm_up_only_its_heads_make_another_model(old, new, changed, values):
  assert sorted(flags_file.model_flag_changes(values(**old), values(**new))) == sorted(changed)


def test_a_flag_that_an_older_run_did_not_know_was_at_its_default(values):
  old = values()
  del old['feature_normalization']
  assert flags_file.model_flag_changes(old, values()) == []
  assert flags_file.model_flag_changes(old, values(feature_normalization='support')) == [
    "--feature_normalization was 'none', is 'support'"
  ]


def test_flags_that_change_variables_make_another_model():
  """All flags that decide which variables there are do so, and none of the run or of the data."""
  model = {flag.name for flag in flags.ALL_FLAGS if flag.model}
  assert {
    'num_labels',
    'cnn_model_name',
    'kernel_size',
    'stride',
    'default_num_channels',
    'image_size',
    'number_of_trained_cnn_layers',
    'add_trainable_weights',
    'separate_evaluation_bn_vars',
    'layerwise_generator',
    'lw_weight_allocation',
    'lw_generate_bias',
    'lw_generate_bn',
    'embedding_dim',
    'num_layers',
    'heads',
    'lw_key_query_dim',
    'lw_value_dim',
    'lw_inner_dim',
    'use_decoder',
    'shared_feature_extractor',
    'shared_features_dim',
    'num_layerwise_features',
    'logits_feature_extractor',
    'warmup_heads',
    'optimizer',
  } <= model
  assert not model & {
    'train_dataset',
    'samples_transformer',
    'learning_rate',
    'train_steps',
    'train_log_dir',
    'seed',
    'dropout_rate',
    'label_smoothing',
    'smooth_probability',
    'eval_datasets',
    'disjoint_query',
  }
