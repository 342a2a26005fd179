"""Converts checkpoint files between the original's form and ours.

The variables are converted by names.py, from their names and shapes alone: no model is built.
"""

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
from hypertransformer.checkpoint_conversion import names
from hypertransformer.runtime.checkpoints import READ_ERRORS
from hypertransformer.settings.flags_file import read_flags

_FILE_ENDING = re.compile(r'\.(index|meta|data-\d{5}-of-\d{5})')


@dataclasses.dataclass(frozen=True)
class Report:
  """What a conversion did.

  Attributes:
    read: tensors in the input.
    written: tensors in the output.
    added: how many of these are moving averages of batch norms, which an export makes up.
    dropped: for each kind of variable that has no counterpart, how many the input had.
    global_step: the step in the input, which is kept as it is; None if the input has none.
  """

  read: int
  written: int
  added: int
  dropped: dict[str, int]
  global_step: int | None

  def __str__(self) -> str:
    parts = [f'{self.read} tensors read, {self.written} written']
    if self.added:
      parts.append(f'added {_counted(self.added, "batch-norm moving average")} (zeros and ones)')
    if self.dropped:
      kinds = [_counted(count, kind) for kind, count in sorted(self.dropped.items())]
      parts.append('dropped ' + ', '.join(kinds))
    return '; '.join(parts)


def convert(direction: str, source: str, target: str, overwrite: bool = False) -> Report:
  """Converts a checkpoint.

  Args:
    direction: 'import' makes a checkpoint of ours of one of the original, 'export' the reverse.
    source: path of the checkpoint to convert, without .index.
    target: path of the new checkpoint, without .index. Its folder is made if it is not there. Only
      the index and data files are written, not TensorFlow's file `checkpoint`.
    overwrite: whether an existing target is replaced.

  Raises:
    InputError: the input is missing or damaged, is of the wrong side, or has variables that are not
      known; or the output exists or cannot be written. Nothing is left behind then.
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
  """Whether flags.json beside a checkpoint of ours has --separate_evaluation_bn_vars."""
  values = read_flags(str(prefix.parent)) or {}
  return bool(values.get('separate_evaluation_bn_vars'))


def read(prefix: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads all tensors of a checkpoint, by name.

  Args:
    prefix: path of the checkpoint, without .index.

  Raises:
    InputError: the checkpoint is missing or damaged.
  """
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
  """Writes a checkpoint, so that readers never find half of it.

  The files are written in a temporary folder beside the target and then moved. The index moves
  last, because readers look for it. An old checkpoint of this name is replaced, with all its files.

  Args:
    prefix: path of the checkpoint, without .index.
    variables: its tensors by name.

  Raises:
    InputError: the files cannot be written.
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
  """Lists the files that belong to a checkpoint, the index first; some may be missing."""
  if not prefix.parent.is_dir():
    return []
  files = [
    file
    for file in prefix.parent.iterdir()
    if file.name.startswith(prefix.name) and _FILE_ENDING.fullmatch(file.name[len(prefix.name) :])
  ]
  return sorted(files, key=lambda file: (not file.name.endswith('.index'), file.name))


def step_note(target: str, global_step: int | None) -> str | None:
  """Explains why a checkpoint named like model-20000 holds another step.

  Args:
    target: path of the checkpoint, without .index.
    global_step: the step that it holds, if any.

  Returns:
    The remark; None if the name and the step agree, or if one of them is not there.
  """
  number = re.search(r'-(\d+)$', target)
  if number is None or global_step is None or int(number[1]) == global_step:
    return None
  return (
    f'note: {pathlib.Path(target).name} holds global_step {global_step}, not {number[1]}. '
    'The original names its checkpoints one less than the step inside; ours agree.'
  )


def _save(prefix: pathlib.Path, variables: dict[str, np.ndarray]) -> None:
  """Writes the files of a checkpoint, in a graph of its own: eager execution may be on or off."""
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
  """Turns an argument into the path of a checkpoint; folders and single files are refused."""
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
