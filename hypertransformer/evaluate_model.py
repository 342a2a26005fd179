"""Evaluates the checkpoints of a run: `python -m hypertransformer.evaluate_model` with the flags of
its training. With --continual_scenario on sequences of --eval_num_tasks tasks, else on independent
tasks.

Runs beside the training and ends with it; see --eval_datasets, --eval_once, --eval_checkpoint,
--eval_timeout_secs.
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
from hypertransformer.errors import InputError
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset, presets_from
from hypertransformer.evaluation.sequence_evaluator import SequenceEvaluator
from hypertransformer.evaluation.task_evaluator import TaskEvaluator
from hypertransformer.settings.config import Settings


def with_one_batch(settings: Settings) -> Settings:
  """The settings of an evaluation: each task of a sequence has one query batch."""
  evaluation = settings.evaluation
  if settings.continual is None:
    return settings
  if evaluation.num_batches != 1:
    logging.info(
      '--num_eval_batches=%d is not used: each task of a sequence has one query batch of '
      '--eval_batch_size=%d images.',
      evaluation.num_batches,
      evaluation.batch_size,
    )
  return dataclasses.replace(settings, evaluation=dataclasses.replace(evaluation, num_batches=1))


def evaluator_from(settings: Settings, presets: list[Preset]) -> Evaluator:
  """The evaluator of tasks, or of sequences of tasks. Raises InputError."""
  seed = secrets.randbits(62) if settings.run.seed is None else settings.run.seed
  of_both = (
    settings.model,
    settings.episodes,
    settings.test_augmentation,
    settings.data.image_size,
    presets,
    settings.evaluation,
    seed,
  )
  if settings.continual is None:
    return TaskEvaluator(*of_both)
  return SequenceEvaluator(*of_both, settings.continual)


def main(settings: Settings) -> None:
  """Evaluates. Raises InputError."""
  if settings.loss.pretrain_shared:
    raise InputError(
      'pretrain_shared_feature trains no CNN: there is nothing to evaluate. Evaluate the run that '
      'starts from it (--restore_shared_features_from).'
    )
  settings = with_one_batch(settings)
  signal.signal(signal.SIGTERM, _interrupt)
  presets = presets_from(settings.data)
  evaluator = evaluator_from(settings, presets)
  try:
    Daemon(evaluator, presets, settings).run()
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
