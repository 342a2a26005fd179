"""Saving the checkpoints of a training run.

Everything that can happen to the directory of a run during training ends here, in one message: the
disk is full, the directory is deleted, or another training has taken its place.
"""

from __future__ import annotations

import glob
import os
import pathlib
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.cluster.board import LOST
from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.settings import flags, flags_file

# The names of files while they are written. A killed training can leave some of them.
_TEMPORARY = f'{checkpoints.BASENAME}-*.tempstate*', 'checkpoint.tmp*'
# TensorFlow raises ValueError if the directory of a checkpoint is missing.
_SAVE_ERRORS = (tf.errors.OpError, OSError, ValueError)


def clear_leftovers(folder: str) -> None:
  """Delete temporary files that a killed training left; the caller must hold the lock."""
  for pattern in _TEMPORARY:
    for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
      logging.info('Deleting %s, which an interrupted training left behind.', path)
      pathlib.Path(path).unlink(missing_ok=True)


class Saver(tf.train.Saver):
  """Saves all variables, with relative paths so that the directory can be moved."""

  def __init__(self) -> None:
    """Add the operations that save and restore to the default graph."""
    super().__init__(
      max_to_keep=checkpoints.KEEP,
      keep_checkpoint_every_n_hours=checkpoints.KEEP_EVERY_HOURS,
      save_relative_paths=True,
    )

  def save(self, sess: tf.Session, save_path: str, *args: Any, **kwargs: Any) -> str:
    """Save a checkpoint.

    Raises:
      InputError: The checkpoint cannot be written.
      One of cluster.board.LOST: A parameter server was lost.
    """
    try:
      try:
        return super().save(sess, save_path, *args, **kwargs)
      except ValueError:  # the directory was deleted during the save; another save makes it again
        return super().save(sess, save_path, *args, **kwargs)
    except LOST:
      raise
    except _SAVE_ERRORS as error:
      # TensorFlow writes '/path/of/the/file; No space left on device' among lines on the graph.
      lines = str(error).splitlines()
      cause = next((line.split('; ', 1)[1] for line in lines if '; ' in line), lines[0])
      raise InputError(
        f'a checkpoint cannot be written to {os.path.dirname(save_path)} ({cause}). Check that the '
        'directory is writable and the disk has room, then run the same command again: it resumes '
        'from the latest checkpoint.'
      ) from error


class SaveGuard(tf.train.CheckpointSaverListener):
  """Checks before each save that the variables are finite and that the run owns its directory."""

  def __init__(self, folder: str, lock: FolderLock, values: flags.Values) -> None:
    """Keep what belongs to the run.

    Args:
      folder: The directory of the run.
      lock: The lock on it, which is held.
      values: The content of flags.json, to write it again if the directory is deleted.
    """
    self._folder = folder
    self._lock = lock
    self._values = values
    self._finite: tf.Tensor | None = None

  def begin(self) -> None:
    """Build the check of all floating-point variables of the graph."""
    variables = [v for v in tf.global_variables() if v.dtype.base_dtype.is_floating]
    self._finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in variables])

  def before_save(self, session: tf.Session, global_step_value: int) -> None:
    """Refuse to save variables that are NaN or inf; make the directory again if it was deleted.

    Raises:
      NanLossDuringTrainingError: A variable is NaN or inf; the latest checkpoint stays good.
      InputError: Another training uses the directory, or it cannot be written.
    """
    if not session.run(self._finite):
      logging.error('Variables are NaN or inf after step %d: not saved.', global_step_value)
      raise tf.train.NanLossDuringTrainingError
    self._keep(global_step_value)

  def after_save(self, session: tf.Session, global_step_value: int) -> None:
    """Look again, as the directory may have been deleted in the meantime."""
    del session
    self._keep(global_step_value)

  def _keep(self, step: int) -> None:
    """Lock the directory, and write flags.json, if they were deleted."""
    try:
      os.makedirs(self._folder, exist_ok=True)
      if not self._lock.acquire():
        raise InputError(
          f'{self._folder} was deleted, and another training uses it now ({self._lock.holder()}). '
          f'This one ends at step {step} without a checkpoint.'
        )
      if not os.path.exists(os.path.join(self._folder, flags_file.FLAGS_FILE)):
        logging.warning('%s was deleted; creating it again.', self._folder)
        flags_file.write_flags(self._folder, self._values)
    except OSError as error:
      raise InputError(
        f'{self._folder} cannot be written ({error}). Make room or make it writable, then run the '
        'same command again.'
      ) from error
