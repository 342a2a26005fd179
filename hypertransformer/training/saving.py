"""Saves the checkpoints of a training run, into a folder that nobody else may use meanwhile.

Everything that can go wrong with the folder while a run works in it ends here, in one message: the
disk is full, the folder is deleted, or another training has taken its place.
"""

from __future__ import annotations

import glob
import os
import pathlib
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.settings import flags, flags_file

ROLE = 'trainer'
ADVICE = 'Wait for it or end it, or use another --train_log_dir.'
# Files that a training writes under another name first. What a killed one leaves of them is of no
# use to anybody.
_TEMPORARY = (
  f'{checkpoints.BASENAME}-*.tempstate*',
  'checkpoint.tmp*',
  f'{flags_file.FLAGS_FILE}.part',
)


# The last one is TensorFlow's where the folder of the checkpoint is gone.
_SAVE_ERRORS = (tf.errors.OpError, OSError, ValueError)


def clear_leftovers(folder: str) -> None:
  """Deletes temporary files that a killed training left; only the holder of the lock may do so."""
  for pattern in _TEMPORARY:
    for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
      logging.info('Deleting %s, which a training that was killed has left.', path)
      pathlib.Path(path).unlink(missing_ok=True)


def write_flags(folder: str, values: flags.Values) -> None:
  """Writes flags.json of the run; raises InputError if it cannot be written."""
  try:
    flags_file.write_flags(folder, values)
  except OSError as error:
    raise InputError(
      f'{flags_file.FLAGS_FILE} cannot be written to {folder} ({error.strerror}): check that the '
      'folder is writable and the disk has room, or use another --train_log_dir.'
    ) from error


class Saver(tf.train.Saver):
  """Saves all variables; the paths that it notes are relative, so that the folder can be moved."""

  def __init__(self) -> None:
    super().__init__(
      max_to_keep=checkpoints.KEEP,
      keep_checkpoint_every_n_hours=checkpoints.KEEP_EVERY_HOURS,
      save_relative_paths=True,
    )

  def save(self, sess: tf.Session, save_path: str, *args: Any, **kwargs: Any) -> str:
    """Saves a checkpoint.

    Raises:
      InputError: it cannot be written.
    """
    folder = os.path.dirname(save_path)
    try:
      try:
        return super().save(sess, save_path, *args, **kwargs)
      except _SAVE_ERRORS:
        if os.path.isdir(folder):
          raise
        os.makedirs(folder)  # it was deleted since the guard has looked
        return super().save(sess, save_path, *args, **kwargs)
    except _SAVE_ERRORS as error:
      raise InputError(
        f'a checkpoint cannot be written to {folder} ({_cause(error)}): check '
        'that the folder is writable and the disk has room, then run the same command; it goes on '
        'from the newest checkpoint.'
      ) from error


def _cause(error: Exception) -> str:
  """What the system said, out of a message of TensorFlow that is about the graph mostly."""
  lines = str(error).splitlines()
  # TensorFlow writes '/path/of/the/file; No space left on device'.
  return next((line.split('; ', 1)[1] for line in lines if '; ' in line), lines[0])


class FolderGuard(tf.train.CheckpointSaverListener):
  """Sees to it, before each checkpoint, that the folder of the run is still the run's own."""

  def __init__(self, folder: str, lock: FolderLock, values: flags.Values) -> None:
    """Keeps what belongs to the run.

    Args:
      folder: the folder of the run.
      lock: the lock on it, which is held.
      values: what flags.json holds, to write it again if somebody deletes it.
    """
    self._folder = folder
    self._lock = lock
    self._values = values

  def before_save(self, session: tf.Session, global_step_value: int) -> None:
    """Makes the folder and its flags.json again if they were deleted.

    Raises:
      InputError: another training works in the folder now, or the folder cannot be made.
    """
    del session
    try:
      os.makedirs(self._folder, exist_ok=True)
      if not self._lock.acquire():
        raise InputError(
          f'{self._folder} was deleted, and another training works there now '
          f'({self._lock.holder()}): this one ends at step {global_step_value} without a '
          'checkpoint.'
        )
      if not os.path.exists(os.path.join(self._folder, flags_file.FLAGS_FILE)):
        logging.warning('%s was deleted: it is made anew.', self._folder)
        flags_file.write_flags(self._folder, self._values)
    except OSError as error:
      raise InputError(
        f'{self._folder} cannot be written: {error}; make room, or make it writable, and run the '
        'same command again.'
      ) from error
