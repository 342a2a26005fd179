"""All flags, the command line, and how flag values become the `Settings` of a run.

The original's 89 flags have the same names, types and defaults there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags, logging

from hypertransformer.data import files, specs
from hypertransformer.errors import InputError, hint
from hypertransformer.settings import config, model_config, rules
from hypertransformer.settings.declare import Flag, declared_by
from hypertransformer.settings.rules import Values

_CONFIGS = (
  config.EpisodeConfig,
  config.DataConfig,
  config.AugmentationConfig,
  model_config.ModelConfig,
  model_config.TransformerConfig,
  model_config.FeatureConfig,
  config.LossConfig,
  config.OptimizerConfig,
  config.RunConfig,
  config.EvalConfig,
  config.ContinualConfig,
)
_PHOTOGRAPHIC = {'apply_image_augmentations', 'augment_images_individually'}
# Flags of the original that have no effect there either, with their defaults.
_WITHOUT_EFFECT = {
  'boundary_probability': 0.0,
  'num_sample_repeats': 1,
  'query_key_dim': 256,
  'value_dim': 256,
  'internal_dim': 512,
}


def _test_flag(flag: Flag) -> Flag:
  """Return the flag that sets an augmentation of test tasks."""
  is_switch = flag.kind is bool
  return dataclasses.replace(
    flag,
    name=f'test_{flag.name}',
    default=False if is_switch else -1.0,
    unset=None if is_switch else -1.0,
    help=f'--{flag.name} of test tasks, beside training and in the evaluator'
    + ('' if is_switch else '; -1: as in training'),
    affects='evaluation',
  )


def _all_flags() -> Iterator[Flag]:
  for kind in _CONFIGS:
    yield from declared_by(kind).values()
  for name, default in _WITHOUT_EFFECT.items():
    text = 'has no effect, as in the original'
    yield Flag(name, default, text, kind=type(default), affects='nothing')
  yield from _TEST_FLAGS.values()


_TEST_FLAGS = {
  flag.name: _test_flag(flag)
  for flag in declared_by(config.AugmentationConfig).values()
  if flag.name not in _PHOTOGRAPHIC
}
ALL_FLAGS = tuple(_all_flags())


# The most used flags by subject, which --help shows.
MOST_USED = {
  'data': ('data_numpy_dir', 'train_dataset', 'test_dataset', 'eval_datasets'),
  'model': ('cnn_model_name', 'default_num_channels', 'embedding_dim', 'num_layers'),
  'training': (
    'num_labels',
    'samples_transformer',
    'samples_cnn',
    'train_steps',
    'learning_rate',
    'learning_rate_cooldown',
  ),
  'evaluation': ('num_task_evals', 'eval_batch_size', 'eval_once'),
  'run': ('train_log_dir', 'steps_between_saves', 'seed'),
}


def by_subject(full: bool) -> dict[str, Sequence[str]]:
  """Return the names of the most used flags by subject; if `full`, those of all others last."""
  most_used = [name for names in MOST_USED.values() for name in names]
  others = [flag.name for flag in ALL_FLAGS if flag.name not in most_used]
  return {**MOST_USED, **({'other flags': others} if full else {})}


def affecting(*what: str) -> set[str]:
  """Return the names of the flags on which results of 'training' or 'evaluation' depend."""
  return {flag.name for flag in ALL_FLAGS if flag.affects in ('both', *what)}


def values_affecting(values: Values, *what: str) -> dict[str, Any]:
  """Return those of the values, sorted by name, whose flags are in `affecting(*what)`."""
  return {name: values[name] for name in sorted(affecting(*what) & values.keys())}


def defaults() -> dict[str, Any]:
  """Return the default value of every flag by its name."""
  return {flag.name: flag.default for flag in ALL_FLAGS}


def define(
  flag_values: flags.FlagValues = flags.FLAGS, choices: Mapping[str, Sequence[str]] | None = None
) -> None:
  """Define every flag on a command line.

  Args:
    flag_values: the command line.
    choices: the allowed values of flags whose declaration does not list them, by name.
  """
  makers = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
  }
  for flag in ALL_FLAGS:
    allowed = flag.choices or (choices or {}).get(flag.name)
    if allowed:
      flags.DEFINE_enum(flag.name, flag.default, allowed, flag.help, flag_values=flag_values)
    else:
      makers[flag.kind](flag.name, flag.default, flag.help, flag_values=flag_values)


def values(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
  """Return the value of every flag by its name, with a warning if one that is set has no effect."""
  found = {flag.name: flag_values[flag.name].value for flag in ALL_FLAGS}
  idle = [f'--{name}' for name, default in _WITHOUT_EFFECT.items() if found[name] != default]
  if idle:
    logging.warning('These flags have no effect: %s', ', '.join(idle))
  return found


def given(flag_values: flags.FlagValues = flags.FLAGS) -> set[str]:
  """Return the names of the flags that the command line sets."""
  return {flag.name for flag in ALL_FLAGS if flag_values[flag.name].present}


def changed(values: Values, changes: Values) -> dict[str, Any]:
  """Return flag values with changes.

  Raises:
    InputError: There is no flag of one of the names.
  """
  for name in changes:
    if name not in values:
      others = 'See hypertransformer train --helpfull.'
      raise InputError(f'There is no flag {name}. {hint(name, values, others)}')
  return {**values, **changes}


def settings_of_call(values: Values, changes: Values, data: Any = None) -> config.Settings:
  """Make the settings of a run that is started from Python.

  Args:
    values: the value of every flag by its name.
    changes: the values of other flags.
    data: the directory of the datasets; or datasets in memory by their names, each [classes,
      samples, H, W, C]; or one of these, which is the dataset that --train_dataset names.

  Raises:
    InputError: there is no flag of a name, a value is not allowed, or values do not go together.
  """
  values = changed(values, changes)
  if data is None or isinstance(data, Mapping):
    return settings_from(values, data)
  if isinstance(data, (str, os.PathLike)):
    return settings_from({**values, 'data_numpy_dir': os.fspath(data)})
  return settings_from(values, {specs.parse_dataset(values['train_dataset']).name: data})


def settings_from(values: Values, arrays: Mapping[str, Any] | None = None) -> config.Settings:
  """Make all settings of a run.

  Args:
    values: the value of every flag by its name.
    arrays: datasets in memory by their names, [classes, samples, H, W, C].

  Raises:
    InputError: a value is not allowed, or values do not go together.
  """
  for flag in ALL_FLAGS:
    flag.check(values[flag.name])
  v = with_local_paths(values)
  rules.check(v, ALL_FLAGS)
  of_test = {name: v[test.name] for name, test in _TEST_FLAGS.items() if v[test.name] != test.unset}
  local = v['num_layerwise_features']
  model = _make(
    model_config.ModelConfig,
    v,
    warmup_heads=v['warmup_heads'] if v['warmup_steps'] else 'none',
    embedding_units=rules.embedding_units(v),
    support_classes=rules.support_classes(v),
    transformer=_make(model_config.TransformerConfig, v),
    features=_make(model_config.FeatureConfig, v, layerwise=int(local) if local else None),
  )
  return config.Settings(
    model=model,
    loss=_make(config.LossConfig, v),
    optimizer=_make(config.OptimizerConfig, v),
    episodes=_make(config.EpisodeConfig, v),
    train_augmentation=_make(config.AugmentationConfig, v),
    test_augmentation=_make(
      config.AugmentationConfig,
      {**v, **of_test},
      photographic=False,
      photographic_individually=False,
    ),
    continual=None if v['continual_scenario'] == 'none' else _make(config.ContinualConfig, v),
    data=_make(config.DataConfig, v, arrays=arrays or {}),
    run=_make(config.RunConfig, v),
    evaluation=_make(config.EvalConfig, v),
    flag_values=v,
  )


def with_local_paths(values: Values) -> dict[str, Any]:
  """Return flag values with expanded paths; raise InputError with the flag if one is not local."""
  found = {**values}
  for name in (flag.name for flag in ALL_FLAGS if flag.path and values[flag.name]):
    try:
      found[name] = str(files.expanded(values[name]))
    except InputError as error:
      raise InputError(f'{name}: {error}') from error
  return found


def _make(kind: Any, v: Values, **fields: Any) -> Any:
  """Make a configuration: from the given fields, and the others from their flags."""
  names = {name: flag.name for name, flag in declared_by(kind).items()}
  for field in dataclasses.fields(kind):
    if field.name not in fields:
      fields[field.name] = v[names.get(field.name, field.name)]
  return kind(**fields)
