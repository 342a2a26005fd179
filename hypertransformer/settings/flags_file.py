"""flags.json, the file beside the checkpoints that tells which flags a run was started with.

It is written, read, and compared with the flags of today.
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
    aside.write_text(json.dumps(older_runs.stamped(values), indent=1, sort_keys=True) + '\n')
    os.replace(aside, path)
  except OSError:
    aside.unlink(missing_ok=True)
    raise


def write_evaluation_flags(folder: str, values: flags.Values) -> None:
  """Writes the flags on which the numbers of an evaluation depend to flags.json of its folder."""
  write_flags(folder, changes.evaluation_flags(values))


def same_evaluation_flags(folder: str, values: flags.Values) -> bool:
  """Tells whether an earlier evaluator wrote the same flags to flags.json of its folder.

  Raises:
    InputError: the file is there and cannot be read.
  """
  before = read_flags(folder)
  if before is None:
    return False
  before.pop(older_runs.VERSION, None)
  # A flag that is younger than the folder was at its default.
  known = {**changes.evaluation_flags(flags.defaults()), **before}
  return known == changes.evaluation_flags(values)


def seed_of(folder: str) -> int | None:
  """Returns the seed of the run in the folder; None if there is no run, or no seed written down."""
  return (read_flags(folder) or {}).get('seed')


def require_same_model(folder: str, values: flags.Values) -> None:
  """Checks that these flags make the same model as the run in the folder, which is to go on.

  A folder without flags.json passes.

  Raises:
    InputError: the run was started with flags that make another model, or by a version of this
      package that made another model of the same flags.
  """
  changed = _model_changes(folder, values, training=True)
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
    InputError: flags.json cannot be read, or the run was made by a version of this package that
      made another model of the same flags.
  """
  changed = _model_changes(folder, values, training=False)
  return f'its run has other flags: {"; ".join(changed)}' if changed else ''


def _model_changes(folder: str, values: flags.Values, training: bool) -> list[str]:
  """Lists the changes since the run in the folder that make another model.

  There are none without flags.json. Raises InputError for a run of an older version that is another
  model now, or, if it is to be trained further, has another loss.
  """
  old = read_flags(folder)
  if old is None:
    return []
  older_runs.require_today(folder, {**flags.defaults(), **old}, training)
  return changes.model_flag_changes(old, values)


def read_model_flags(folder: str) -> dict[str, Any]:
  """Reads and checks all flag values of the run in the folder.

  Flags that did not exist yet when flags.json was written have their defaults.

  Raises:
    InputError: flags.json is missing or damaged, or the run was made by a version of this package
      that made another model of the same flags.
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
    for flag in flag_table.ALL_FLAGS
    if flag.name in found and not _fits(flag, found[flag.name])
  ]
  if wrong:
    raise InputError(
      f'{path}: {wrong[0]} is {found[wrong[0]]!r}, which is no value of that flag: copy the file '
      'anew from the training folder.'
    )
  values = flags.defaults() | found
  older_runs.require_today(folder, values, training=False)
  return values


def _fits(flag: flag_table.Flag, value: Any) -> bool:
  """Whether the flag can have this value, by its type and its allowed values."""
  if value is None:
    return flag.default is None
  if flag.choices and value not in flag.choices:
    return False
  return type(value) is flag.kind or (flag.kind is float and type(value) is int)
