"""flags.json, the file beside the checkpoints that holds the flags of a run."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Collection
from typing import Any

from hypertransformer import __version__
from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.settings import flags, rules
from hypertransformer.settings.config import Settings
from hypertransformer.settings.rules import Values

FLAGS_FILE = 'flags.json'
VERSION = 'hypertransformer_version'  # its key in the file
# The key of what has changed where the run was resumed: a list of {'step': 2000, 'flags': {'NAME':
# [before, after]}, 'classes': what CLASSES was before}.
HISTORY = 'history'
ANCESTRY = 'ancestry'  # the key of the checkpoints whose weights were taken over
CLASSES = 'classes'  # the key of what the trainer notes of the classes of each dataset


def read_flags(folder: str) -> dict[str, Any] | None:
  """Read flags.json of a directory, without any check of the values; None if there is none.

  Raises:
    InputError: the file cannot be read, or is malformed.
  """
  path = pathlib.Path(folder) / FLAGS_FILE
  try:
    found = files.read_json(path)
  except FileNotFoundError:
    return None
  except files.JSON_ERRORS as error:
    raise InputError(
      f'{path} cannot be read as JSON ({files.reason(error)}). Correct or delete it.'
    ) from error
  if not isinstance(found, dict):
    raise InputError(f'{path} holds no flag values. Copy it again from the training directory.')
  return found


def write_flags(folder: str, values: Values) -> None:
  """Write flag values and the version of this package to flags.json of a directory, atomically.

  Raises:
    InputError: the file cannot be written.
  """
  text = json.dumps({**values, VERSION: __version__}, indent=1, sort_keys=True)
  with files.atomic_file(pathlib.Path(folder) / FLAGS_FILE) as file:
    file.write(f'{text}\n'.encode())


def read_settings(folder: str) -> Settings:
  """Read the settings of the run in a directory; flags that its flags.json lacks have defaults.

  Raises:
    InputError: flags.json is missing or malformed, or holds values that are not allowed.
  """
  path = os.path.join(folder, FLAGS_FILE)
  found = read_flags(folder)
  if found is None:
    raise InputError(f'{path} is missing. Copy it from the training directory with the checkpoint.')
  try:
    return flags.settings_from(known(found))
  except InputError as error:
    raise InputError(f'{path}: {error}') from error


def with_flags_of_run(values: Values, given: Collection[str]) -> dict[str, Any]:
  """Return flag values for an evaluation: those that are not given are those of the run.

  Args:
    values: the values on the command line.
    given: the names of the flags that it sets.

  Raises:
    InputError: flags.json cannot be read, is malformed, or is missing where it is needed.
  """
  values = flags.with_local_paths(values)
  folder = folder_of(values)
  found = read_flags(folder)
  if found is None:
    require(
      any(flag.model for flag in flags.ALL_FLAGS if flag.name in given),
      f'{os.path.join(folder, FLAGS_FILE)} is missing, and no flag says which model is evaluated. '
      'Start the training first, or give its flags.',
    )
    return {**values}
  of_run = {name: found.get(name, value) for name, value in values.items()}
  return {**of_run, **{name: values[name] for name in (*given, 'train_log_dir')}}


def folder_of(values: Values) -> str:
  """Return the directory of the checkpoints that are evaluated, where flags.json is."""
  checkpoint = files.checkpoint(values['eval_checkpoint'])
  if not checkpoint:
    return str(values['train_log_dir'])
  return checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint)


def known(found: Values) -> dict[str, Any]:
  """Return the value of every flag, by default its default; a flags.json can hold other keys."""
  return {name: found.get(name, default) for name, default in flags.defaults().items()}


def history(found: Values) -> list[dict[str, Any]]:
  """Return the changes that a flags.json notes, oldest first; what is malformed is ignored."""
  return [
    {'step': each.get('step'), **{key: _mapping(each.get(key)) for key in ('flags', 'classes')}}
    for each in _list(found.get(HISTORY))
    if isinstance(each, dict)
  ]


def ancestry(found: Values) -> list[Any]:
  """Return the checkpoints from which a flags.json says that weights were taken over, in order."""
  return _list(found.get(ANCESTRY))


def earlier_training_images(found: Values) -> list[str]:
  """Return the digits of the images of all training classes that a run had before the current."""
  earlier = [_mapping(each['classes'].get('train_dataset')) for each in history(found)]
  return [digits for each in earlier if isinstance(digits := each.get('pixels'), str)]


def _list(value: Any) -> list[Any]:
  return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
  return value if isinstance(value, dict) else {}


def change_text(change: dict[str, Any]) -> str:
  """Describe a change, such as 'changed at step 2000: learning_rate 0.02 -> 0.1'."""
  parts = [
    f'{name} {" -> ".join(map(str, values)) if isinstance(values, list) else values}'
    for name, values in change['flags'].items()
  ]
  parts += [f'the data of --{name}' for name in change['classes']]
  return f'changed at step {change["step"]}: {", ".join(parts)}'


def model_changes(found: Values, values: Values, to_train: bool = True) -> list[str]:
  """List the flags that make another model than that of a run whose flags.json was read.

  Args:
    found: the content of its flags.json.
    values: the flag values.
    to_train: whether the run is to be resumed, and not evaluated. An evaluation does not need its
      optimizer, and its classes may be others.

  Returns:
    For each such flag '--name was A, is B'.
  """
  old = known(found)
  before, now = _effective(old), _effective(values)
  compared = {flag.name for flag in flags.ALL_FLAGS if flag.model}
  if old['train_dataset'] != values['train_dataset']:
    compared -= {'shuffle_labels_seed'}  # other classes anyway, of which a warning is due
  if not to_train:
    compared &= flags.affecting('evaluation') - {'shuffle_labels_seed'}
  changes = [
    f'--{flag.name} was {old[flag.name]!r}, is {values[flag.name]!r}'
    for flag in flags.ALL_FLAGS
    if flag.name in compared
    and old[flag.name] != values[flag.name]
    and before[flag.name] != now[flag.name]
  ]
  sizes = rules.support_classes(old), rules.support_classes(values)
  if not changes and sizes[0] != sizes[1]:
    changes.append(
      'a support set (num_labels times the larger of --num_tasks and --eval_num_tasks) had '
      f'{sizes[0]} classes, has {sizes[1]}'
    )
  return changes


def require_same_model(
  folder: str, values: Values, found: Values | None = None, to_train: bool = True
) -> None:
  """Check that these flags make the same model as the run in a directory.

  Args:
    folder: the directory of the run; it passes if there is no flags.json.
    values: the flag values.
    found: the content of its flags.json, if it was read already.
    to_train: see `model_changes`.

  Raises:
    InputError: they make another model, or flags.json cannot be read.
  """
  found = found or read_flags(folder)
  changes = model_changes(found, values, to_train) if found else []
  if changes:
    raise InputError(
      f'the run in {folder} has another model: {"; ".join(changes)}. Use its flags ({FLAGS_FILE} '
      'lists them) or another --train_log_dir.'
    )


def changed_model_flags(values: Values) -> dict[str, Any]:
  """Return the flags of the model, by name, that differ from their defaults."""
  return {
    flag.name: values[flag.name]
    for flag in flags.ALL_FLAGS
    if flag.model and values[flag.name] != flag.default
  }


def _effective(v: Values) -> dict[str, Any]:
  """Return the flag values as far as the model depends on them.

  The number of --warmup_steps does not matter, but whether there are any. A model trained in one
  scenario can be evaluated in another.
  """
  warmup, continual = v['warmup_steps'] > 0, v['continual_scenario'] != 'none'
  return {
    **v,
    'warmup_steps': warmup,
    'warmup_heads': warmup and v['warmup_heads'],
    'continual_scenario': continual,
    'embedding_units': rules.embedding_units(v),
  }
