"""Checkpoints on disk: which there are, whether they are readable, and whether they fit a model.

A checkpoint is named by its prefix: its path without ending, such as logs/model-20000.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.data import files
from hypertransformer.errors import InputError

BASENAME = 'model'
KEEP = 3  # of the newest checkpoints
KEEP_EVERY_HOURS = 3  # besides these, one checkpoint per this time is kept for good
# What TensorFlow can raise for a damaged checkpoint; its versions differ in this.
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, IndexError, RuntimeError)
MOST_LETTERS = 120  # of a value in a message
PATTERN_CHARACTERS = '*?[\\'
_ENDING = re.compile(r'\.(index|meta|data-\d+-of-\d+)$')  # of the files of a checkpoint
_NUMBERED = re.compile(rf'{BASENAME}-(\d+)\.index')


def require_plain(path: str, flag: str) -> None:
  """Refuse a path that TensorFlow would take for a pattern.

  TensorFlow could save checkpoints there, but would never find them again.

  Args:
    path: the path.
    flag: the flag or argument that gave it, for the message.

  Raises:
    InputError: the path contains a character of patterns.
  """
  if found := sorted(set(path) & set(PATTERN_CHARACTERS)):
    raise InputError(
      f'{flag} is {path!r}: TensorFlow cannot read checkpoints from a path with '
      f'{" ".join(found)} in it. Use another path.'
    )


def find(folder: str) -> dict[int, str]:
  """Return the prefixes of the checkpoints `model-<step>` in a directory by step, in order."""
  names = os.listdir(folder or '.') if os.path.isdir(folder or '.') else []
  steps = [int(match[1]) for match in map(_NUMBERED.fullmatch, names) if match]
  return {step: os.path.join(folder, f'{BASENAME}-{step}') for step in sorted(steps)}


def unreadable(prefix: str) -> str:
  """Return why a checkpoint cannot be used; '' if it can.

  All of it is read, since a truncated file is not noticed otherwise. Its values must be finite, and
  a global step must be a count.
  """
  try:
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
      value = np.asarray(reader.get_tensor(name))
      if value.dtype.kind in 'fc' and not np.isfinite(value).all():
        return f'{name} is NaN or inf'
      if name == 'global_step' and (value.dtype.kind != 'i' or value.ndim or value < 0):
        return f'global_step is {value.dtype} {value.tolist()}'[:MOST_LETTERS]
  except READ_ERRORS as error:
    return str(error).splitlines()[0]
  return ''


def newest(folder: str) -> str | None:
  """Return the prefix of the newest usable checkpoint in a directory; None if there is none.

  Newer ones that cannot be used are skipped, each with a warning.
  """
  for prefix in reversed(find(folder).values()):
    why = unreadable(prefix)
    if not why:
      return prefix
    logging.warning('Checkpoint %s cannot be used (%s); skipping it.', prefix, why)
  return None


def locate(path: str | os.PathLike[str], name: str) -> str:
  """Return the prefix of a checkpoint that the user has named.

  Args:
    path: a prefix, one of the files of a checkpoint, or a directory, which stands for its newest
      readable checkpoint; or the name of a packaged model.
    name: the flag or argument that gave the path, for messages.

  Raises:
    InputError: there is no readable checkpoint.
  """
  path = files.checkpoint(path)
  require_plain(path, name)
  if os.path.isdir(path):
    found = newest(path)
    if found is None:
      raise InputError(
        f'{name}={path} holds no readable checkpoint model-<step>. Give the --train_log_dir of a '
        'training, or one checkpoint as .../model-20000.'
      )
    return found
  path = _ENDING.sub('', path)
  if not os.path.exists(f'{path}.index'):
    there = ', '.join(map(os.path.basename, find(os.path.dirname(path)).values())) or 'none'
    raise InputError(
      f'{name}={path} does not exist ({path}.index is missing). Checkpoints in that directory: '
      f'{there}. Give a path such as .../model-20000, or the directory.'
    )
  if why := unreadable(path):
    raise InputError(f'{name}={path} is unusable ({why}). Use another checkpoint.')
  return path


def repair_state(folder: str, prefix: str | None) -> None:
  """Make TensorFlow's file `checkpoint` name this checkpoint as the newest.

  Sessions restore the checkpoint that is named there.

  Args:
    folder: the directory of the run.
    prefix: the checkpoint. If it is None, the file is deleted.
  """
  if prefix is None:
    pathlib.Path(folder, 'checkpoint').unlink(missing_ok=True)
    return
  state = None
  with contextlib.suppress(*READ_ERRORS):  # empty or damaged, as after a power failure
    if os.path.isfile(os.path.join(folder, 'checkpoint')):
      state = tf.train.get_checkpoint_state(folder)
  if state is None or os.path.basename(state.model_checkpoint_path) != os.path.basename(prefix):
    # The saver deletes the oldest ones of those that are listed, until KEEP are left. So the
    # checkpoints that are kept for good must not be listed.
    others = [each for each in find(folder).values() if each != prefix]
    write_state(folder, [*others[1 - KEEP :], prefix])


def write_state(folder: str, prefixes: Sequence[str]) -> None:
  """Write TensorFlow's file `checkpoint`, which lists these checkpoints; the last is the newest.

  The paths in it are relative, so that the directory can be moved.
  """
  names = [os.path.basename(prefix) for prefix in prefixes]
  tf.train.update_checkpoint_state(
    os.path.abspath(folder), names[-1], all_model_checkpoint_paths=names
  )


def global_step(prefix: str) -> int:
  """Return the number of updates that a checkpoint has seen.

  Raises:
    InputError: the checkpoint cannot be read, or is not one of a training run.
  """
  try:
    return int(tf.train.load_checkpoint(prefix).get_tensor('global_step'))
  except READ_ERRORS as error:
    raise InputError(
      f'{prefix} is not a checkpoint of a training run (no global_step: '
      f'{str(error).splitlines()[0]}). Use another checkpoint.'
    ) from error


def compare(prefix: str, variables: Iterable[tf.Variable]) -> str:
  """Return what keeps a checkpoint from being restored into variables; '' if nothing does."""
  reader = tf.train.load_checkpoint(prefix)
  shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
  variables = list(variables)
  wanted = {v.op.name: v.shape.as_list() for v in variables}
  missing = sorted(set(wanted) - set(shapes))
  reshaped = [
    f'{name}: has {shapes[name]}, needs {shape}'
    for name, shape in sorted(wanted.items())
    if name in shapes and shapes[name] != shape
  ]
  others = [
    f'{v.op.name}: is {types[v.op.name].name}, must be {v.dtype.base_dtype.name}'
    for v in variables
    if v.op.name in types and types[v.op.name] != v.dtype.base_dtype
  ]
  return ' and '.join(
    f'{len(found)} {what}, such as {"; ".join(found[:3])}'
    for what, found in (
      ('variables are missing', missing),
      ('have another shape', reshaped),
      ('have another type', others),
    )
    if found
  )


def require_match(prefix: str, variables: Sequence[tf.Variable], whole: bool = False) -> None:
  """Refuse a checkpoint that cannot be restored into the variables.

  Args:
    prefix: the checkpoint.
    variables: the variables.
    whole: whether they must be all of the checkpoint's, but for those of optimizers: the next
      checkpoint of the run would not have the others any more.

  Raises:
    InputError: variables are missing on one side, or have another shape.
  """
  found = compare(prefix, variables)
  if whole and not found:
    kept = {v.op.name for v in variables}
    names = tf.train.load_checkpoint(prefix).get_variable_to_shape_map().keys() - kept
    lost = sorted(name for name in names if name.startswith(('model/', 'loss/')))
    found = f'it has {len(lost)} more, such as {", ".join(lost[:3])}' if lost else ''
  if found:
    raise InputError(
      f'checkpoint {prefix} does not fit the model of these flags: {found}. Use the flags it was '
      'trained with, from the flags.json beside it, or another directory.'
    )
