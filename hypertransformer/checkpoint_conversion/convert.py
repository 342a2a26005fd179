"""Converts checkpoint files between the original's form and ours.

The variables are converted by names.py, from their names and shapes alone: no model is built.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np
import tensorflow as tf

from hypertransformer.checkpoint_conversion import names
from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.runtime.checkpoints import READ_ERRORS
from hypertransformer.settings.flags_file import read_flags

_FILE_ENDING = re.compile(r'\.(index|meta|data-\d{5}-of-\d{5})')


@dataclasses.dataclass(frozen=True)
class Report:
  """The result of a conversion.

  Attributes:
    read: The number of tensors in the input.
    written: The number of tensors in the output.
    added: How many of these are moving averages of batch norms, which an export adds.
    dropped: How many tensors of the input have no counterpart.
    global_step: The step in the input, which is kept as it is; None if the input has none.
  """

  read: int
  written: int
  added: int
  dropped: int
  global_step: int | None

  def __str__(self) -> str:
    """Return the line that `hypertransformer convert checkpoint` prints."""
    return (
      f'{self.read} tensors read, {self.written} written; {self.added} batch-norm moving averages '
      f'added (zeros and ones); {self.dropped} tensors without counterpart dropped; '
      f'global_step {self.global_step}'
    )


def convert(direction: str, source: str, target: str, overwrite: bool = False) -> Report:
  """Convert a checkpoint.

  Args:
    direction: 'import' makes a checkpoint of ours of one of the original, 'export' the reverse.
    source: Path of the checkpoint to convert, without .index.
    target: Path of the new checkpoint, without .index. Its directory is created if necessary. Only
      the index and data files are written, not TensorFlow's file `checkpoint`.
    overwrite: Whether an existing target is replaced.

  Raises:
    InputError: The input is missing or damaged, is of the wrong side, or has unknown variables; or
      the output exists or cannot be written. Nothing is left behind then.
  """
  source_path, target_path = _prefix(source, 'input'), _prefix(target, 'output')
  require(
    source_path.resolve() != target_path.resolve(),
    f'Input and output are the same checkpoint, {target}.',
  )
  require(
    overwrite or not checkpoint_files(target_path),
    f'Output {target} exists. Remove it, or pass --overwrite.',
  )
  variables = read(source_path)
  try:
    if direction == names.IMPORT:
      converted = names.import_variables(variables)
    else:
      values = read_flags(str(source_path.parent)) or {}
      separate = bool(values.get('separate_evaluation_bn_vars'))
      converted = names.export_variables(variables, separate)
  except InputError as error:
    raise InputError(f'{source}: {error}') from None
  write(target_path, converted, overwrite)
  step = variables.get('global_step')
  return Report(
    read=len(variables),
    written=len(converted),
    added=sum(names.MOVING_AVERAGE.match(name) is not None for name in converted),
    dropped=sum(names.is_dropped(name, direction) for name in variables),
    global_step=None if step is None else int(step),
  )


def read(prefix: pathlib.Path) -> dict[str, np.ndarray]:
  """Read all tensors of a checkpoint, by name.

  Args:
    prefix: Path of the checkpoint, without .index.

  Raises:
    InputError: The checkpoint is missing or damaged.
  """
  try:
    reader = tf.train.load_checkpoint(str(prefix))
    return {
      name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()
    }
  except READ_ERRORS as error:
    reason = str(error).partition('\n')[0] or type(error).__name__
    raise InputError(
      f'Checkpoint {prefix} is missing or damaged ({reason}). Copy all of its files again.'
    ) from None


def write(prefix: pathlib.Path, variables: dict[str, np.ndarray], overwrite: bool = True) -> None:
  """Write a checkpoint atomically.

  The files are written to a temporary directory beside the target and then moved. The index moves
  last, because readers look for it. An old checkpoint of this name is replaced, with all its files.

  Args:
    prefix: Path of the checkpoint, without .index.
    variables: Its tensors by name.
    overwrite: Whether files may be replaced, also those that were made in the meantime.

  Raises:
    InputError: The files cannot be written.
  """
  try:
    with files.temporary(prefix, pathlib.Path.mkdir) as folder:
      _save(folder / prefix.name, variables)
      for file in checkpoint_files(prefix) if overwrite else ():  # index first: no other data
        files.require_regular(file)
        file.unlink()
      for file in reversed(checkpoint_files(folder / prefix.name)):
        files.give_name(file, prefix.with_name(file.name), overwrite)
  except tf.errors.OpError as error:
    reason = str(error).partition('\n')[0]
    raise InputError(f'Output {prefix} cannot be written ({reason}).') from None


def checkpoint_files(prefix: pathlib.Path) -> list[pathlib.Path]:
  """Return the files of a checkpoint, the index first; some may be missing."""
  if not prefix.parent.is_dir():
    return []
  found = [
    file
    for file in prefix.parent.iterdir()
    if file.name.startswith(prefix.name) and _FILE_ENDING.fullmatch(file.name[len(prefix.name) :])
  ]
  return sorted(found, key=lambda file: (not file.name.endswith('.index'), file.name))


def _save(prefix: pathlib.Path, variables: dict[str, np.ndarray]) -> None:
  """Write the files of a checkpoint, in a graph of its own: eager execution may be on or off."""
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
  """Return an argument as the path of a checkpoint; directories and single files are refused."""
  prefix = files.expanded(path)
  require(
    bool(path)
    and not path.endswith('/')
    and not prefix.is_dir()
    and not _FILE_ENDING.fullmatch(prefix.suffix),
    f'{what}_checkpoint={path} is not a checkpoint. Pass its path without extension, such as '
    'logs/model-20000.',
  )
  return prefix
