"""Evaluates the checkpoints of a run: `python -m hypertransformer.evaluate_model` with the flags of its training.

Runs beside the training and ends with it; see --eval_datasets, --eval_once, --eval_checkpoint, --eval_timeout_secs.
"""

from __future__ import annotations

import secrets
import signal
from types import FrameType

from absl import logging

from hypertransformer import entry, flags
from hypertransformer.episodes import labels
from hypertransformer.episodes.datasets import DataFolder
from hypertransformer.errors import InputError
from hypertransformer.evaluate.daemon import Daemon
from hypertransformer.evaluate.tasks import Preset, TaskEvaluator


def presets_from(values: flags.Values) -> list[Preset]:
  """--eval_datasets as presets; empty: the train and the test dataset. Raises InputError."""
  folder = DataFolder(values['data_numpy_dir'], values['shuffle_labels_seed'], values['use_labels'])
  if values['eval_datasets']:
    parsed = labels.parse_eval_datasets(values['eval_datasets'])
  else:
    parsed = [(name, labels.parse_dataset(values[f'{name}_dataset'])) for name in ('train', 'test')]
  return [Preset(name, str(spec), folder.open(spec)) for name, spec in parsed]


def main(values: flags.Values) -> None:
  """Evaluates. Raises InputError."""
  if values['pretrain_shared_feature']:
    raise InputError('pretrain_shared_feature trains no CNN: there is nothing to evaluate. Evaluate the run that '
                     'starts from it (--restore_shared_features_from).')
  signal.signal(signal.SIGTERM, _interrupt)
  presets = presets_from(values)
  config = flags.eval_config(values)
  seed = secrets.randbits(62) if values['seed'] is None else values['seed']
  evaluator = TaskEvaluator(flags.model_config(values), flags.episode_config(values), flags.test_augmentation(values),
                            values['image_size'], presets, config, seed)
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
  entry.run(main)
