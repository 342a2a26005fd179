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
  from hypertransformer import cli

  cli.import_tensorflow()

import os
import sys

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import cli, evaluate_model
from hypertransformer.cluster import leaving, parameter_server, roles
from hypertransformer.errors import require
from hypertransformer.settings.config import Settings
from hypertransformer.training import distributed, loop


def main(settings: Settings) -> None:
  """Train a model, or resume from its latest checkpoint.

  The environment variable TF_CONFIG makes this process a task of a cluster (docs/cluster.md).

  Raises:
    InputError: The settings, the data or the checkpoints cannot be used.
  """
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  task = roles.task_from(os.environ.get('TF_CONFIG', ''), resolver)
  if task is None:
    require(
      not settings.run.sync_replicas,
      'sync_replicas requires a cluster, but the environment variable TF_CONFIG names none. Omit '
      'the flag, or start with scripts/launch_local.sh (docs/cluster.md).',
    )
    _train(settings, None)
  elif task.type == roles.EVALUATOR:
    evaluate_model.main(settings)
  else:
    with leaving.at_once(), cli.exit_on_bad_input():
      if task.type == roles.PS:
        parameter_server.serve(task, settings.run.log_dir, settings.flag_values)
      else:
        _train(settings, task)


def _train(settings: Settings, task: roles.Task | None) -> None:
  """Train alone, or as the chief or a worker of a cluster."""
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
  cli.run_settings(main)
