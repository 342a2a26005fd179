"""Where a training run starts: its seed, its checkpoint, and the first values of its variables."""

from __future__ import annotations

import dataclasses
import functools
import os
import secrets
from collections.abc import Callable

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import RunConfig
from hypertransformer.training.saving import Saver

# What --restore_shared_features_from restores: the features and, if there is one, their head.
SHARED = ('model/shared_features/', 'loss/shared_head/')


@dataclasses.dataclass(frozen=True)
class Start:
  """Where a run starts.

  Attributes:
    resumed: the checkpoint of the run itself from which it goes on; None for a new run.
    shared: the checkpoint of another run from which a new run takes its shared features; None if
      they are initialised like everything else.
  """

  resumed: str | None
  shared: str | None

  @functools.cached_property
  def step(self) -> int:
    """The number of updates done before; it is read from the checkpoint once."""
    return 0 if self.resumed is None else checkpoints.global_step(self.resumed)

  def is_at_end(self, run: RunConfig) -> bool:
    """Whether all updates of the run are done already; then the log says so."""
    if self.step < run.train_steps:
      return False
    logging.info(
      '%s is at step %d already, train_steps is %d: nothing to do.',
      run.log_dir,
      self.step,
      run.train_steps,
    )
    return True


def choose_seed(run: RunConfig) -> int:
  """The seed of the settings, or else that of the run that is resumed, or else a new one."""
  if run.seed is not None:
    return run.seed
  old = flags_file.seed_of(run.log_dir) if checkpoints.find(run.log_dir) else None
  return secrets.randbits(62) if old is None else old


def make_folder(folder: str) -> None:
  """Makes the folder of the run if it is not there.

  Raises:
    InputError: it cannot be made, or TensorFlow could not read checkpoints from it.
  """
  checkpoints.require_plain(folder, 'train_log_dir')
  try:
    os.makedirs(folder, exist_ok=True)
  except (OSError, ValueError) as error:  # ValueError: there is a byte 0 in the path
    why = getattr(error, 'strerror', None) or error
    raise InputError(
      f'train_log_dir {folder!r} cannot be made ({why}): use another one.'
    ) from error


def find_start(run: RunConfig, values: flags.Values) -> Start:
  """Finds out where the run starts.

  Args:
    run: the folder, and the checkpoint to take shared features from.
    values: the flag values of the run.

  Raises:
    InputError: the checkpoints in the folder cannot be read, there is a run of another model in it,
      or the checkpoint with the shared features cannot be read.
  """
  newest = checkpoints.newest(run.log_dir)
  if newest is not None:
    flags_file.require_same_model(run.log_dir, values)
    logging.info('Going on from checkpoint %s', newest)
    return Start(newest, None)
  if checkpoints.find(run.log_dir):
    raise InputError(
      f'none of the checkpoints in {run.log_dir} can be read (see the warnings): delete them to '
      'start anew, or use another --train_log_dir.'
    )
  shared = run.restore_shared_from
  return Start(None, checkpoints.locate(shared, 'restore_shared_features_from') if shared else None)


def make_scaffold(start: Start) -> tf.train.Scaffold:
  """Makes what initialises and saves the variables of the current graph.

  Raises:
    InputError: the checkpoint of the start does not fit the variables.
  """
  if start.resumed is not None:
    checkpoints.require_match(start.resumed, tf.global_variables())
    checkpoints.require_nothing_lost(start.resumed, tf.global_variables())
  return tf.train.Scaffold(
    saver=Saver(), init_fn=restoring_shared_features(start.shared) if start.shared else None
  )


def restoring_shared_features(prefix: str) -> Callable[[tf.train.Scaffold, tf.Session], None]:
  """Make the function that restores shared features and their real-class head into a new run.

  Args:
    prefix: the path of the other run's checkpoint, without ending.

  Raises:
    InputError: the checkpoint does not fit these variables of the current graph.
  """
  variables = [v for v in tf.trainable_variables() if v.op.name.startswith(SHARED)]
  checkpoints.require_match(prefix, variables)
  saver = tf.train.Saver(variables)
  logging.info('Restoring shared features from %s', prefix)
  return lambda scaffold, session: saver.restore(session, prefix)
