"""Tells what a change of flags means: another model, or numbers that cannot be compared."""

from __future__ import annotations

from typing import Any

from hypertransformer.settings import continual_flags, flag_table
from hypertransformer.settings.flags import Values, defaults

# Flags that do not change what an evaluation finds, besides those of the run and of its loss.
WITHOUT_EFFECT_ON_EVALUATION = (
  'data_dir',
  'data_numpy_dir',
  'eval_once',
  'eval_checkpoint',
  'eval_timeout_secs',
  'image_summaries',
  'num_tasks',
  'continual_loss_terms',
  'episodes_per_step',
  'gradient_norm_clip',
  'learning_rate_cooldown',
  'sync_replicas',
  'num_gpus',
)


def model_flag_changes(old: Values, new: Values) -> list[str]:
  """Lists the changes of flags that make another model.

  Args:
    old: flag values by name, of the run so far; flags that it did not know yet may be missing.
    new: flag values by name, as they are now.

  Returns:
    For each such flag '--name was A, is B'; empty if the model is the same.
  """
  # A flag that is younger than the run was at its default.
  old, new = {**defaults(), **old}, {**defaults(), **new}
  before, now = _effective(old), _effective(new)
  changes = [
    f'--{flag.name} was {old[flag.name]!r}, is {new[flag.name]!r}'
    for flag in flag_table.ALL_FLAGS
    if flag.model and old[flag.name] != new[flag.name] and before[flag.name] != now[flag.name]
  ]
  return changes or continual_flags.support_classes_changes(old, new)


def changed_model_flags(values: Values) -> dict[str, Any]:
  """Returns the flags, by name, that shape the model and differ from their defaults.

  People recognise by them which model it is.
  """
  unchanged = defaults()
  return {
    flag.name: values[flag.name]
    for flag in flag_table.ALL_FLAGS
    if flag.model and values[flag.name] != unchanged[flag.name]
  }


def evaluation_flags(values: Values) -> dict[str, Any]:
  """Returns the flags, by name, on which the numbers of an evaluation depend."""
  irrelevant = {
    flag.name for flag in (*flag_table.RUN_FLAGS, *flag_table.LOSS_FLAGS) if not flag.model
  }
  irrelevant |= set(WITHOUT_EFFECT_ON_EVALUATION)
  return {name: value for name, value in values.items() if name not in irrelevant}


def _effective(v: Values) -> dict[str, Any]:
  """Returns the flag values as far as the model depends on them.

  Of --warmup_steps only whether there are any: the model then has warm-up heads. Of the scenario
  only whether there is one: a model trained in one scenario can be evaluated in another.
  """
  warmup, continual = v['warmup_steps'] > 0, v['continual_scenario'] != 'none'
  return {
    **v,
    'warmup_steps': warmup,
    'warmup_heads': warmup and v['warmup_heads'],
    'continual_scenario': continual,
    'continual_method': continual and v['continual_method'],
    'continual_loss': continual and v['continual_loss'],
    'embedding_units': continual_flags.embedding_units(v),
  }
