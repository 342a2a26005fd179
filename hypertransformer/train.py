"""Trains a HyperTransformer: `python -m hypertransformer.train --data_numpy_dir=... --train_log_dir=...`

The same command resumes a run. scripts/ holds the published settings. Exit status: 0 done, or ended by SIGTERM or
Ctrl-C with a checkpoint; 1 the loss is no number any more; 2 bad input.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import command
  command.leave_out_keras()

import sys

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import program
from hypertransformer.datasets.folder import DataFolder
from hypertransformer.settings import from_flags
from hypertransformer.training import loop
from hypertransformer.training.graph import Setup


def setup_from(values: from_flags.Values) -> Setup:
  """Flag values -> everything a training graph is made from. Raises InputError."""
  model, loss, episodes = from_flags.model_config(values), from_flags.loss_config(values), from_flags.episode_config(values)
  folder = DataFolder(values['data_numpy_dir'], values['shuffle_labels_seed'], values['use_labels'],
                      values['data_dir'])
  return Setup(model, loss, from_flags.optimizer_config(values), episodes, folder.open(values['train_dataset']),
               folder.open(values['test_dataset'], values['test_split']), from_flags.train_augmentation(values),
               from_flags.test_augmentation(values), values['image_size'], from_flags.continual_config(values),
               values['episodes_per_step'])


def main(values: from_flags.Values) -> None:
  """Trains. Raises InputError."""
  run = from_flags.run_config(values)
  try:
    loop.train(setup_from(values), run, values)
  except tf.train.NanLossDuringTrainingError:
    logging.error('The loss is no longer a number. The last good checkpoint in %s is kept; lower --learning_rate and '
                  'run the same command to go on from it.', run.log_dir)
    sys.exit(1)


if __name__ == '__main__':
  program.run(main)
