"""What a run does with its folder when it starts: keeps others out, and writes down what it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.model import getter
from hypertransformer.runtime import checkpoints, run_folder, tensorboard
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import RunConfig, Settings
from hypertransformer.settings.flags_file import facts
from hypertransformer.training import classes, saving
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup, check
from hypertransformer.training.start import Start, choose_seed, make_folder


@contextlib.contextmanager
def own_folder(setup: Setup, run: RunConfig) -> Iterator[FolderLock]:
  """Checks a setup, and keeps other trainings out of the folder of the run, which it makes.

  Raises:
    InputError: data, model and sizes do not go together, or the folder cannot be used.
  """
  check(setup, choose_seed(run))
  classes.warn_of_shared(setup)
  make_folder(run.log_dir)
  with run_folder.hold(run.log_dir, saving.ROLE, saving.ADVICE) as lock:
    saving.clear_leftovers(run.log_dir)
    yield lock


def begin(
  graph: TrainGraph, setup: Setup, settings: Settings, seed: int, start: Start, lock: FolderLock
) -> tuple[EventWriter, saving.FolderGuard]:
  """Writes down what is known before the first step.

  Args:
    graph: the training graph, which is the default graph.
    setup: what it was made from.
    settings: the settings of the run.
    seed: that of the run, chosen or drawn.
    start: where the run starts.
    lock: the lock on the folder of the run, which is held.

  Returns:
    The writer of its summaries, and what watches over its folder.

  Raises:
    InputError: the folder cannot be written.
  """
  folder = settings.run.log_dir
  values = {**settings.flag_values, 'seed': seed}
  noted = {**values, classes.KEY: classes.describe(setup)}
  if start.resumed is not None:
    before = flags_file.read_flags(folder) or {}
    classes.warn_of_changes(folder, before, setup)
    warn_of_cooldown(settings.run, before, start.step)
  saving.write_flags(folder, noted)
  run_folder.note_machine(folder, start.step)
  checkpoints.repair_state(folder, start.resumed)
  writer = EventWriter(os.path.join(folder, 'train'), tf.get_default_graph())
  for page in (
    tensorboard.hparams(values, folder),
    tensorboard.layout(),
    tensorboard.flags_page(values),
    tensorboard.variables_page(getter.table(graph.rows)),
  ):
    writer.add_summary(page, start.step)
  return writer, saving.FolderGuard(folder, lock, noted)


def warn_of_cooldown(run: RunConfig, before: Mapping[str, Any], step: int) -> None:
  """Warns if a run whose learning rate has been falling towards its end is to have another end.

  Args:
    run: the settings with which it goes on.
    before: what flags.json says of those it had.
    step: how many updates are done.
  """
  steps = run.train_steps
  known = facts({**flags.defaults(), 'train_steps': steps, **before})
  planned, begin = known.train_steps, known.cooldown_from
  if step > begin and steps > planned:
    logging.warning(
      'The learning rate of the run in %s has been falling since step %d, as it was to end at step '
      '%d. With train_steps=%d it rises again. For one long run, go on from a checkpoint before '
      'step %d: copy it, with flags.json, to another --train_log_dir.',
      run.log_dir,
      begin,
      planned,
      steps,
      begin,
    )
