"""How flag values become settings: each arrives in its field, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from hypertransformer.errors import InputError
from hypertransformer.settings import config, flags, model_config
from hypertransformer.settings.config import AugmentationConfig
from hypertransformer.settings.declare import Flag, declared_by

CLASS = {'continual_scenario': 'class_incremental'}
PIECES = {'continual_scenario': 'mini_batch'}
LOGITS = {**PIECES, 'continual_loss': 'cross_entropy'}
MERGED = {**CLASS, 'continual_method': 'merged_hypertransformer'}
SHARED = {'shared_feature_extractor': '2-layer'}


def parts(settings):
  """All configurations of the settings."""
  inner = [settings.model.transformer, settings.model.features]
  fields = (getattr(settings, field.name) for field in dataclasses.fields(settings))
  return [part for part in (*fields, *inner) if dataclasses.is_dataclass(part)]


def test_the_defaults_of_the_flags_are_those_of_the_configurations():
  made = flags.settings_from(flags.defaults())
  for part in parts(made):
    if not isinstance(part, AugmentationConfig):  # smoothing and contrast are on by default
      assert part == type(part)()
  assert made.continual is None


# Other flags that a flag needs, and values to try for those of which not every one is allowed.
NEEDS: dict[str, dict[str, Any]] = {
  'lw_generate_bias': {'lw_weight_allocation': 'output'},
  'lw_generate_bn': {'lw_weight_allocation': 'output'},
  'add_trainable_weights_to': {'add_trainable_weights': True},
  'generated_weight_scale': {'add_trainable_weights': True},
  'weight_variation_regularization': {'add_trainable_weights': True},
  'pretrain_shared_feature': SHARED,
  'shared_head_weight': SHARED,
  'restore_shared_features_from': SHARED,
  'unlabeled_samples_per_class': {'balanced_batches': True},
  'warmup_heads': {'warmup_steps': 5},
  'samples_transformer': {'num_labels': 2},
  'num_gpus': {'episodes_per_step': 3},
  'continual_method': CLASS,
  'continual_loss': PIECES,
  'continual_loss_terms': CLASS,
  'mixed_queries': CLASS,
  'num_tasks': CLASS,
  'eval_num_tasks': CLASS,
  'embedding_units': CLASS,
}
DECLARED = [
  flag
  for flag in flags.ALL_FLAGS
  if flag.affects != 'nothing' and (not flag.name.startswith('test_') or 'data' in flag.name)
]


def another(flag: Flag) -> Any:
  """A value that is allowed and not the default."""
  if flag.choices:
    return next(choice for choice in reversed(flag.choices) if choice != flag.default)
  if flag.name == 'num_layerwise_features':
    return '7'
  if flag.kind is bool:
    return not flag.default
  if flag.kind is float:
    return 0.25
  return 3 if flag.kind is int and flag.default != 3 else 2 if flag.kind is int else 'other'


@pytest.mark.parametrize('flag', DECLARED, ids=lambda flag: flag.name)
def test_every_flag_arrives_in_its_field(flag, values):
  value = another(flag)
  settings = flags.settings_from(values(**{**NEEDS.get(flag.name, {}), flag.name: value}))
  found = {
    getattr(part, field)
    for part in parts(settings)
    for field, declared in declared_by(type(part)).items()
    if declared.name == flag.name and part is not settings.test_augmentation
  }
  assert found == {7 if value == '7' else value}
  assert settings.flag_values[flag.name] == value


def test_values_that_two_configurations_have_are_equal(values):
  made = flags.settings_from(values(num_labels=5, train_steps=7, xla=True))
  assert (made.model.num_labels, made.episodes.num_labels) == (5, 5)
  assert (made.run.train_steps, made.optimizer.train_steps) == (7, 7)
  assert made.run.xla
  assert made.evaluation.xla


OWN = {
  'rotation_probability': 0.1,
  'smooth_probability': 0.2,
  'contrast_probability': 0.3,
  'resize_probability': 0.4,
  'negate_probability': 0.6,
  'roll_probability': 0.7,
  'angle_range': 30.0,
}


def test_the_test_set_follows_training_where_its_flag_is_minus_one(values):
  """This holds for the values, but not for switches: the test set has its own two switches, and no
  changes of photographs.
  """
  switches = {'random_rotate_by_90': True, 'per_label_augmentation': True}
  made = flags.settings_from(values(**OWN, **switches, apply_image_augmentations=True))
  assert made.test_augmentation == AugmentationConfig(**OWN)
  assert made.train_augmentation == AugmentationConfig(
    **OWN, random_rotate_by_90=True, per_label=True, photographic=True
  )
  made = flags.settings_from(
    values(**OWN, **{f'test_{name}': value for name, value in switches.items()})
  )
  assert made.train_augmentation == AugmentationConfig(**OWN)
  assert made.test_augmentation == AugmentationConfig(
    **OWN, random_rotate_by_90=True, per_label=True
  )


@pytest.mark.parametrize('name', OWN)
def test_each_test_flag_replaces_its_own_value_only(name, values):
  for value in (0.0, 0.05):  # 0 is a value, not "unset"
    made = flags.settings_from(values(**OWN, **{f'test_{name}': value}))
    assert made.test_augmentation == AugmentationConfig(**{**OWN, name: value})


@pytest.mark.parametrize(
  ('steps', 'kind', 'expected'), [(0, 'trained', 'none'), (5, 'generated', 'generated')]
)
def test_there_are_warm_up_heads_only_with_warm_up_steps(steps, kind, expected, values):
  made = flags.settings_from(values(warmup_steps=steps, warmup_heads=kind))
  assert made.model.warmup_heads == expected


@pytest.mark.parametrize(
  ('changes', 'units'), [({}, 0), (CLASS, 32), ({**CLASS, 'embedding_units': 6}, 6), (LOGITS, 0)]
)
def test_the_cnn_gives_an_embedding_unless_it_gives_logits(changes, units, values):
  assert flags.settings_from(values(**changes)).model.embedding_units == units


@pytest.mark.parametrize(
  ('changes', 'classes'),
  [(CLASS, 0), (MERGED, 20), ({**MERGED, 'num_tasks': 7}, 28), ({**MERGED, **PIECES}, 0)],
)
def test_a_merged_support_set_has_the_classes_of_the_longest_sequence(changes, classes, values):
  """A task has num_labels = 4 classes; 0 stands for the classes of one task."""
  assert flags.settings_from(values(**changes)).model.support_classes == classes


# Values that their flags refuse by themselves.
REFUSED: dict[str, list[Any]] = {
  'num_labels': [1, 10**9],
  'samples_transformer': [0, 10**9],
  'samples_cnn': [0, 10**9],
  'unlabeled_samples_per_class': [-1],
  'image_size': [0, 10**9],
  'rotation_probability': [-0.1, 1.1],
  'angle_range': [-1.0, float('inf')],
  'test_roll_probability': [-0.5, 1.5],
  'test_angle_range': [-2.0],
  'cnn_activation': ['gelu'],
  'kernel_size': [0, 10**9],
  'stride': [0, 10**9],
  'default_num_channels': [0, 10**9],
  'cnn_dropout_rate': [1.0],
  'lw_weight_allocation': ['input'],
  'layerwise_generator': ['both'],
  'warmup_heads': ['all', 'none'],
  'embedding_dim': [0, 10**9],
  'max_prob_remove_labeled': [1.1],
  'max_prob_remove_unlabeled': [-0.1],
  'embedding_units': [-1, 10**9],
  'generated_weight_scale': [0.0],
  'num_layers': [0, 10**9],
  'heads': [-1, 10**9],
  'lw_key_query_dim': [0.0, 1e9],
  'lw_value_dim': [0.0, 1e9],
  'lw_inner_dim': [1e9, float('nan'), -float('inf')],
  'dropout_rate': [1.0, -0.1],
  'transformer_activation': ['relu'],
  'transformer_nonlinearity': ['tanh'],
  'shared_feature_extractor': ['5-layer', '2-layer-bn'],
  'shared_features_dim': [0, 10**9],
  'shared_feature_extractor_padding': ['full'],
  'shared_fe_dropout': [1.5],
  'num_layerwise_features': ['many', '-1', '\u00b2', '1000000000', '0'],
  'logits_feature_extractor': ['all'],
  'fe_dropout': [1.0],
  'label_smoothing': [1.1],
  'l2_reg_weight': [-1.0],
  'weight_variation_regularization': [-1.0],
  'warmup_steps': [-1],
  'shared_head_weight': [-1.0],
  'optimizer': ['lbfgs'],
  'learning_rate': [0.0, float('nan')],
  'learning_rate_decay_steps': [0.0],
  'learning_rate_decay_rate': [0.0],
  'learning_rate_cooldown': [1.0],
  'gradient_norm_clip': [-1.0],
  'train_log_dir': ['', '/tmp/a\0b', '/tmp/\udcff'],
  'train_steps': [0, 2**63],
  'seed': [-1, 2**63, 'a', 1.5],
  'episodes_per_step': [0, 10**9],
  'kernel_threads': [-1, 1025],
  'num_gpus': [-1],
  'num_task_evals': [0, 10**9],
  'num_eval_batches': [0, 10**9],
  'eval_batch_size': [0, 10**9],
  'eval_timeout_secs': [-1.0],
  'continual_scenario': ['all'],
  'continual_method': ['x'],
  'continual_loss': ['x'],
  'continual_loss_terms': ['x'],
  'num_tasks': [0, 10**9],
  'eval_num_tasks': [-1, 10**9],
  'balanced_batches': [1, None],
}


@pytest.mark.parametrize(
  ('name', 'value'), [(name, value) for name, found in REFUSED.items() for value in found]
)
def test_a_value_that_is_not_allowed_is_refused_with_the_name_of_its_flag(name, value, values):
  with pytest.raises(InputError, match=f'^{name}[ =:]'):
    flags.settings_from(values(**{name: value}))


@pytest.mark.parametrize(
  'changes',
  [
    {'lw_weight_allocation': 'output', 'lw_generate_bias': True, 'lw_generate_bn': True},
    {'max_prob_remove_labeled': 1.0, 'max_prob_remove_unlabeled': 1.0},
    {'num_labels': 2, 'samples_transformer': 2},
    {**SHARED, 'num_layerwise_features': '0'},
    {'balanced_batches': True, 'unlabeled_samples_per_class': 7},  # of 8
    {'label_smoothing': 1.0},
    {'lw_inner_dim': -1.0},
    {'steps_between_saves': -1},
    {'episodes_per_step': 4, 'num_gpus': 2},
    {'test_angle_range': -1.0, 'test_roll_probability': 1},
    {'data_dir': None, 'seed': 2**62},
    {'layerwise_generator': 'separate'},
  ],
)
def test_values_just_inside_the_limits_are_taken(changes, values):
  flags.settings_from(values(**changes))


# Flags that do not go together, and what the error names beside the first of them.
INCOMPATIBLE = [
  ({'lw_generate_bias': True}, 'lw_weight_allocation=output'),
  ({'lw_generate_bn': True}, 'lw_weight_allocation=output'),
  ({'max_prob_remove_labeled': 0.1, 'layerwise_generator': 'separate'}, 'layerwise_generator'),
  ({'max_prob_remove_unlabeled': 0.1, 'layerwise_generator': 'separate'}, 'layerwise_generator'),
  ({'generated_weight_scale': 0.5}, 'add_trainable_weights'),
  ({'weight_variation_regularization': 0.1}, 'add_trainable_weights'),
  ({'pretrain_shared_feature': True}, 'shared_feature_extractor'),
  ({'shared_head_weight': 0.5}, 'shared_feature_extractor'),
  ({'restore_shared_features_from': 'x'}, 'shared_feature_extractor'),
  ({'num_layerwise_features': '0'}, 'shared_feature_extractor=none'),
  ({'samples_transformer': 3}, 'num_labels=4'),
  ({'unlabeled_samples_per_class': 1}, 'balanced_batches'),
  (
    {'unlabeled_samples_per_class': 2, 'balanced_batches': True, 'samples_transformer': 11},
    '2 support images',
  ),
  ({'episodes_per_step': 3, 'num_gpus': 2}, 'num_gpus=2'),
  ({'continual_method': 'constant_protonet'}, 'continual_scenario'),
  ({'continual_loss': 'cross_entropy'}, 'continual_scenario'),
  ({'continual_loss_terms': 'last'}, 'continual_scenario'),
  ({'mixed_queries': True}, 'continual_scenario'),
  ({'embedding_units': 8}, 'continual_scenario'),
  ({'mixed_queries': True, **PIECES}, 'class_incremental'),
  ({'continual_loss': 'cross_entropy', **CLASS}, 'mini_batch'),
  (
    {'continual_loss': 'cross_entropy', **PIECES, 'continual_method': 'constant_protonet'},
    'continual_method',
  ),
  ({'embedding_units': 8, **LOGITS}, 'continual_loss=prototypical'),
  (
    {
      'restore_shared_features_from': 'x',
      **SHARED,
      **CLASS,
      'continual_method': 'constant_protonet',
    },
    'continual_method',
  ),
  *(
    ({name: value, **SHARED, **CLASS}, 'continual_scenario=none')
    for name, value in (
      ('warmup_steps', 5),
      ('per_class', True),
      ('pretrain_shared_feature', True),
      ('shared_head_weight', 0.5),
      ('separate_evaluation_bn_vars', True),
      ('l2_reg_weight', 0.1),
      ('weight_variation_regularization', 0.1),
      ('unlabeled_samples_per_class', 1),
      ('max_prob_remove_labeled', 0.1),
      ('max_prob_remove_unlabeled', 0.1),
      ('episodes_per_step', 2),
    )
  ),
]


@pytest.mark.parametrize(('changes', 'named'), INCOMPATIBLE)
def test_flags_that_do_not_go_together_are_refused(changes, named, values):
  with pytest.raises(InputError, match=f'^{next(iter(changes))}[ =].*{named}'):
    flags.settings_from(values(**changes))


def test_the_tilde_in_paths_is_the_home_directory(values, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  paths = [flag.name for flag in flags.ALL_FLAGS if flag.path]
  assert len(paths) == 6
  made = flags.settings_from(values(**SHARED, **dict.fromkeys(paths, '~/a')))
  assert made.data.folder == made.data.tfds_folder == made.run.log_dir == '/home/me/a'
  assert made.run.restore_shared_from == made.evaluation.checkpoint == '/home/me/a'
  assert made.flag_values['train_log_dir'] == '/home/me/a'


@pytest.mark.parametrize('name', [flag.name for flag in flags.ALL_FLAGS if flag.path])
@pytest.mark.parametrize(
  ('path', 'found'), [('gs://b/x', 'not a local path'), ('~nobody?/x', 'no home'), ('\0', 'NUL')]
)
def test_paths_that_are_not_local_are_refused(name, path, found, values):
  with pytest.raises(InputError, match=f'^{name}: .*{found}'):
    flags.settings_from(values(**SHARED, **{name: path}))


def test_settings_are_frozen(values):
  made = flags.settings_from(values())
  for part in (made, *parts(made)):
    with pytest.raises(dataclasses.FrozenInstanceError):
      setattr(part, dataclasses.fields(part)[0].name, None)


@pytest.mark.parametrize(('support', 'hidden', 'shots'), [(20, 0, 4), (22, 1, 3), (5, 0, 1)])
def test_the_shots_of_a_task(support, hidden, shots):
  assert config.EpisodeConfig(5, support, unlabeled_per_class=hidden).shots == shots


@pytest.mark.parametrize(('extractor', 'shared'), [('none', False), ('3-layer-bn', True)])
def test_there_are_shared_features_unless_the_extractor_is_none(extractor, shared):
  assert model_config.FeatureConfig(shared_extractor=extractor).has_shared == shared


def test_the_preset_train_has_the_augmentation_of_training(values):
  made = flags.settings_from(values(random_rotate_by_90=True))
  assert made.augmentation_of('train') == made.train_augmentation != made.test_augmentation
  assert made.augmentation_of('val') == made.test_augmentation
  assert config.ContinualConfig('mini_batch').prototypical


WHOLE = strategies.one_of(
  strategies.integers(-3, 40), strategies.integers(), strategies.integers(10**5, 10**12)
)
REAL = strategies.one_of(strategies.floats(0, 1), strategies.floats())


def value_of(flag: Flag) -> strategies.SearchStrategy[Any]:
  """Values that the command line can give this flag."""
  if flag.choices:
    return strategies.sampled_from(flag.choices)
  kinds: dict[type, strategies.SearchStrategy[Any]] = {
    int: WHOLE,
    float: REAL,
    bool: strategies.booleans(),
    str: strategies.text(max_size=12),
  }
  return kinds[flag.kind]


CHANGES = strategies.lists(
  strategies.sampled_from(flags.ALL_FLAGS).flatmap(
    lambda flag: strategies.tuples(strategies.just(flag.name), value_of(flag))
  ),
  max_size=6,
)


def error_of(changes):
  """What these values are refused with; '' if they are not."""
  try:
    flags.settings_from({**flags.defaults(), **dict(changes)})
  except InputError as error:
    return str(error)
  return ''


@hypothesis.given(CHANGES)
@hypothesis.settings(max_examples=300, deadline=None)
def test_any_values_make_settings_or_one_short_error_that_names_a_flag(changes):
  error = error_of(changes)
  assert len(error.splitlines()) <= 1
  assert len(error) < 1500
  assert not error or any(name in error for name, _ in changes)
