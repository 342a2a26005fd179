"""Trains a HyperTransformer: `python -m hypertransformer.train --data_numpy_dir=...
--train_log_dir=...`

The same command resumes a run. scripts/ holds the published settings. Exit status: 0 done, or ended
by SIGTERM or Ctrl-C with a checkpoint; 1 the loss is no number any more; 2 bad input.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import command

  command.leave_out_keras()

import sys

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import program
from hypertransformer.settings.config import Settings
from hypertransformer.training import loop
from hypertransformer.training.setup import setup_from


def main(settings: Settings) -> None:
  """Trains. Raises InputError."""
  try:
    loop.train(setup_from(settings), settings)
  except tf.train.NanLossDuringTrainingError:
    logging.error(
      'The loss is no longer a number. The last good checkpoint in %s is kept; lower --learning_rate and '
      'run the same command to go on from it.',
      settings.run.log_dir,
    )
    sys.exit(1)


if __name__ == '__main__':
  program.run(main)
