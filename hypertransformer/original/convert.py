"""Checkpoint files: the original's -> ours and back, by `names`; nothing of a model is built."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf

from hypertransformer import errors
from hypertransformer.original import names
from hypertransformer.runtime.checkpoints import READ_ERRORS
from hypertransformer.settings.flags_file import read_flags

_FILE_ENDING = re.compile(r'\.(index|meta|data-\d{5}-of-\d{5})')


@dataclasses.dataclass(frozen=True)
class Report:
  """What a conversion did."""

  read: int  # tensors in the input
  written: int  # tensors in the output
  added: int  # of them batch-norm moving averages made up on export
  dropped: dict[str, int]  # kind -> tensors of the input without a counterpart
  global_step: int | None  # kept as it is; None when the input has none

  def __str__(self) -> str:
    parts = [f'{self.read} tensors read, {self.written} written']
    if self.added:
      parts.append(f'added {_counted(self.added, "batch-norm moving average")} (zeros and ones)')
    if self.dropped:
      kinds = [_counted(count, kind) for kind, count in sorted(self.dropped.items())]
      parts.append('dropped ' + ', '.join(kinds))
    return '; '.join(parts)


def convert(direction: str, source: str, target: str, overwrite: bool = False) -> Report:
  """Converts the checkpoint with prefix `source` into one with prefix `target`.

  Args:
    direction: 'import' (the original's -> ours) or 'export' (ours -> the original's).
    source: path of the checkpoint without .index.
    target: the same of the new one; its folder is made if need be. Only the index and data files
      are written, no `checkpoint` state file.
    overwrite: replace an existing target.

  Raises:
    InputError: input missing, damaged or of the wrong side, unknown variables, output that exists
      or cannot be written. Nothing is left behind then.
  """
  if direction not in (names.IMPORT, names.EXPORT):
    raise errors.InputError(f'direction {direction!r}: expected import or export.')
  source_path, target_path = _prefix(source, 'input'), _prefix(target, 'output')
  if source_path.resolve() == target_path.resolve():
    raise errors.InputError(f'input and output are the same checkpoint, {target}.')
  if checkpoint_files(target_path) and not overwrite:
    raise errors.InputError(f'output {target} exists; remove it, or pass --overwrite.')
  variables = read(source_path)
  try:
    converted = (
      names.import_variables(variables)
      if direction == names.IMPORT
      else names.export_variables(variables, _separate_query(source_path))
    )
  except errors.InputError as error:
    raise errors.InputError(f'{source}: {error}') from None
  write(target_path, converted)
  return _report(direction, variables, converted)


def _separate_query(prefix: pathlib.Path) -> bool:
  """Whether flags.json beside a checkpoint of ours says --separate_evaluation_bn_vars."""
  values = read_flags(str(prefix.parent)) or {}
  return bool(values.get('separate_evaluation_bn_vars'))


def read(prefix: pathlib.Path) -> dict[str, np.ndarray]:
  """All tensors of a checkpoint, by name."""
  if not prefix.with_name(prefix.name + '.index').is_file():
    raise errors.InputError(f'no checkpoint {prefix}: there is no file {prefix}.index.')
  try:
    reader = tf.train.load_checkpoint(str(prefix))
    return {
      name: np.asarray(reader.get_tensor(name))
      for name in sorted(reader.get_variable_to_shape_map())
    }
  except READ_ERRORS as error:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise errors.InputError(
      f'checkpoint {prefix} cannot be read; it is half-written or damaged '
      f'({reason}). Copy all of its files again.'
    ) from None


def write(prefix: pathlib.Path, variables: dict[str, np.ndarray]) -> None:
  """Writes in a temporary folder beside it first; the index, which readers look for, moves last.

  An old checkpoint of this name is replaced, with all of its files.
  """
  try:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.converting-', dir=prefix.parent) as folder:
      temporary = pathlib.Path(folder) / prefix.name
      _save(temporary, variables)
      for file in checkpoint_files(prefix):  # index first: it never meets other data
        file.unlink()
      for file in reversed(checkpoint_files(temporary)):
        os.replace(file, prefix.with_name(file.name))
  except (OSError, tf.errors.OpError) as error:
    reason = str(error).splitlines()[0]
    raise errors.InputError(f'output {prefix} cannot be written ({reason}).') from None


def checkpoint_files(prefix: pathlib.Path) -> list[pathlib.Path]:
  """The files of this checkpoint, complete or not; the index first."""
  if not prefix.parent.is_dir():
    return []
  files = [
    file
    for file in prefix.parent.iterdir()
    if file.name.startswith(prefix.name) and _FILE_ENDING.fullmatch(file.name[len(prefix.name) :])
  ]
  return sorted(files, key=lambda file: (not file.name.endswith('.index'), file.name))


def step_note(target: str, global_step: int | None) -> str | None:
  """A remark for a name like model-20000 that holds another step, else None."""
  number = re.search(r'-(\d+)$', target)
  if number is None or global_step is None or int(number[1]) == global_step:
    return None
  return (
    f'note: {pathlib.Path(target).name} holds global_step {global_step}, not {number[1]}. '
    'The original names its checkpoints one less than the step inside; ours agree.'
  )


def _save(prefix: pathlib.Path, variables: dict[str, np.ndarray]) -> None:
  """In a graph of its own, so that it works with eager execution on or off."""
  ordered = sorted(variables)
  with tf.Graph().as_default():
    values = [
      tf.compat.v1.placeholder(variables[name].dtype, variables[name].shape) for name in ordered
    ]
    save = tf.raw_ops.SaveV2(
      prefix=str(prefix), tensor_names=ordered, shape_and_slices=[''] * len(ordered), tensors=values
    )
    with tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(device_count={'GPU': 0})) as session:
      session.run(save, dict(zip(values, (variables[name] for name in ordered), strict=True)))


def _prefix(path: str, what: str) -> pathlib.Path:
  """Checks the usual slips: a folder, or one of the checkpoint's files."""
  example = 'give the checkpoint without ending, such as logs/model-20000'
  if not path:
    raise errors.InputError(f'no {what} checkpoint; {example}.')
  if path.endswith('/') or pathlib.Path(path).is_dir():
    raise errors.InputError(f'{what} checkpoint {path} is a folder; {example}.')
  if _FILE_ENDING.fullmatch(pathlib.Path(path).suffix):
    raise errors.InputError(f'{what} checkpoint {path} is one file of a checkpoint; {example}.')
  return pathlib.Path(path).expanduser()


def _report(
  direction: str, variables: dict[str, np.ndarray], converted: dict[str, np.ndarray]
) -> Report:
  kinds = (names.dropped_kind(name, direction) for name in variables)
  added = sum(names.MOVING_AVERAGE.match(name) is not None for name in converted)
  step = variables.get('global_step')
  return Report(
    read=len(variables),
    written=len(converted),
    added=added,
    dropped=dict(collections.Counter(kind for kind in kinds if kind)),
    global_step=None if step is None else int(step),
  )


def _counted(count: int, what: str) -> str:
  return f'{count} {what}' + ('s' if count != 1 else '')
