"""Evaluates every checkpoint of a run, as soon as it appears.

  python -m hypertransformer.evaluate_model [the flags of the training]

Checkpoints are evaluated on single tasks, or, with --continual_scenario, on sequences of
--eval_num_tasks tasks. The program runs beside the training, or after it, and ends with the
checkpoint of step --train_steps. --eval_datasets, --eval_once, --eval_checkpoint and
--eval_timeout_secs say which classes and checkpoints are evaluated and when it ends otherwise.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import cli

  cli.import_tensorflow()

import dataclasses
import os
import secrets
import signal
from types import FrameType

from absl import logging

from hypertransformer import cli
from hypertransformer.data import inspection, specs
from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder, find
from hypertransformer.data.specs import DatasetSpec
from hypertransformer.errors import InputError
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.evaluator import EvalSetup, Evaluator
from hypertransformer.evaluation.presets import Preset, folder_of, presets_from
from hypertransformer.evaluation.refusals import advice_on_flags
from hypertransformer.evaluation.sequence_evaluator import SequenceEvaluator
from hypertransformer.evaluation.task_evaluator import TaskEvaluator
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import DataConfig, Settings


def with_one_batch(settings: Settings) -> Settings:
  """Returns the settings with one query batch per task, if sequences of tasks are evaluated.

  Settings for single tasks are returned as they are.
  """
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
  """Builds the evaluator of single tasks or, with a continual scenario, that of sequences.

  Args:
    settings: of the run that is evaluated.
    presets: the named groups of classes on which it is evaluated.

  Raises:
    InputError: the model cannot be built, or a preset has too few classes or images.
  """
  seed = secrets.randbits(62) if settings.run.seed is None else settings.run.seed
  setup = EvalSetup(
    settings.model,
    settings.episodes,
    settings.augmentation_of,
    settings.data.image_size,
    presets,
    settings.evaluation,
    seed,
    settings.continual,
  )
  return TaskEvaluator(setup) if setup.continual is None else SequenceEvaluator(setup)


def warn_of_training_classes(presets: list[Preset], data: DataConfig, folder: DataFolder) -> None:
  """Warns of presets that are not called train but have training classes in them.

  In a preset of the same dataset these are the classes with the same numbers. In one of another
  dataset they are those with the same images, if the training data are here as files.

  Args:
    presets: what is evaluated.
    data: names the training classes.
    folder: what the presets were opened from.
  """
  spec = specs.parse_dataset(data.train_dataset)
  for preset in presets:
    shared = 0 if preset.name == 'train' else _shared(preset.class_set, spec, data, folder)
    if shared:
      logging.warning(
        '%d of the %d classes of the preset %s (%s) are among those of --train_dataset=%s: its '
        'accuracy does not tell what the model does with new classes.',
        shared,
        len(preset.class_set.classes),
        preset.name,
        preset.dataset,
        data.train_dataset,
      )


def _shared(classes: ClassSet, training: DatasetSpec, data: DataConfig, folder: DataFolder) -> int:
  """How many classes are among those of training, as far as can be told; see the caller."""
  if classes.name == training.name:
    numbers = range(data.use_labels) if training.classes is None else training.classes
    return len(set(classes.classes.tolist()) & set(numbers))
  if find(training.name, data.folder) is None:
    return 0
  try:
    return inspection.shared_classes(classes, folder.open(training))
  except InputError:  # the evaluation does not need them
    return 0


def require_flags_of_run(settings: Settings) -> None:
  """Looks, before any data are read, whether the run that is evaluated has these flags.

  With others, data and episodes often do not go together either, and an error about them would say
  nothing of the reason. Later checkpoints are looked at when they come.

  Raises:
    InputError: there are checkpoints, and flags.json beside them says that their model is another.
  """
  flag, folder = 'train_log_dir', settings.run.log_dir
  if path := settings.evaluation.checkpoint:
    flag, folder = 'eval_checkpoint', path if os.path.isdir(path) else os.path.dirname(path)
  why = flags_file.why_not_evaluated(folder, settings.flag_values)
  if why and checkpoints.find(folder):
    raise InputError(
      f'no checkpoint in {folder or "this folder"} can be evaluated: {why}. {advice_on_flags(flag)}'
    )


def main(settings: Settings) -> None:
  """Evaluates checkpoints until the last one is done, or a signal ends it.

  Raises:
    InputError: the settings, the data or a checkpoint that was asked for cannot be used.
  """
  if settings.loss.pretrain_shared:
    raise InputError(
      'pretrain_shared_feature trains no CNN: there is nothing to evaluate. Evaluate the run that '
      'starts from it (--restore_shared_features_from).'
    )
  require_flags_of_run(settings)
  settings = with_one_batch(settings)
  signal.signal(signal.SIGTERM, _interrupt)
  folder = folder_of(settings.data)
  presets = presets_from(settings.data, folder)
  warn_of_training_classes(presets, settings.data, folder)
  evaluator = evaluator_from(settings, presets)
  try:
    Daemon(evaluator, presets, settings).run()
  except KeyboardInterrupt:
    logging.info('Ended by a signal; results so far are kept.')
  finally:
    evaluator.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
  """Handles SIGTERM, so that it ends the evaluator in the same way as Ctrl-C."""
  del number, frame
  raise KeyboardInterrupt


if __name__ == '__main__':
  cli.run_settings(main)
