"""Train a HyperTransformer or a Continual HyperTransformer.

  python -m hypertransformer.train --data_numpy_dir=... --train_log_dir=... [further flags]

The same command resumes an interrupted run. scripts/ holds the published settings. The exit status
is

  0  when training is done, or was stopped by SIGTERM or Ctrl-C after it saved a checkpoint
  1  when the loss became NaN, or a parameter server of the cluster was lost
  2  for bad input
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import startup

  startup.start()

  from hypertransformer import cli

  cli.import_tensorflow()

import os
import sys
import types
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import cli, evaluate_model
from hypertransformer.cluster import server, tasks
from hypertransformer.errors import require
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, recipes
from hypertransformer.settings.config import Settings
from hypertransformer.training import distributed, loop


def train(log_dir: str | os.PathLike[str], **values: Any) -> str:
  """Train a model, or resume its training, in this process.

  Args:
    log_dir: The directory of checkpoints and summaries, as --train_log_dir.
    **values: The values of other flags by name; the rest have their defaults.

  Returns:
    The path of the latest checkpoint, without `.index`.

  Raises:
    InputError: The settings, the data or the checkpoints cannot be used.
    tf.train.NanLossDuringTrainingError: The loss is NaN.
  """
  own = {'train_log_dir': os.fspath(log_dir)}
  settings = flags.settings_from(flags.changed(flags.defaults(), {**values, **own}))
  loop.train(settings)
  return checkpoints.locate(settings.run.log_dir, 'log_dir')


class _Program(types.ModuleType):
  """Makes this module callable.

  Its import puts it in the place of the function `hypertransformer.train`, which it therefore is.
  """

  def __call__(self, log_dir: str | os.PathLike[str], **values: Any) -> str:
    """Train a model; see `train`."""
    return train(log_dir, **values)


sys.modules[__name__].__class__ = _Program


def main(settings: Settings) -> None:
  """Train the model of these settings, from its latest checkpoint on if there is one.

  The environment variable TF_CONFIG makes this process a task of a cluster (docs/cluster.md).

  Raises:
    InputError: The settings, the data or the checkpoints cannot be used.
  """
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  task = tasks.task_from(os.environ.get('TF_CONFIG', ''), resolver)
  if task is None:
    require(
      not settings.run.sync_replicas,
      'sync_replicas requires a cluster, but the environment variable TF_CONFIG names none. Omit '
      'the flag, or start with scripts/launch_local.sh (docs/cluster.md).',
    )
    _train(settings, None)
  elif task.type == tasks.EVALUATOR:
    evaluate_model.main(settings)
  else:
    with server.leaving(), cli.exit_on_bad_input():
      if task.type == tasks.PS:
        server.serve(task)
      else:
        _train(settings, task)


def _train(settings: Settings, task: tasks.Task | None) -> None:
  """Train alone, or as a task of a cluster; exit with status 1 if the loss becomes NaN."""
  try:
    if task is None:
      loop.train(settings)
    else:
      distributed.train(task, settings)
  except tf.train.NanLossDuringTrainingError:
    logging.error(
      'The loss became NaN. The latest checkpoint in %s is good: lower --learning_rate and run the '
      'same command to resume from it.',
      settings.run.log_dir,
    )
    sys.exit(1)


if __name__ == '__main__':
  cli.run_settings(main, recipes.flagfile)
