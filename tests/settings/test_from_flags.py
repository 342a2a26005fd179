"""The command line: the original's flags, how they become configs, and what is refused."""

from __future__ import annotations

import json
import logging
import pathlib

import pytest
from absl import flags as absl_flags

from hypertransformer.errors import InputError
from hypertransformer.settings import (
  changes,
  config,
  data_config,
  flag_table,
  flags,
  from_flags,
  model_config,
)
from hypertransformer.settings.data_config import AugmentationConfig

REPO = pathlib.Path(__file__).resolve().parents[2]
SPEC = REPO.parent / 'shared/spec/flags.json'
KINDS = {'int': int, 'float': float, 'bool': bool, 'string': str, 'string enum': str}


def values(**changes):
  assert not set(changes) - set(flags.defaults())
  return {**flags.defaults(), **changes}


def parsed(*arguments: str) -> absl_flags.FlagValues:
  own = absl_flags.FlagValues()
  flags.define(own)
  own(['program', *arguments])
  return own


# ---- names, types, defaults, closed sets


def recorded() -> list[tuple]:
  """(name, kind, default, choices) of tests/golden/flags.json: the rows of the spec's flags.json in
  short.
  """
  rows = json.loads((REPO / 'tests/golden/flags.json').read_text())
  return [(name, KINDS[kind], default, tuple(*choices)) for name, kind, default, *choices in rows]


def test_the_original_flags_are_all_there_and_no_other():
  ours = {
    flag.name: (flag.name, flag.kind, flag.default, flag.choices)
    for flag in flag_table.ORIGINAL_FLAGS
  }
  assert len(flag_table.ORIGINAL_FLAGS) == len(recorded()) == 89
  for row in recorded():
    assert ours.pop(row[0]) == row
    assert row[2] is None or type(row[2]) is row[1]  # 1 and 1.0 are not the same default
  assert ours == {}


def test_the_record_is_the_spec():
  if not SPEC.exists():
    pytest.skip(f'{SPEC} is not here')
  spec = [
    (flag['name'], KINDS[flag['type']], flag['default'], tuple(flag.get('enum', ())))
    for flag in json.loads(SPEC.read_text())
  ]
  assert spec == recorded()


def test_flags_are_unique_and_explained():
  names = [flag.name for flag in flag_table.ALL_FLAGS]
  assert len(set(names)) == len(names)
  assert all(flag.help for flag in flag_table.ALL_FLAGS)
  assert set(flag_table.WITHOUT_EFFECT) <= set(names)
  assert {flag.name for flag in flag_table.CONTINUAL_FLAGS} == {
    'continual_scenario',
    'continual_method',
    'num_tasks',
    'eval_num_tasks',
    'continual_loss',
    'continual_loss_terms',
    'mixed_queries',
    'embedding_units',
    'generated_weight_scale',
    'gradient_norm_clip',
  }
  assert {flag.name for flag in flag_table.OWN_FLAGS} == {
    'seed',
    'optimizer',
    'disjoint_query',
    'warmup_heads',
    'episodes_per_step',
    'kernel_threads',
    'eval_once',
    'eval_checkpoint',
    'eval_timeout_secs',
  }


def test_defaults_of_the_command_line():
  assert flags.values(parsed()) == flags.defaults()


def test_values_of_the_command_line():
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
    '--no_such_flag=1',
  ],
)
def test_what_the_parser_refuses(argument):
  with pytest.raises(absl_flags.Error):
    parsed(argument)


def test_flags_without_effect_are_named_in_one_warning(caplog):
  with caplog.at_level(logging.WARNING, logger='absl'):
    flags.values(parsed('--value_dim=256'))  # its default
    assert caplog.messages == []
    flags.values(parsed('--value_dim=3', '--num_labels=5', '--boundary_probability=0.5'))
  assert caplog.messages == [
    'These flags are accepted but have no effect: --boundary_probability, --value_dim'
  ]


# ---- configs


def test_configs_of_the_defaults_are_the_default_configs():
  v = values()
  assert from_flags.model_config(v) == model_config.ModelConfig()
  assert from_flags.loss_config(v) == config.LossConfig()
  assert from_flags.optimizer_config(v) == config.OptimizerConfig()
  assert from_flags.episode_config(v) == data_config.EpisodeConfig()
  assert from_flags.eval_config(v) == config.EvalConfig()
  assert from_flags.run_config(v) == config.RunConfig('/tmp/experiment')


def test_every_model_flag_arrives():
  model = from_flags.model_config(
    values(
      num_labels=5,
      cnn_model_name='maxpool-4-layer',
      kernel_size=5,
      stride=1,
      default_num_channels=7,
      cnn_activation='lrelu',
      cnn_dropout_rate=0.1,
      number_of_trained_cnn_layers=-1,
      add_trainable_weights=True,
      separate_evaluation_bn_vars=True,
      lw_weight_allocation='output',
      lw_generate_bias=True,
      lw_generate_bn=True,
      embedding_dim=9,
      max_prob_remove_labeled=0.2,
      max_prob_remove_unlabeled=0.3,
      warmup_steps=10,
      warmup_heads='trained',
      num_layers=2,
      heads=3,
      lw_key_query_dim=0.5,
      lw_value_dim=2.5,
      lw_inner_dim=40.0,
      transformer_activation='sigmoid',
      transformer_nonlinearity='gelu',
      transformer_skip_last_nonlinearity=True,
      use_decoder=True,
      dropout_rate=0.4,
      generated_weight_scale=0.5,
      shared_feature_extractor='4-layer',
      shared_features_dim=11,
      shared_feature_extractor_padding='same',
      shared_fe_dropout=0.5,
      num_layerwise_features='6',
      lw_use_nonlinear_feature=True,
      logits_feature_extractor='mix',
      fe_dropout=0.6,
    )
  )
  assert model == model_config.ModelConfig(
    num_labels=5,
    cnn_name='maxpool-4-layer',
    kernel_size=5,
    stride=1,
    channels=7,
    cnn_activation='lrelu',
    cnn_dropout_rate=0.1,
    trained_layers=-1,
    add_trainable_weights=True,
    separate_query_variables=True,
    allocation='output',
    generate_bias=True,
    generate_bn=True,
    embedding_dim=9,
    max_prob_remove_labeled=0.2,
    max_prob_remove_unlabeled=0.3,
    warmup_heads='trained',
    generator='joint',
    generated_weight_scale=0.5,
    transformer=model_config.TransformerConfig(
      num_layers=2,
      heads=3,
      key_query_dim=0.5,
      value_dim=2.5,
      inner_dim=40.0,
      activation='sigmoid',
      nonlinearity='gelu',
      skip_last_nonlinearity=True,
      use_decoder=True,
      dropout_rate=0.4,
    ),
    features=model_config.FeatureConfig(
      shared_extractor='4-layer',
      shared_dim=11,
      shared_padding='same',
      shared_dropout=0.5,
      layerwise=6,
      nonlinear=True,
      logits_extractor='mix',
      dropout=0.6,
    ),
  )
  assert from_flags.model_config(values(layerwise_generator='separate')).generator == 'separate'


def test_every_flag_of_loss_run_and_evaluation_arrives():
  v = values(
    label_smoothing=0.1,
    l2_reg_weight=0.2,
    weight_variation_regularization=0.3,
    add_trainable_weights=True,
    warmup_steps=40,
    shared_head_weight=0.5,
    pretrain_shared_feature=True,
    shared_feature_extractor='2-layer',
    restore_shared_features_from='there',
    optimizer='adam',
    learning_rate=0.6,
    learning_rate_decay_steps=7.0,
    learning_rate_decay_rate=0.8,
    gradient_norm_clip=2.0,
    train_log_dir='here',
    train_steps=9,
    steps_between_saves=10,
    seed=11,
    num_labels=5,
    samples_transformer=25,
    samples_cnn=12,
    balanced_batches=True,
    unlabeled_samples_per_class=3,
    disjoint_query=True,
    num_task_evals=13,
    num_eval_batches=14,
    eval_batch_size=15,
    eval_once=True,
    eval_checkpoint='model-9',
    eval_timeout_secs=16.0,
  )
  assert from_flags.loss_config(v) == config.LossConfig(0.1, 0.2, 0.3, 40, 0.5, True)
  assert from_flags.optimizer_config(v) == config.OptimizerConfig('adam', 0.6, 7.0, 0.8, 2.0)
  assert from_flags.run_config(v) == config.RunConfig('here', 9, 10, 'there', 11)
  assert from_flags.episode_config(v) == data_config.EpisodeConfig(5, 25, 12, True, 3, True)
  assert from_flags.eval_config(v) == config.EvalConfig(13, 14, 15, True, 'model-9', 16.0)


@pytest.mark.parametrize(
  ('steps', 'kind', 'expected'),
  [
    (0, 'generated', 'none'),
    (0, 'trained', 'none'),
    (5, 'generated', 'generated'),
    (5, 'trained', 'trained'),
  ],
)
def test_heads_exist_only_with_warm_up(steps, kind, expected):
  assert (
    from_flags.model_config(values(warmup_steps=steps, warmup_heads=kind)).warmup_heads == expected
  )


@pytest.mark.parametrize(('text', 'expected'), [('', None), ('16', 16)])
def test_num_layerwise_features(text, expected):
  assert from_flags.model_config(values(num_layerwise_features=text)).features.layerwise == expected


def test_no_local_features_are_fine_with_shared_ones():
  v = values(num_layerwise_features='0', shared_feature_extractor='2-layer')
  assert from_flags.model_config(v).features.layerwise == 0


# ---- augmentation

OWN_PROBABILITIES = {
  'rotation_probability': 0.1,
  'smooth_probability': 0.2,
  'contrast_probability': 0.3,
  'resize_probability': 0.4,
  'negate_probability': 0.6,
  'roll_probability': 0.7,
  'angle_range': 30.0,
}


def test_training_augmentation():
  v = values(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label_augmentation=True,
    apply_image_augmentations=True,
    augment_images_individually=True,
  )
  assert from_flags.train_augmentation(v) == AugmentationConfig(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label=True,
    photographic=True,
    photographic_individually=True,
  )


def test_test_augmentation_is_that_of_training_at_minus_one():
  """But for the switches, which the test set has of its own, and photographic augmentation, which
  it has not.
  """
  v = values(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label_augmentation=True,
    apply_image_augmentations=True,
  )
  assert from_flags.test_augmentation(v) == AugmentationConfig(**OWN_PROBABILITIES)


@pytest.mark.parametrize('name', OWN_PROBABILITIES)
def test_each_test_flag_replaces_its_own_value_only(name):
  for value in (0.0, 0.05):  # 0 is a value, not "unset"
    chosen = from_flags.test_augmentation(values(**OWN_PROBABILITIES, **{f'test_{name}': value}))
    assert chosen == AugmentationConfig(**{**OWN_PROBABILITIES, name: value})


@pytest.mark.parametrize('value', [-0.5, 1.5])
def test_test_probabilities_that_are_refused(value):
  with pytest.raises(
    InputError, match=f'test_roll_probability is {value}; it must be a probability from 0 to 1'
  ):
    from_flags.test_augmentation(values(test_roll_probability=value))


def test_switches_of_the_test_set():
  chosen = from_flags.test_augmentation(
    values(test_random_rotate_by_90=True, test_per_label_augmentation=True)
  )
  assert chosen.random_rotate_by_90
  assert chosen.per_label


# ---- what makes another model


def test_model_flag_changes():
  old = values(num_labels=20, learning_rate=0.1)
  assert changes.model_flag_changes(old, old) == []
  new = {**old, 'num_labels': 5, 'cnn_activation': 'lrelu', 'learning_rate': 0.2, 'train_steps': 3}
  assert changes.model_flag_changes(old, new) == [
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
def test_of_warm_up_only_the_heads_make_another_model(old, new, changed):
  assert sorted(changes.model_flag_changes(values(**old), values(**new))) == sorted(changed)


def test_a_flag_that_an_older_run_did_not_know_is_no_change():
  old = values()
  del old['heads']
  assert changes.model_flag_changes(old, values(heads=7)) == []


def test_flags_that_change_variables_make_another_model():
  """Everything that model_config reads and that decides about variables; nothing of the run or the
  data.
  """
  model = {flag.name for flag in flag_table.ALL_FLAGS if flag.model}
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


# ---- refused


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_layerwise_features': 'many'}, "num_layerwise_features is 'many'; it must be empty"),
    ({'num_layerwise_features': '-1'}, "num_layerwise_features is '-1'; it must be empty"),
    (
      {'num_layerwise_features': '\u00b2'},
      "num_layerwise_features is '\u00b2'; it must be empty",
    ),  # isdigit
    (
      {'num_layerwise_features': '0'},
      'num_layerwise_features=0 with shared_feature_extractor=none leaves no features',
    ),
    ({'lw_generate_bias': True}, 'lw_generate_bias does not go with lw_weight_allocation=spatial'),
    (
      {'cnn_model_name': '5-layer'},
      "cnn_model_name is '5-layer'; known are 3-layer, 4-layer, maxpool-4-layer.",
    ),
    (
      {'logits_feature_extractor': 'mix'},
      'logits_feature_extractor=mix has no meaning for cnn_model_name=3-layer',
    ),
    (
      {'layerwise_generator': 'separate', 'max_prob_remove_unlabeled': 0.5},
      'max_prob_remove_unlabeled does not go with layerwise_generator=separate',
    ),
  ],
)
def test_models_that_are_refused(changes, message):
  with pytest.raises(InputError) as caught:
    from_flags.model_config(values(**changes))
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'pretrain_shared_feature': True},
      'pretrain_shared_feature=True needs shared features: set --shared_feature',
    ),
    ({'shared_head_weight': 0.5}, 'shared_head_weight=0.5 needs shared features'),
    ({'restore_shared_features_from': 'x'}, 'restore_shared_features_from=x needs shared features'),
    (
      {'weight_variation_regularization': 0.1},
      'weight_variation_regularization=0.1 compares generated with added trained weights: set --add_trainable_weights',
    ),
  ],
)
def test_losses_that_are_refused(changes, message):
  with pytest.raises(InputError) as caught:
    from_flags.loss_config(values(**changes))
  assert str(caught.value).startswith(message)
