"""What a change of flags means: another model, or an evaluation whose numbers cannot be compared."""

from __future__ import annotations

from typing import Any

from hypertransformer.settings import continual_flags, flag_table
from hypertransformer.settings.flags import Values, defaults

# Flags that do not change what an evaluation finds, beside those of training and its loss.
WITHOUT_EFFECT_ON_EVALUATION = (
  'data_dir',
  'data_numpy_dir',
  'eval_once',
  'eval_checkpoint',
  'eval_timeout_secs',
  'num_tasks',
  'continual_loss_terms',
  'episodes_per_step',
  'gradient_norm_clip',
)


def model_flag_changes(old: Values, new: Values) -> list[str]:
  """Says '--name was A, is B' for every flag whose change makes another model. Both map flag names
  to values.
  """
  before, now = _effective(old), _effective(new)
  changes = [
    f'--{flag.name} was {old[flag.name]!r}, is {new[flag.name]!r}'
    for flag in flag_table.ALL_FLAGS
    if flag.model
    and flag.name in old
    and old[flag.name] != new[flag.name]
    and before[flag.name] != now[flag.name]
  ]
  return changes or continual_flags.support_classes_changes(
    {**defaults(), **old}, {**defaults(), **new}
  )


def changed_model_flags(values: Values) -> dict[str, Any]:
  """The flags that shape the model and differ from their defaults: what a model of these values is
  recognised by.
  """
  unchanged = defaults()
  return {
    flag.name: values[flag.name]
    for flag in flag_table.ALL_FLAGS
    if flag.model and values[flag.name] != unchanged[flag.name]
  }


def evaluation_flags(values: Values) -> dict[str, Any]:
  """The flags on which the numbers of an evaluation depend."""
  irrelevant = {
    flag.name for flag in (*flag_table.RUN_FLAGS, *flag_table.LOSS_FLAGS) if not flag.model
  }
  irrelevant |= set(WITHOUT_EFFECT_ON_EVALUATION)
  return {name: value for name, value in values.items() if name not in irrelevant}


def _effective(v: Values) -> dict[str, Any]:
  """The flag values as the model sees them: of --warmup_steps only whether there are heads, and so
  on.
  """
  v = {**defaults(), **v}
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
