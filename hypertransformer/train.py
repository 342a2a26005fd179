"""Train a HyperTransformer or a Continual HyperTransformer.

  hypertransformer train quickstart --train_steps=6000 --train_log_dir=logs/quickstart

The first argument is a recipe, whose flags are used: a published run, such as omniglot_1shot_v2, or
the quickstart, which generates its data. Further flags override those of the recipe. The same
command resumes an interrupted run. The exit status is

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
from hypertransformer.converters import strokes
from hypertransformer.data import files, specs
from hypertransformer.data.folder import find
from hypertransformer.errors import require
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, recipes
from hypertransformer.settings.config import DataConfig, Settings
from hypertransformer.training import distributed, loop


def train(
  recipe: str = '',
  *,
  data: Any = None,
  log_dir: str | os.PathLike[str] | None = None,
  **values: Any,
) -> str:
  """Train a model, or resume its training, in this process.

  Args:
    recipe: The recipe whose flags are used, such as 'omniglot_1shot_v2'; '' for the defaults.
    data: The directory of the datasets, as --data_numpy_dir; or datasets in memory by their names,
      each [classes, samples, H, W, C] with pixels in 0..255; or one of these, which is the dataset
      that `train_dataset` names.
    log_dir: The directory of checkpoints and summaries, as --train_log_dir.
    **values: The values of other flags by name; the rest are those of the recipe.

  Returns:
    The path of the latest checkpoint, without `.index`.

  Raises:
    InputError: The settings, the data or the checkpoints cannot be used.
    tf.train.NanLossDuringTrainingError: The loss is NaN.
  """
  own = {} if log_dir is None else {'train_log_dir': os.fspath(log_dir)}
  base = recipes.values(recipe) if recipe else flags.defaults()
  settings = flags.settings_of_call(base, {**values, **own}, data)
  _provide_strokes(settings.data)
  loop.train(settings)
  return checkpoints.locate(settings.run.log_dir, 'log_dir')


class _Program(types.ModuleType):
  """Makes this module callable.

  Its import puts it in the place of the function `hypertransformer.train`, which it therefore is.
  """

  def __call__(self, recipe: str = '', **values: Any) -> str:
    """Train a model; see `train`."""
    return train(recipe, **values)


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


def _provide_strokes(data: DataConfig) -> None:
  """Generate the built-in dataset `strokes` in --data_numpy_dir if it is used and not there."""
  name, path = 'strokes', files.expanded(data.folder) / 'strokes.npy'
  used = {specs.parse_dataset(text).name for text in (data.train_dataset, data.test_dataset)}
  if not data.folder or name not in used - {*data.arrays}:
    return
  if not path.parent.exists() or find(name, data.folder) is None:
    logging.info('Generating %s', path)
    strokes.write(path)


def _train(settings: Settings, task: tasks.Task | None) -> None:
  """Train alone, or as a task of a cluster; exit with status 1 if the loss becomes NaN."""
  _provide_strokes(settings.data)
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
