"""How flags are defined, and how their values become configs. Both entry points take all of them (flag_table.py).

Only entry points read FLAGS; they hand `values()` to the functions below, which work on any mapping {flag name: value}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags, logging

from hypertransformer.episodes.augmentation import AugmentationConfig
from hypertransformer.settings import config, continual_flags
from hypertransformer.settings.flag_table import ALL_FLAGS, WITHOUT_EFFECT

Values = Mapping[str, Any]


def define(flag_values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines every flag."""
  makers = {int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool, str: flags.DEFINE_string}
  for flag in ALL_FLAGS:
    if flag.choices:
      flags.DEFINE_enum(flag.name, flag.default, list(flag.choices), flag.help, flag_values=flag_values)
    else:
      makers[flag.kind](flag.name, flag.default, flag.help, flag_values=flag_values)


def defaults() -> dict[str, Any]:
  """{flag name: default value}."""
  return {flag.name: flag.default for flag in ALL_FLAGS}


def values(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
  """{flag name: value}, with one warning that names flags that were changed although they have no effect."""
  result = {flag.name: flag_values[flag.name].value for flag in ALL_FLAGS}
  unchanged = defaults()
  idle = [name for name in WITHOUT_EFFECT if result[name] != unchanged[name]]
  if idle:
    logging.warning('These flags are accepted but have no effect: %s', ', '.join(f'--{name}' for name in idle))
  return result


def model_flag_changes(old: Values, new: Values) -> list[str]:
  """'--name was A, is B' for every flag that makes another model."""
  before, now = _effective(old), _effective(new)
  changes = [f'--{flag.name} was {old[flag.name]!r}, is {new[flag.name]!r}' for flag in ALL_FLAGS
             if flag.model and flag.name in old and old[flag.name] != new[flag.name]
             and before[flag.name] != now[flag.name]]
  return changes or continual_flags.support_classes_changes({**defaults(), **old}, {**defaults(), **new})


def _effective(v: Values) -> dict[str, Any]:
  """What makes a model: of warm-up whether there are heads, and of which kind; of a continual scenario whether there
  is one, with which method and outputs."""
  v = {**defaults(), **v}
  warmup, continual = v['warmup_steps'] > 0, v['continual_scenario'] != 'none'
  return {**v, 'warmup_steps': warmup, 'warmup_heads': warmup and v['warmup_heads'], 'continual_scenario': continual,
          'continual_method': continual and v['continual_method'], 'continual_loss': continual and v['continual_loss'],
          'embedding_units': continual_flags.embedding_units(v)}


def model_config(v: Values) -> config.ModelConfig:
  """The model. Raises InputError for combinations that make no sense."""
  transformer = config.TransformerConfig(
      num_layers=v['num_layers'], heads=v['heads'], key_query_dim=v['lw_key_query_dim'],
      value_dim=v['lw_value_dim'], inner_dim=v['lw_inner_dim'], activation=v['transformer_activation'],
      nonlinearity=v['transformer_nonlinearity'], use_decoder=v['use_decoder'], dropout_rate=v['dropout_rate'],
      skip_last_nonlinearity=v['transformer_skip_last_nonlinearity'])
  features = config.FeatureConfig(
      shared_extractor=v['shared_feature_extractor'], shared_dim=v['shared_features_dim'],
      shared_padding=v['shared_feature_extractor_padding'], shared_dropout=v['shared_fe_dropout'],
      layerwise=_layerwise(v['num_layerwise_features']), nonlinear=v['lw_use_nonlinear_feature'],
      logits_extractor=v['logits_feature_extractor'], dropout=v['fe_dropout'])
  return config.ModelConfig(
      num_labels=v['num_labels'], cnn_name=v['cnn_model_name'], kernel_size=v['kernel_size'], stride=v['stride'],
      channels=v['default_num_channels'], cnn_activation=v['cnn_activation'],
      trained_layers=v['number_of_trained_cnn_layers'], allocation=v['lw_weight_allocation'],
      generate_bias=v['lw_generate_bias'], generate_bn=v['lw_generate_bn'],
      add_trainable_weights=v['add_trainable_weights'],
      separate_query_variables=v['separate_evaluation_bn_vars'], cnn_dropout_rate=v['cnn_dropout_rate'],
      warmup_heads=v['warmup_heads'] if v['warmup_steps'] > 0 else 'none', generator=v['layerwise_generator'],
      embedding_dim=v['embedding_dim'], max_prob_remove_labeled=v['max_prob_remove_labeled'],
      max_prob_remove_unlabeled=v['max_prob_remove_unlabeled'], embedding_units=continual_flags.embedding_units(v),
      generated_weight_scale=v['generated_weight_scale'], support_classes=continual_flags.support_classes(v),
      transformer=transformer, features=features)


def continual_config(v: Values) -> config.ContinualConfig | None:
  """How sequences of tasks are learned; None for the ordinary HyperTransformer. Raises InputError for flags that do
  not go with it."""
  continual_flags.check(v, defaults())
  if v['continual_scenario'] == 'none':
    return None
  return config.ContinualConfig(v['continual_scenario'], v['continual_method'], v['num_tasks'], v['eval_num_tasks'],
                                v['continual_loss'], v['continual_loss_terms'], v['mixed_queries'])


def _layerwise(text: str) -> int | None:
  """--num_layerwise_features: '' -> None, else a whole number."""
  config.require(text == '' or (text.isascii() and text.isdigit()),
                 f'num_layerwise_features is {text!r}; it must be empty (default) or a whole number, 0 or more.')
  return int(text) if text else None


def loss_config(v: Values) -> config.LossConfig:
  """The loss. Raises InputError where it asks for shared features that there are not."""
  for name, wanted in (('pretrain_shared_feature', v['pretrain_shared_feature']),
                       ('shared_head_weight', v['shared_head_weight'] > 0),
                       ('restore_shared_features_from', bool(v['restore_shared_features_from']))):
    config.require(not wanted or v['shared_feature_extractor'] != 'none',
                   f'{name}={v[name]} needs shared features: set --shared_feature_extractor (2-layer .. 4-layer).')
  config.require(v['weight_variation_regularization'] == 0 or v['add_trainable_weights'],
                 f'weight_variation_regularization={v["weight_variation_regularization"]} compares generated with '
                 'added trained weights: set --add_trainable_weights.')
  return config.LossConfig(
      label_smoothing=v['label_smoothing'], l2_weight=v['l2_reg_weight'],
      variation_weight=v['weight_variation_regularization'], warmup_steps=v['warmup_steps'],
      shared_head_weight=v['shared_head_weight'], pretrain_shared=v['pretrain_shared_feature'])


def optimizer_config(v: Values) -> config.OptimizerConfig:
  """The update rule."""
  return config.OptimizerConfig(v['optimizer'], v['learning_rate'], v['learning_rate_decay_steps'],
                                v['learning_rate_decay_rate'], v['gradient_norm_clip'])


def episode_config(v: Values) -> config.EpisodeConfig:
  """The episodes of training and of the test set beside it."""
  return config.EpisodeConfig(
      num_labels=v['num_labels'], support_samples=v['samples_transformer'], query_samples=v['samples_cnn'],
      balanced=v['balanced_batches'], unlabeled_per_class=v['unlabeled_samples_per_class'],
      disjoint_query=v['disjoint_query'])


AUGMENTATIONS = ('rotation_probability', 'smooth_probability', 'contrast_probability', 'resize_probability',
                 'negate_probability', 'roll_probability', 'angle_range')


def train_augmentation(v: Values) -> AugmentationConfig:
  """Augmentation of training episodes."""
  return AugmentationConfig(
      **{name: v[name] for name in AUGMENTATIONS}, random_rotate_by_90=v['random_rotate_by_90'],
      per_label=v['per_label_augmentation'], photographic=v['apply_image_augmentations'],
      photographic_individually=v['augment_images_individually'])


def test_augmentation(v: Values) -> AugmentationConfig:
  """Augmentation of test episodes and of the evaluator's tasks: the test_* flags, -1 = as in training."""
  chosen = {name: v[f'test_{name}'] if v[f'test_{name}'] != -1 else v[name] for name in AUGMENTATIONS}
  for name, value in chosen.items():
    config.require(name == 'angle_range' or 0 <= value <= 1,
                   f'test_{name} is {value}; it must be a probability from 0 to 1 (-1: as in training).')
  return AugmentationConfig(**chosen, random_rotate_by_90=v['test_random_rotate_by_90'],
                            per_label=v['test_per_label_augmentation'])


def run_config(v: Values) -> config.RunConfig:
  """Where the run writes, how long it is, where it starts."""
  return config.RunConfig(v['train_log_dir'], v['train_steps'], v['steps_between_saves'],
                          v['restore_shared_features_from'], v['seed'])


def eval_config(v: Values) -> config.EvalConfig:
  """The evaluator."""
  return config.EvalConfig(v['num_task_evals'], v['num_eval_batches'], v['eval_batch_size'], v['eval_once'],
                           v['eval_checkpoint'], v['eval_timeout_secs'])
