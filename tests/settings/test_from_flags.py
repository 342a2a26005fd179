"""How flag values become configurations, and which are refused."""

from __future__ import annotations

import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings import config, flags, model_config


def test_the_default_flags_make_the_default_configs(values):
  v = values()
  assert flags.settings_from(v).model == model_config.ModelConfig()
  assert flags.settings_from(v).loss == config.LossConfig()
  assert flags.settings_from(v).optimizer == config.OptimizerConfig()
  assert flags.settings_from(v).episodes == config.EpisodeConfig()
  assert flags.settings_from(v).evaluation == config.EvalConfig()
  assert flags.settings_from(v).run == config.RunConfig('/tmp/experiment')


def test_every_model_flag_arrives(values):
  model = flags.settings_from(
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
  ).model
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
  assert flags.settings_from(values(layerwise_generator='separate')).model.generator == 'separate'


def test_every_flag_of_loss_run_and_evaluation_arrives(values):
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
    learning_rate_cooldown=0.5,
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
  assert flags.settings_from(v).loss == config.LossConfig(0.1, 0.2, 0.3, 40, 0.5, True)
  assert flags.settings_from(v).optimizer == config.OptimizerConfig(
    'adam', 0.6, 7.0, 0.8, cooldown=0.5, train_steps=9, gradient_norm_clip=2.0
  )
  assert flags.settings_from(v).run == config.RunConfig('here', 9, 10, 'there', 11)
  assert flags.settings_from(v).episodes == config.EpisodeConfig(5, 25, 12, True, 3, True)
  assert flags.settings_from(v).evaluation == config.EvalConfig(13, 14, 15, True, 'model-9', 16.0)


@pytest.mark.parametrize(
  ('steps', 'kind', 'expected'),
  [
    (0, 'generated', 'none'),
    (0, 'trained', 'none'),
    (5, 'generated', 'generated'),
    (5, 'trained', 'trained'),
  ],
)
def test_there_are_warm_up_heads_only_with_warm_up_steps(steps, kind, expected, values):
  assert (
    flags.settings_from(values(warmup_steps=steps, warmup_heads=kind)).model.warmup_heads
    == expected
  )


@pytest.mark.parametrize(('text', 'expected'), [('', None), ('16', 16)])
def test_num_layerwise_features_is_a_number_or_left_to_the_model(text, expected, values):
  assert (
    flags.settings_from(values(num_layerwise_features=text)).model.features.layerwise == expected
  )


def test_there_may_be_no_local_features_if_there_are_shared_ones(values):
  v = values(num_layerwise_features='0', shared_feature_extractor='2-layer')
  assert flags.settings_from(v).model.features.layerwise == 0


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_layerwise_features': 'many'}, "num_layerwise_features is 'many'; it must be empty"),
    ({'num_layerwise_features': '-1'}, "num_layerwise_features is '-1'; it must be empty"),
    (
      {'num_layerwise_features': '\u00b2'},
      "num_layerwise_features is '\u00b2'; it must be empty",
    ),  # a digit for str.isdigit, but not for int
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
def test_models_that_cannot_be_are_refused(changes, message, values):
  with pytest.raises(InputError) as caught:
    flags.settings_from(values(**changes))
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'pretrain_shared_feature': True},
      'pretrain_shared_feature=True needs shared features: set --shared_feature',
    ),
    ({'shared_head_weight': 0.5}, 'shared_head_weight=0.5 needs shared features'),
    ({'restore_shared_features_from': 'x'}, "restore_shared_features_from='x' needs shared"),
    (
      {'weight_variation_regularization': 0.1},
      'weight_variation_regularization=0.1 compares generated with added trained weights: set '
      '--add_trainable_weights',
    ),
  ],
)
def test_losses_that_the_model_cannot_have_are_refused(changes, message, values):
  with pytest.raises(InputError) as caught:
    flags.settings_from(values(**changes))
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize('name', flags.LARGEST)
def test_a_mistyped_size_is_refused_with_its_flag(name, values):
  with pytest.raises(InputError, match=f'{name} is .*at most'):
    flags.settings_from(values(**{name: 10**9}))


@pytest.mark.parametrize('name', ['lw_inner_dim', 'learning_rate', 'eval_timeout_secs'])
@pytest.mark.parametrize('value', [float('inf'), float('nan'), -float('inf')])
def test_numbers_must_be_finite(values, name, value):
  with pytest.raises(InputError, match=f'{name} is .*; it must be a finite number'):
    flags.settings_from(values(**{name: value}))


def test_whole_numbers_must_fit_in_63_bits(values):
  with pytest.raises(InputError, match=r'seed is .*; it must be a whole number below 2.63'):
    flags.settings_from(values(seed=2**63))


@pytest.mark.parametrize('threads', [-1, 1025, 2**31 - 1])
def test_threads_are_bounded(values, threads):
  with pytest.raises(InputError, match=r'kernel_threads is .*; it must be 0 .* to 1024'):
    flags.settings_from(values(kernel_threads=threads))


def test_the_tilde_in_paths_is_the_home_folder(values, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  settings = flags.settings_from(
    values(
      data_numpy_dir='~/data',
      data_dir='~/tfds',
      train_log_dir='~/logs',
      restore_shared_features_from='~/other',
      shared_feature_extractor='2-layer',
      eval_checkpoint='~/logs/model-3',
    )
  )
  assert settings.data.folder == '/home/me/data'
  assert settings.data.tfds_folder == '/home/me/tfds'
  assert settings.run.log_dir == '/home/me/logs'
  assert settings.run.restore_shared_from == '/home/me/other'
  assert settings.evaluation.checkpoint == '/home/me/logs/model-3'
  assert settings.flag_values['train_log_dir'] == '/home/me/logs'


def test_a_byte_0_in_a_path_is_refused(values):
  with pytest.raises(InputError, match='no path can have a byte 0 in it'):
    flags.settings_from(values(train_log_dir='/tmp/a\0b'))
