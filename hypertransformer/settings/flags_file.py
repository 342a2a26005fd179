"""flags.json beside the checkpoints: the flag values that a run was started with, written, read and
compared.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from hypertransformer import errors
from hypertransformer.errors import InputError
from hypertransformer.settings import changes, flag_table, flags, older_runs

FLAGS_FILE = 'flags.json'


def read_flags(folder: str) -> dict[str, Any] | None:
  """The content of flags.json in the folder, as it is; None if there is no such file. Raises
  InputError if it is not JSON.
  """
  path = pathlib.Path(folder) / FLAGS_FILE
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return None
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f'{path} cannot be read as JSON ({error}): correct it or delete it.'
    ) from error


def write_flags(folder: str, values: flags.Values) -> None:
  """Writes flag values and the version of this package to flags.json, which is there whole or not
  at all.
  """
  path = pathlib.Path(folder) / FLAGS_FILE
  aside = path.with_suffix('.json.part')
  aside.write_text(json.dumps(older_runs.stamped(values), indent=1, sort_keys=True) + '\n')
  os.replace(aside, path)


def write_evaluation_flags(folder: str, values: flags.Values) -> bool:
  """Writes to flags.json in the folder of evaluations what their numbers depend on.

  Returns whether an earlier evaluator left the same there, so that its results are those of this
  one.
  """
  settings = changes.evaluation_flags(values)
  before = read_flags(folder) or {}
  write_flags(folder, settings)
  return {name: value for name, value in before.items() if name != older_runs.VERSION} == settings


def seed_of(folder: str) -> int | None:
  """The seed of the run in the folder; None if there is none, or nobody wrote it down."""
  return (read_flags(folder) or {}).get('seed')


def require_same_model(folder: str, values: flags.Values) -> None:
  """Raises InputError unless training in the folder can go on with these flags: the run in it was
  started with flags that make another model, or by a version of this package that made another
  model of them.
  """
  old = read_flags(folder)
  if old is None:
    return
  older_runs.require_today(folder, {**flags.defaults(), **old}, training=True)
  changed = changes.model_flag_changes(old, values)
  if changed:
    raise errors.InputError(
      f'the run in {folder} has another model: {"; ".join(changed)}. Use its flags '
      f'({FLAGS_FILE} there lists them) or another --train_log_dir.'
    )


def why_not_evaluated(folder: str, values: flags.Values) -> str:
  """Why checkpoints of the run in the folder cannot be evaluated with these flags; '' if they can.

  Raises InputError if flags.json cannot be read, or the run is one of an older version that is
  another model now.
  """
  old = read_flags(folder)
  if old is None:
    return ''
  older_runs.require_today(folder, {**flags.defaults(), **old}, training=False)
  changed = changes.model_flag_changes(old, values)
  return f'its run has other flags: {"; ".join(changed)}' if changed else ''


def read_model_flags(folder: str) -> dict[str, Any]:
  """All flag values of the run in the folder, with defaults for flags that are younger than its
  flags.json.

  Raises InputError if flags.json is missing or damaged, or the run is one of an older version that
  is another model now.
  """
  path = os.path.join(folder, FLAGS_FILE)
  found = read_flags(folder)
  if found is None:
    raise InputError(
      f'{path} is missing: it says which model the checkpoint is of. Copy it from the training folder '
      'together with the checkpoint.'
    )
  if not isinstance(found, dict):
    raise InputError(f'{path} holds no flag values: copy it anew from the training folder.')
  wrong = [
    flag.name
    for flag in flag_table.ALL_FLAGS
    if flag.name in found and not _fits(flag, found[flag.name])
  ]
  if wrong:
    raise InputError(
      f'{path}: {wrong[0]} is {found[wrong[0]]!r}, which is no value of that flag: copy the file anew '
      'from the training folder.'
    )
  values = flags.defaults() | found
  older_runs.require_today(folder, values, training=False)
  return values


def _fits(flag: flag_table.Flag, value: Any) -> bool:
  if value is None:
    return flag.default is None
  if flag.choices and value not in flag.choices:
    return False
  return type(value) is flag.kind or (flag.kind is float and type(value) is int)
