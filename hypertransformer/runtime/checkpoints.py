"""Checkpoints on disk: which there are, whether they can be read, whether they fit a model."""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Iterable

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import errors

BASENAME = 'model'
KEEP = 3
KEEP_EVERY_HOURS = 3
# What TensorFlow raises for a broken checkpoint; which of them, depends on its version.
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, IndexError, RuntimeError)
PATTERN_CHARACTERS = '*?[\\'
_NUMBERED = re.compile(r'.*/model-(\d+)\.index')


def require_plain(path: str, flag: str) -> None:
  """Raises InputError for a path that TensorFlow would take for a pattern: it could save there, but
  never read.
  """
  found = sorted(set(path) & set(PATTERN_CHARACTERS))
  if found:
    raise errors.InputError(
      f'{flag} is {path!r}: TensorFlow cannot read checkpoints from a path with '
      f'{" ".join(found)} in it; use another path.'
    )


def find(folder: str) -> dict[int, str]:
  """{step: prefix} of the checkpoints `model-<step>` in a folder, by rising step."""
  matches = map(
    _NUMBERED.fullmatch, glob.glob(os.path.join(glob.escape(folder), f'{BASENAME}-*.index'))
  )
  return {
    step: os.path.join(folder, f'{BASENAME}-{step}')
    for step in sorted(int(m[1]) for m in matches if m)
  }


def unreadable(prefix: str) -> str:
  """Why a checkpoint cannot be read, '' if it can. Reads all of it: a cut file shows only then."""
  try:
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except READ_ERRORS as error:
    return str(error).splitlines()[0]
  return ''


def newest(folder: str) -> str | None:
  """Prefix of the newest checkpoint that can be read, or None. An unreadable one is skipped with a
  warning.
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
  """Prefix of the checkpoint at `path`, or of the newest in the folder `path`. name: of the flag or
  argument that gave it. Raises InputError if there is none that can be read.
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
  """Sees to it that TensorFlow's `checkpoint` file, from which sessions restore, names this
  checkpoint; None: that there is no such file.
  """
  if prefix is None:
    pathlib.Path(folder, 'checkpoint').unlink(missing_ok=True)
    return
  state = tf.train.get_checkpoint_state(folder)
  if state is None or state.model_checkpoint_path != prefix:
    # The saver deletes what is listed beyond KEEP: those kept for good (one per 3 hours) must not
    # be.
    others = [each for each in find(folder).values() if each != prefix][1 - KEEP :]
    tf.train.update_checkpoint_state(folder, prefix, all_model_checkpoint_paths=[*others, prefix])


def global_step(prefix: str) -> int:
  """The number of updates in a checkpoint. Raises InputError if it has none or cannot be read."""
  try:
    return int(tf.train.load_checkpoint(prefix).get_tensor('global_step'))
  except READ_ERRORS as error:
    raise errors.InputError(
      f'{prefix} is not a checkpoint of a training run (no global_step could be read): '
      f'{str(error).splitlines()[0]}'
    ) from error


@dataclasses.dataclass(frozen=True)
class Mismatch:
  """Variables that a checkpoint lacks, and those of another shape ('name: has ..., needs ...')."""

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
  """What keeps the checkpoint from being restored into the variables."""
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


def require_match(prefix: str, variables: Iterable[tf.Variable]) -> None:
  """Raises InputError if the checkpoint does not fit the variables."""
  mismatch = compare(prefix, variables)
  if mismatch:
    raise errors.InputError(
      f'checkpoint {prefix} does not fit the model of these flags: {mismatch}. Use the flags it '
      'was trained with, or another --train_log_dir.'
    )


def require_nothing_lost(prefix: str, variables: Iterable[tf.Variable]) -> None:
  """Raises InputError if the checkpoint's model has more than these variables: the next checkpoint
  would lack them.
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
