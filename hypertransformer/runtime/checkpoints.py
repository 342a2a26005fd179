"""Checkpoints on disk: which there are, whether they can be read, and whether they fit a model.

A checkpoint is named by its prefix: its path without ending, such as logs/model-20000.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import errors

BASENAME = 'model'
KEEP = 3  # so many of the newest checkpoints are kept
KEEP_EVERY_HOURS = 3  # besides these, one checkpoint in so many hours is kept for good
# What TensorFlow can raise for a damaged checkpoint; versions of TensorFlow differ in this.
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, IndexError, RuntimeError)
PATTERN_CHARACTERS = '*?[\\'
_ENDING = re.compile(r'\.(index|meta|data-\d+-of-\d+)$')  # of the files of a checkpoint
_NUMBERED = re.compile(r'.*/model-(\d+)\.index')


def require_plain(path: str, flag: str) -> None:
  """Refuses a path that TensorFlow would take for a pattern.

  TensorFlow could save checkpoints there, but would never find them again.

  Args:
    path: the path.
    flag: the flag or argument that gave it, for the message.

  Raises:
    InputError: there is a character of patterns in the path.
  """
  found = sorted(set(path) & set(PATTERN_CHARACTERS))
  if found:
    raise errors.InputError(
      f'{flag} is {path!r}: TensorFlow cannot read checkpoints from a path with '
      f'{" ".join(found)} in it; use another path.'
    )


def find(folder: str) -> dict[int, str]:
  """The checkpoints `model-<step>` in a folder: their prefixes by step, the smallest step first."""
  matches = map(
    _NUMBERED.fullmatch, glob.glob(os.path.join(glob.escape(folder), f'{BASENAME}-*.index'))
  )
  return {
    step: os.path.join(folder, f'{BASENAME}-{step}')
    for step in sorted(int(m[1]) for m in matches if m)
  }


def unreadable(prefix: str) -> str:
  """Why a checkpoint cannot be read, '' if it can.

  All of it is read, since a file that was cut off is not noticed before.
  """
  try:
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except READ_ERRORS as error:
    return str(error).splitlines()[0]
  return ''


def newest(folder: str) -> str | None:
  """The prefix of the newest checkpoint in a folder that can be read; None if there is none.

  Newer ones that cannot be read are skipped, each with a warning.
  """
  prefixes = list(find(folder).values())
  while prefixes:
    why = unreadable(prefixes[-1])
    if not why:
      break
    logging.warning(
      'Checkpoint %s cannot be read (%s); going on with the one before.', prefixes.pop(), why
    )
  return prefixes[-1] if prefixes else None


def locate(path: str, name: str) -> str:
  """The prefix of a checkpoint that a person has named.

  Args:
    path: a prefix, one of the files of a checkpoint, or a folder; in a folder the newest checkpoint
      that can be read is taken.
    name: the flag or argument that gave the path, for messages.

  Raises:
    InputError: there is no checkpoint that can be read.
  """
  require_plain(path, name)
  if os.path.isdir(path):
    found = newest(path)
    if found is None:
      raise errors.InputError(
        f'{name}={path} holds no readable checkpoint model-<step>: give the --train_log_dir of a '
        'training, or one checkpoint as .../model-20000.'
      )
    return found
  path = _ENDING.sub('', path)
  if not os.path.exists(f'{path}.index'):
    there = ', '.join(map(os.path.basename, find(os.path.dirname(path)).values())) or 'none'
    raise errors.InputError(
      f'{name}={path} is not there ({path}.index is missing; checkpoints in that '
      f'folder: {there}): give its path as .../model-20000, without .index, or its folder.'
    )
  why = unreadable(path)
  if why:
    raise errors.InputError(
      f'{name}={path} cannot be read, half-written or damaged ({why}): use another one.'
    )
  return path


def repair_state(folder: str, prefix: str | None) -> None:
  """Makes TensorFlow's file `checkpoint` name this checkpoint as the newest.

  Sessions restore the checkpoint that is named there.

  Args:
    folder: the folder of the run.
    prefix: the checkpoint. If it is None, the file is deleted.
  """
  if prefix is None:
    pathlib.Path(folder, 'checkpoint').unlink(missing_ok=True)
    return
  # The saver deletes the oldest ones of those that are listed, until KEEP are left. So the
  # checkpoints that are kept for good must not be listed.
  state = tf.train.get_checkpoint_state(folder)
  if state and os.path.basename(state.model_checkpoint_path) == os.path.basename(prefix):
    listed = list(map(os.path.basename, state.all_model_checkpoint_paths))
  else:
    listed = [os.path.basename(each) for each in find(folder).values() if each != prefix][
      1 - KEEP :
    ]
  others = [name for name in listed if name != os.path.basename(prefix)]
  write_state(folder, [*others, prefix])


def write_state(folder: str, prefixes: Sequence[str]) -> None:
  """Writes TensorFlow's file `checkpoint`, which lists these checkpoints; the last is the newest.

  The paths in it are relative, so that the folder can be moved.
  """
  names = [os.path.basename(prefix) for prefix in prefixes]
  tf.train.update_checkpoint_state(
    os.path.abspath(folder), names[-1], all_model_checkpoint_paths=names
  )


def global_step(prefix: str) -> int:
  """The number of updates that a checkpoint has seen.

  Raises:
    InputError: the checkpoint cannot be read, or is not one of a training run.
  """
  try:
    return int(tf.train.load_checkpoint(prefix).get_tensor('global_step'))
  except READ_ERRORS as error:
    raise errors.InputError(
      f'{prefix} is not a checkpoint of a training run (no global_step could be read): '
      f'{str(error).splitlines()[0]}'
    ) from error


@dataclasses.dataclass(frozen=True)
class Mismatch:
  """What keeps a checkpoint from being restored into variables. It is false if nothing does.

  Attributes:
    missing: the names of variables that the checkpoint does not have.
    reshaped: variables that it has with another shape, as 'name: has [2], needs [3]'.
  """

  missing: list[str]
  reshaped: list[str]

  def __bool__(self) -> bool:
    return bool(self.missing or self.reshaped)

  def __str__(self) -> str:
    parts = []
    if self.missing:
      parts.append(
        f'{len(self.missing)} variables are missing, such as {", ".join(self.missing[:3])}'
      )
    if self.reshaped:
      parts.append(
        f'{len(self.reshaped)} have another shape, such as {"; ".join(self.reshaped[:3])}'
      )
    return ' and '.join(parts)


def compare(prefix: str, variables: Iterable[tf.Variable]) -> Mismatch:
  """Compares a checkpoint with the variables that it is to be restored into."""
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  wanted = {v.op.name: v.shape.as_list() for v in variables}
  return Mismatch(
    sorted(set(wanted) - set(shapes)),
    [
      f'{name}: has {shapes[name]}, needs {shape}'
      for name, shape in sorted(wanted.items())
      if name in shapes and shapes[name] != shape
    ],
  )


def require_match(
  prefix: str,
  variables: Iterable[tf.Variable],
  problem: str = 'does not fit the model of these flags',
  advice: str = 'Use the flags it was trained with, or another --train_log_dir.',
) -> None:
  """Refuses a checkpoint that cannot be restored into the variables.

  Args:
    prefix: the checkpoint.
    variables: the variables of the model.
    problem: what the message says of the checkpoint, before it names variables.
    advice: the end of the message: what to do.

  Raises:
    InputError: variables are missing in the checkpoint, or have another shape there.
  """
  mismatch = compare(prefix, variables)
  if mismatch:
    raise errors.InputError(f'checkpoint {prefix} {problem}: {mismatch}. {advice}')


def require_nothing_lost(prefix: str, variables: Iterable[tf.Variable]) -> None:
  """Refuses a checkpoint whose model has more variables than the current one.

  The next checkpoint of the run would not have them any more. Variables of optimizers may be lost.

  Raises:
    InputError: there are such variables.
  """
  kept = {v.op.name for v in variables}
  lost = sorted(
    name
    for name in tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    if name.startswith(('model/', 'loss/')) and name not in kept
  )
  if lost:
    raise errors.InputError(
      f'checkpoint {prefix} has {len(lost)} variables that the model of these flags lacks, such '
      f'as {", ".join(lost[:3])}: they would be lost. Use the flags it was trained with, or '
      'another --train_log_dir.'
    )
