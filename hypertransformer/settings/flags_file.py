"""flags.json, the file beside the checkpoints that tells which flags a run was started with.

It is written, read, and compared with the flags of today.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

from hypertransformer import __version__, errors
from hypertransformer.errors import InputError
from hypertransformer.settings import flags, rules

FLAGS_FILE = 'flags.json'
VERSION = 'hypertransformer_version'  # its key in the file


def read_flags(folder: str) -> dict[str, Any] | None:
  """Reads flags.json of a folder, without any check of the values.

  Returns:
    What the file holds; None if there is no such file.

  Raises:
    InputError: the file cannot be read as JSON, or does not map names to values.
  """
  path = pathlib.Path(folder) / FLAGS_FILE
  try:
    found = json.loads(path.read_text())
  except FileNotFoundError:
    return None
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f'{path} cannot be read as JSON ({error}): correct it or delete it.'
    ) from error
  if not isinstance(found, dict):
    raise InputError(f'{path} holds no flag values: copy it anew from the training folder.')
  return found


def write_flags(folder: str, values: flags.Values) -> None:
  """Writes flag values, and the version of this package, to flags.json of a folder.

  The file appears when it is complete: a crash leaves the old one, or none.
  """
  path = pathlib.Path(folder) / FLAGS_FILE
  aside = path.with_suffix('.json.part')
  try:
    aside.write_text(json.dumps(stamped(values), indent=1, sort_keys=True) + '\n')
    os.replace(aside, path)
  except OSError:
    aside.unlink(missing_ok=True)
    raise


def stamped(values: flags.Values) -> dict[str, Any]:
  """Returns the content of a flags.json: flag values by name, and the version of this package."""
  return {**values, VERSION: __version__}


def write_evaluation_flags(folder: str, values: flags.Values) -> None:
  """Writes the flags on which the numbers of an evaluation depend to flags.json of its folder."""
  write_flags(folder, evaluation_flags(values))


def same_evaluation_flags(folder: str, values: flags.Values) -> bool:
  """Tells whether an earlier evaluator wrote the same flags to flags.json of its folder.

  Raises:
    InputError: the file is there and cannot be read.
  """
  before = read_flags(folder)
  if before is None:
    return False
  before.pop(VERSION, None)
  # A flag that is younger than the folder was at its default.
  known = {**evaluation_flags(flags.defaults()), **before}
  return known == evaluation_flags(values)


def seed_of(folder: str) -> int | None:
  """Returns the seed of the run in the folder; None if there is no run, or no seed written down."""
  return (read_flags(folder) or {}).get('seed')


def require_same_model(folder: str, values: flags.Values) -> None:
  """Checks that these flags make the same model as the run in the folder, which is to go on.

  A folder without flags.json passes.

  Raises:
    InputError: the run was started with flags that make another model.
  """
  changed = _model_changes(folder, values)
  if changed:
    raise errors.InputError(
      f'the run in {folder} has another model: {"; ".join(changed)}. Use its flags '
      f'({FLAGS_FILE} there lists them) or another --train_log_dir.'
    )


def why_not_evaluated(folder: str, values: flags.Values) -> str:
  """Says why checkpoints of the run in the folder cannot be evaluated with these flags.

  Returns:
    The reason; '' if they can be evaluated, or if there is no flags.json to tell.

  Raises:
    InputError: flags.json cannot be read.
  """
  changed = _model_changes(folder, values)
  return f'its run has other flags: {"; ".join(changed)}' if changed else ''


def _model_changes(folder: str, values: flags.Values) -> list[str]:
  """Lists the changes since the run in the folder that make another model.

  There are none without flags.json.
  """
  old = read_flags(folder)
  return [] if old is None else model_flag_changes(old, values)


def read_model_flags(folder: str) -> dict[str, Any]:
  """Reads and checks all flag values of the run in the folder.

  Flags that did not exist yet when flags.json was written have their defaults.

  Raises:
    InputError: flags.json is missing or damaged.
  """
  path = os.path.join(folder, FLAGS_FILE)
  found = read_flags(folder)
  if found is None:
    raise InputError(
      f'{path} is missing: it says which model the checkpoint is of. Copy it from the training '
      'folder together with the checkpoint.'
    )
  wrong = [
    flag.name
    for flag in flags.ALL_FLAGS
    if flag.name in found and not _fits(flag, found[flag.name])
  ]
  if wrong:
    raise InputError(
      f'{path}: {wrong[0]} is {found[wrong[0]]!r}, which is no value of that flag: copy the file '
      'anew from the training folder.'
    )
  return flags.defaults() | found


def _fits(flag: flags.Flag, value: Any) -> bool:
  """Whether the flag can have this value, by its type and its allowed values."""
  if value is None:
    return flag.default is None
  if flag.choices and value not in flag.choices:
    return False
  return type(value) is flag.kind or (flag.kind is float and type(value) is int)


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


def model_flag_changes(old: flags.Values, new: flags.Values) -> list[str]:
  """Lists the changes of flags that make another model.

  Args:
    old: flag values by name, of the run so far; flags that it did not know yet may be missing.
    new: flag values by name, as they are now.

  Returns:
    For each such flag '--name was A, is B'; empty if the model is the same.
  """
  # A flag that is younger than the run was at its default.
  old, new = {**flags.defaults(), **old}, {**flags.defaults(), **new}
  before, now = _effective(old), _effective(new)
  changes = [
    f'--{flag.name} was {old[flag.name]!r}, is {new[flag.name]!r}'
    for flag in flags.ALL_FLAGS
    if flag.model and old[flag.name] != new[flag.name] and before[flag.name] != now[flag.name]
  ]
  return changes or rules.support_classes_changes(old, new)


def changed_model_flags(values: flags.Values) -> dict[str, Any]:
  """Returns the flags, by name, that shape the model and differ from their defaults.

  People recognise by them which model it is.
  """
  unchanged = flags.defaults()
  return {
    flag.name: values[flag.name]
    for flag in flags.ALL_FLAGS
    if flag.model and values[flag.name] != unchanged[flag.name]
  }


def evaluation_flags(values: flags.Values) -> dict[str, Any]:
  """Returns the flags, by name, on which the numbers of an evaluation depend."""
  irrelevant = {flag.name for flag in (*flags.RUN_FLAGS, *flags.LOSS_FLAGS) if not flag.model}
  irrelevant |= set(WITHOUT_EFFECT_ON_EVALUATION)
  return {name: value for name, value in values.items() if name not in irrelevant}


def _effective(v: flags.Values) -> dict[str, Any]:
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
    'embedding_units': rules.embedding_units(v),
  }


@dataclasses.dataclass(frozen=True)
class Facts:
  """A few flags of a run, by what they mean.

  Attributes:
    seed: the seed of the training; None if it was not written down.
    train_steps: the updates that it was to make.
    way: K, the classes of one task.
    support_images: Ns, the support images of one task.
    shots: the labelled ones of each class; on average, and at least 1, if they vary.
    cooldown_from: the step from which the learning rate falls to 0; train_steps if it does not.
    cnn: the name of the CNN, its channels, and the number of layers that are not generated.
  """

  seed: int | None
  train_steps: int
  way: int
  support_images: int
  shots: int
  cooldown_from: int
  cnn: tuple[str, int, int]


def facts(v: flags.Values) -> Facts:
  """Picks the facts out of all flag values of a run."""
  return Facts(
    v['seed'],
    v['train_steps'],
    v['num_labels'],
    v['samples_transformer'],
    max(1, v['samples_transformer'] // v['num_labels'] - v['unlabeled_samples_per_class']),
    round((1 - v['learning_rate_cooldown']) * v['train_steps']),
    (v['cnn_model_name'], v['default_num_channels'], v['number_of_trained_cnn_layers']),
  )
