"""Trains a HyperTransformer, or a Continual HyperTransformer.

  python -m hypertransformer.train --data_numpy_dir=... --train_log_dir=... [further flags]

The same command resumes a run that was stopped. scripts/ holds the published settings. The exit
status is

  0  when training is done, or when SIGTERM or Ctrl-C ended it, after it saved a checkpoint
  1  when the loss became NaN
  2  for bad input
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import command

  command.import_tensorflow()

import sys

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import program
from hypertransformer.settings.config import Settings
from hypertransformer.training import loop
from hypertransformer.training.setup import setup_from


def main(settings: Settings) -> None:
  """Trains the model of these settings, from its newest checkpoint on if there is one.

  Raises:
    InputError: the settings, the data or the checkpoints cannot be used.
  """
  try:
    loop.train(setup_from(settings), settings)
  except tf.train.NanLossDuringTrainingError:
    logging.error(
      'The loss is no longer a number. The last good checkpoint in %s is kept; lower '
      '--learning_rate and run the same command to go on from it.',
      settings.run.log_dir,
    )
    sys.exit(1)


if __name__ == '__main__':
  program.run(main)
