"""Turns flag values into the frozen `Settings` of a run.

Each configuration of config.py, model_config.py and data_config.py has a function here. They all
take `v`, the value of every flag by its name, and raise InputError if a value is out of range or
values do not go together.
"""

from __future__ import annotations

import math
import os

from hypertransformer.errors import require
from hypertransformer.settings import continual_flags, flag_table
from hypertransformer.settings.config import (
  ContinualConfig,
  EvalConfig,
  LossConfig,
  OptimizerConfig,
  RunConfig,
  Settings,
)
from hypertransformer.settings.data_config import AugmentationConfig, DataConfig, EpisodeConfig
from hypertransformer.settings.flags import Values, defaults
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig


def settings_from(v: Values) -> Settings:
  """Makes all settings of a run.

  Args:
    v: the value of every flag by its name.

  Raises:
    InputError: a value is out of range, or values do not go together.
  """
  v = _plain(v)
  continual = continual_config(v)
  return Settings(
    model=model_config(v),
    loss=loss_config(v),
    optimizer=optimizer_config(v),
    episodes=episode_config(v),
    train_augmentation=train_augmentation(v),
    test_augmentation=test_augmentation(v),
    continual=continual,
    data=data_config(v),
    run=run_config(v),
    evaluation=eval_config(v),
    flag_values=v,
  )


def _plain(v: Values) -> Values:
  """Returns the values with `~` in paths written out.

  Raises:
    InputError: a number is infinite, NaN, or has more than 63 bits; or a path has a byte 0 in it,
      or is not UTF-8.
  """
  plain = dict(v)
  for flag in flag_table.ALL_FLAGS:
    value = v[flag.name]
    if flag.kind is float and value is not None:
      require(math.isfinite(value), f'{flag.name} is {value}; it must be a finite number.')
    elif flag.kind is int and value is not None:
      require(abs(value) < 2**63, f'{flag.name} is {value}; it must be a whole number below 2^63.')
    if flag.name in flag_table.LARGEST:
      largest = flag_table.LARGEST[flag.name]
      require(value <= largest, f'{flag.name} is {value}; it must be at most {largest:g}.')
    elif flag.name in flag_table.PATHS and value:
      require('\0' not in value, f'{flag.name} is {value!r}; no path can have a byte 0 in it.')
      require(
        not any('\ud800' <= character <= '\udfff' for character in value),
        f'{flag.name} is {value!r}, which is not UTF-8, as TensorFlow needs it: rename it.',
      )
      plain[flag.name] = os.path.expanduser(value)
  return plain


def model_config(v: Values) -> ModelConfig:
  """Makes the settings of the HyperTransformer and of the CNN that it generates."""
  transformer = TransformerConfig(
    num_layers=v['num_layers'],
    heads=v['heads'],
    key_query_dim=v['lw_key_query_dim'],
    value_dim=v['lw_value_dim'],
    inner_dim=v['lw_inner_dim'],
    activation=v['transformer_activation'],
    nonlinearity=v['transformer_nonlinearity'],
    use_decoder=v['use_decoder'],
    dropout_rate=v['dropout_rate'],
    skip_last_nonlinearity=v['transformer_skip_last_nonlinearity'],
  )
  features = FeatureConfig(
    shared_extractor=v['shared_feature_extractor'],
    shared_dim=v['shared_features_dim'],
    shared_padding=v['shared_feature_extractor_padding'],
    shared_dropout=v['shared_fe_dropout'],
    layerwise=_layerwise(v['num_layerwise_features']),
    nonlinear=v['lw_use_nonlinear_feature'],
    logits_extractor=v['logits_feature_extractor'],
    dropout=v['fe_dropout'],
    normalization=v['feature_normalization'],
  )
  return ModelConfig(
    num_labels=v['num_labels'],
    cnn_name=v['cnn_model_name'],
    kernel_size=v['kernel_size'],
    stride=v['stride'],
    channels=v['default_num_channels'],
    cnn_activation=v['cnn_activation'],
    trained_layers=v['number_of_trained_cnn_layers'],
    allocation=v['lw_weight_allocation'],
    generate_bias=v['lw_generate_bias'],
    generate_bn=v['lw_generate_bn'],
    add_trainable_weights=v['add_trainable_weights'],
    separate_query_variables=v['separate_evaluation_bn_vars'],
    cnn_dropout_rate=v['cnn_dropout_rate'],
    warmup_heads=v['warmup_heads'] if v['warmup_steps'] > 0 else 'none',
    generator=v['layerwise_generator'],
    embedding_dim=v['embedding_dim'],
    max_prob_remove_labeled=v['max_prob_remove_labeled'],
    max_prob_remove_unlabeled=v['max_prob_remove_unlabeled'],
    embedding_units=continual_flags.embedding_units(v),
    generated_weight_scale=v['generated_weight_scale'],
    support_classes=continual_flags.support_classes(v),
    transformer=transformer,
    features=features,
  )


def continual_config(v: Values) -> ContinualConfig | None:
  """Makes the settings of sequences of tasks; None if tasks are learned one by one."""
  continual_flags.check(v, defaults())
  if v['continual_scenario'] == 'none':
    return None
  return ContinualConfig(
    scenario=v['continual_scenario'],
    method=v['continual_method'],
    train_length=v['num_tasks'],
    eval_length=v['eval_num_tasks'],
    loss=v['continual_loss'],
    loss_terms=v['continual_loss_terms'],
    mixed_queries=v['mixed_queries'],
  )


def _layerwise(text: str) -> int | None:
  """Reads --num_layerwise_features: a whole number, or None for '', which means the default."""
  require(
    text == '' or (text.isascii() and text.isdigit() and len(text) <= 5),
    f'num_layerwise_features is {text!r}; it must be empty (default) or a whole number, 0 or more, '
    'below 100,000.',
  )
  return int(text) if text else None


def loss_config(v: Values) -> LossConfig:
  """Makes the settings of the loss, after checking that the model has what the loss needs."""
  for name, wanted in (
    ('pretrain_shared_feature', v['pretrain_shared_feature']),
    ('shared_head_weight', v['shared_head_weight'] > 0),
    ('restore_shared_features_from', bool(v['restore_shared_features_from'])),
  ):
    require(
      not wanted or v['shared_feature_extractor'] != 'none',
      f'{name}={v[name]!r} needs shared features: set --shared_feature_extractor (2-layer .. '
      '4-layer).',
    )
  require(
    v['weight_variation_regularization'] == 0 or v['add_trainable_weights'],
    f'weight_variation_regularization={v["weight_variation_regularization"]} compares generated '
    'with added trained weights: set --add_trainable_weights.',
  )
  return LossConfig(
    label_smoothing=v['label_smoothing'],
    l2_weight=v['l2_reg_weight'],
    variation_weight=v['weight_variation_regularization'],
    warmup_steps=v['warmup_steps'],
    shared_head_weight=v['shared_head_weight'],
    pretrain_shared=v['pretrain_shared_feature'],
  )


def optimizer_config(v: Values) -> OptimizerConfig:
  """Makes the settings of the update rule and of its learning rate."""
  return OptimizerConfig(
    name=v['optimizer'],
    learning_rate=v['learning_rate'],
    decay_steps=v['learning_rate_decay_steps'],
    decay_rate=v['learning_rate_decay_rate'],
    cooldown=v['learning_rate_cooldown'],
    train_steps=v['train_steps'],
    gradient_norm_clip=v['gradient_norm_clip'],
  )


def episode_config(v: Values) -> EpisodeConfig:
  """Makes the settings by which episodes are drawn, for training and for the test set."""
  return EpisodeConfig(
    num_labels=v['num_labels'],
    support_samples=v['samples_transformer'],
    query_samples=v['samples_cnn'],
    balanced=v['balanced_batches'],
    unlabeled_per_class=v['unlabeled_samples_per_class'],
    disjoint_query=v['disjoint_query'],
  )


# Flags of training that the test set has too, with 'test_' before the name; -1 there means "as in
# training".
AUGMENTATIONS = (
  'rotation_probability',
  'smooth_probability',
  'contrast_probability',
  'resize_probability',
  'negate_probability',
  'roll_probability',
  'angle_range',
)


def train_augmentation(v: Values) -> AugmentationConfig:
  """Makes the settings by which the images of training episodes are changed at random."""
  return AugmentationConfig(
    **{name: v[name] for name in AUGMENTATIONS},
    random_rotate_by_90=v['random_rotate_by_90'],
    per_label=v['per_label_augmentation'],
    photographic=v['apply_image_augmentations'],
    photographic_individually=v['augment_images_individually'],
  )


def test_augmentation(v: Values) -> AugmentationConfig:
  """Makes the settings by which images of the test set are changed at random.

  They act on the test episodes beside training and on all tasks of the evaluator.
  """
  chosen = {
    name: v[f'test_{name}'] if v[f'test_{name}'] != -1 else v[name] for name in AUGMENTATIONS
  }
  for name, value in chosen.items():
    require(
      value >= 0 if name == 'angle_range' else 0 <= value <= 1,
      f'test_{name} is {value}; it must be '
      + ('0 or more degrees' if name == 'angle_range' else 'a probability from 0 to 1')
      + ' (-1: as in training).',
    )
  return AugmentationConfig(
    **chosen,
    random_rotate_by_90=v['test_random_rotate_by_90'],
    per_label=v['test_per_label_augmentation'],
  )


def data_config(v: Values) -> DataConfig:
  """Makes the settings that say which images are read."""
  return DataConfig(
    folder=v['data_numpy_dir'],
    tfds_folder=v['data_dir'],
    train_dataset=v['train_dataset'],
    test_dataset=v['test_dataset'],
    test_split=v['test_split'],
    eval_datasets=v['eval_datasets'],
    shuffle_labels_seed=v['shuffle_labels_seed'],
    use_labels=v['use_labels'],
    image_size=v['image_size'],
  )


def run_config(v: Values) -> RunConfig:
  """Makes the settings that say where a run writes, how long it trains, and where it starts."""
  run = RunConfig(
    log_dir=v['train_log_dir'],
    train_steps=v['train_steps'],
    steps_between_saves=v['steps_between_saves'],
    restore_shared_from=v['restore_shared_features_from'],
    seed=v['seed'],
    episodes_per_step=v['episodes_per_step'],
    kernel_threads=v['kernel_threads'],
    image_summaries=v['image_summaries'],
    sync_replicas=v['sync_replicas'],
    num_gpus=v['num_gpus'],
    xla=v['xla'],
  )
  require(
    run.episodes_per_step == 1 or v['continual_scenario'] == 'none',
    f'episodes_per_step={run.episodes_per_step} does not go with --continual_scenario: leave it '
    'at 1.',
  )
  return run


def eval_config(v: Values) -> EvalConfig:
  """Makes the settings of the evaluator."""
  return EvalConfig(
    num_episodes=v['num_task_evals'],
    num_batches=v['num_eval_batches'],
    batch_size=v['eval_batch_size'],
    once=v['eval_once'],
    checkpoint=v['eval_checkpoint'],
    timeout_secs=v['eval_timeout_secs'],
    xla=v['xla'],
  )
