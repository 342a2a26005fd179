"""Evaluates the checkpoints of a run: `python -m hypertransformer.evaluate_model` with the flags of its training.
With --continual_scenario on sequences of --eval_num_tasks tasks, else on independent tasks.

Runs beside the training and ends with it; see --eval_datasets, --eval_once, --eval_checkpoint, --eval_timeout_secs.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import command
  command.leave_out_keras()

import dataclasses
import secrets
import signal
from types import FrameType

from absl import logging

from hypertransformer import program
from hypertransformer.datasets import specs
from hypertransformer.datasets.folder import DataFolder
from hypertransformer.errors import InputError
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.evaluator import Evaluator, Preset
from hypertransformer.evaluation.sequence_evaluator import SequenceEvaluator
from hypertransformer.evaluation.task_evaluator import TaskEvaluator
from hypertransformer.settings import from_flags
from hypertransformer.settings.config import EvalConfig


def presets_from(values: from_flags.Values) -> list[Preset]:
  """--eval_datasets as presets; empty: the train and the test dataset. Raises InputError."""
  folder = DataFolder(values['data_numpy_dir'], values['shuffle_labels_seed'], values['use_labels'],
                      values['data_dir'])
  split = values['test_split']
  if values['eval_datasets']:
    parsed = specs.parse_eval_datasets(values['eval_datasets'])
    return [Preset(name, str(spec), folder.open(spec, split)) for name, spec in parsed]
  train, test = (specs.parse_dataset(values[f'{name}_dataset']) for name in ('train', 'test'))
  return [Preset('train', str(train), folder.open(train)), Preset('test', str(test), folder.open(test, split))]


def eval_config(values: from_flags.Values) -> EvalConfig:
  """The evaluator's sizes: a task of a sequence has one query batch. Raises InputError."""
  config = from_flags.eval_config(values)
  if from_flags.continual_config(values) is None:
    return config
  if config.num_batches != 1:
    logging.info('--num_eval_batches=%d is not used: each task of a sequence has one query batch of '
                 '--eval_batch_size=%d images.', config.num_batches, config.batch_size)
  return dataclasses.replace(config, num_batches=1)


def evaluator_from(values: from_flags.Values, presets: list[Preset], config: EvalConfig) -> Evaluator:
  """The evaluator of tasks, or of sequences of tasks. Raises InputError."""
  seed = secrets.randbits(62) if values['seed'] is None else values['seed']
  continual = from_flags.continual_config(values)
  model, episodes, augment = from_flags.model_config(values), from_flags.episode_config(values), from_flags.test_augmentation(values)
  if continual is None:
    return TaskEvaluator(model, episodes, augment, values['image_size'], presets, config, seed)
  return SequenceEvaluator(model, episodes, augment, values['image_size'], presets, config, seed, continual)


def main(values: from_flags.Values) -> None:
  """Evaluates. Raises InputError."""
  if values['pretrain_shared_feature']:
    raise InputError('pretrain_shared_feature trains no CNN: there is nothing to evaluate. Evaluate the run that '
                     'starts from it (--restore_shared_features_from).')
  signal.signal(signal.SIGTERM, _interrupt)
  presets = presets_from(values)
  config = eval_config(values)
  evaluator = evaluator_from(values, presets, config)
  try:
    Daemon(evaluator, presets, config, values['train_log_dir'], values).run(values['train_steps'])
  except KeyboardInterrupt:
    logging.info('Ended by a signal; results so far are kept.')
  finally:
    evaluator.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
  """Makes SIGTERM end the evaluator like Ctrl-C."""
  del number, frame
  raise KeyboardInterrupt


if __name__ == '__main__':
  program.run(main)
