"""Evaluate every checkpoint of a run, as soon as it appears.

  hypertransformer evaluate logs/quickstart --num_task_evals=100 --eval_once

The first argument is the --train_log_dir of the run.
Flags that are not given are those of the run, as its flags.json lists them. Checkpoints are
evaluated on single tasks, or, with --continual_scenario, on sequences of --eval_num_tasks tasks.
The program runs beside the training, or after it, and ends with the checkpoint of step
--train_steps. --eval_datasets, --eval_once, --eval_checkpoint and --eval_timeout_secs say which
classes and checkpoints are evaluated and when it ends otherwise.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import startup

  startup.start()

  from hypertransformer import cli

  cli.import_tensorflow()

import os
from typing import Any

from hypertransformer import cli
from hypertransformer.data import files, inspection, specs
from hypertransformer.data.folder import DataFolder
from hypertransformer.errors import InputError
from hypertransformer.evaluation import results
from hypertransformer.evaluation.daemon import Daemon, require_same_model
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset, folder_of, presets_from
from hypertransformer.runtime import checkpoints, signals
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import DataConfig, Settings


def warn_of_training_classes(
  presets: list[Preset], data: DataConfig, folder: DataFolder, log_dir: str
) -> None:
  """Warn of presets that are not named train but contain training classes.

  Args:
    presets: What is evaluated.
    data: Names the training classes. If they would have to be downloaded, there is no warning.
    folder: What the presets were opened from.
    log_dir: The directory of the run, whose flags.json notes earlier training classes.
  """
  others = [preset for preset in presets if preset.name != 'train']
  earlier = flags_file.earlier_training_images(flags_file.read_flags(log_dir) or {})
  for preset in others:
    inspection.warn_of_classes_on_record(preset.class_set, earlier, _called(preset))
  spec = specs.parse_dataset(data.train_dataset)
  names = {preset.class_set.name for preset in presets}
  if spec.name not in names and not folder.has(spec.name):
    return
  try:
    training = folder.open(spec)
  except InputError:  # evaluation does not need them
    return
  for preset in others:
    inspection.warn_of_shared_classes(preset.class_set, training, _called(preset))


def _called(preset: Preset) -> str:
  return f'the preset {preset.name} ({preset.dataset})'


def evaluate(
  log_dir: str | os.PathLike[str], *, data: Any = None, **values: Any
) -> list[results.Line]:
  """Evaluate a checkpoint of a run in this process.

  Args:
    log_dir: The directory of the run, as --train_log_dir.
    data: The directory of the datasets, or arrays, as for `train`; None for that of the run.
    **values: The values of other flags by name; the rest are those of the run. Without `eval_once`
      or `eval_checkpoint`, the latest checkpoint is evaluated.

  Returns:
    The lines of results.jsonl about the checkpoint, one for each preset.

  Raises:
    InputError: The settings, the data or the checkpoint cannot be used.
  """
  folder = str(files.expanded(log_dir))
  own = {'eval_once': True, **values, 'train_log_dir': folder}
  settings = flags.settings_of_call(flags_file.read_settings(folder).flag_values, own, data)
  _evaluate(settings)
  prefix = checkpoints.locate(settings.evaluation.checkpoint or folder, 'log_dir')
  step = checkpoints.global_step(prefix)
  found = results.read(results.file_of(folder))
  return results.latest(line for line in found if line['step'] == step)


def main(settings: Settings) -> None:
  """Evaluate checkpoints until the last one is done, or one of the signals STOPPING ends it.

  Raises:
    InputError: The settings, the data or a requested checkpoint cannot be used.
  """
  with signals.StopSignal('stopping; the results so far are kept', interrupts=True) as stop:
    try:
      _evaluate(settings)
    except KeyboardInterrupt:
      if stop.received is None:
        raise


def _evaluate(settings: Settings) -> None:
  if settings.loss.pretrain_shared:
    raise InputError(
      'pretrain_shared_feature trains no CNN: there is nothing to evaluate. Evaluate the run that '
      'starts from it (--restore_shared_features_from).'
    )
  # Before any data are read: with the flags of another run, these are often incompatible too.
  log_dir = flags_file.folder_of(settings.flag_values)
  require_same_model(settings, log_dir)
  folder = folder_of(settings.data)
  presets = presets_from(settings.data, folder)
  warn_of_training_classes(presets, settings.data, folder, log_dir)
  evaluator = Evaluator(settings, presets)
  try:
    Daemon(evaluator, presets, settings).run()
  finally:
    evaluator.close()


if __name__ == '__main__':
  cli.run_settings(main, '--train_log_dir={}'.format, of_run=True)
