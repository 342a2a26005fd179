"""What a run writes down about itself when it starts: flags, machine, pages for TensorBoard."""

from __future__ import annotations

import os

import tensorflow.compat.v1 as tf

from hypertransformer.model import getter
from hypertransformer.runtime import checkpoints, machines, run_pages
from hypertransformer.runtime.event_log import EventWriter
from hypertransformer.runtime.folder_lock import FileLock
from hypertransformer.settings.config import Settings
from hypertransformer.training import classes, saving
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup
from hypertransformer.training.start import Start


def begin(
  graph: TrainGraph, setup: Setup, settings: Settings, seed: int, start: Start, lock: FileLock
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
  step = 0 if start.resumed is None else checkpoints.global_step(start.resumed)
  values = {**settings.flag_values, 'seed': seed}
  noted = {**values, classes.KEY: classes.describe(setup)}
  if start.resumed is not None:
    classes.warn_of_changes(folder, setup)
  saving.write_flags(folder, noted)
  machines.note(folder, step)
  checkpoints.repair_state(folder, start.resumed)
  writer = EventWriter(os.path.join(folder, 'train'), tf.get_default_graph())
  for page in (
    run_pages.hparams(values, folder),
    run_pages.layout(),
    run_pages.flags_page(values),
    run_pages.variables_page(getter.table(graph.rows)),
  ):
    writer.add_summary(page, step)
  return writer, saving.FolderGuard(folder, lock, noted)
