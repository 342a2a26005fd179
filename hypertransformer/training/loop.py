"""The training run: a monitored session with hooks, which goes on from the newest checkpoint."""

from __future__ import annotations

import tensorflow.compat.v1 as tf
from absl import logging
from tqdm import tqdm

from hypertransformer.model import getter
from hypertransformer.progress import progress
from hypertransformer.runtime import checkpoints, sessions, tensorboard
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.settings.config import RunConfig, Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, record, saving
from hypertransformer.training.episode_watch import EpisodeWatch, rhythm
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup
from hypertransformer.training.start import choose_seed, find_start, make_scaffold

STEPS_PER_SUMMARY = 100
STEPS_PER_HISTOGRAM = 500
STEPS_PER_PICTURE = 2000  # at least, and a multiple of the others; see episode_watch.rhythm


def train(setup: Setup, settings: Settings) -> int:
  """Trains a model up to settings.run.train_steps updates.

  A run that was ended before goes on. The flag values are written to flags.json in its folder.

  Args:
    setup: what the training graph is made from.
    settings: the settings of the run.

  Returns:
    The number of updates done, which is smaller after SIGTERM or Ctrl-C.

  Raises:
    InputError: settings, data or checkpoints do not go together.
    tf.train.NanLossDuringTrainingError: the loss or a variable has become NaN.
  """
  with record.own_folder(setup, settings.run) as lock:
    return _train(setup, settings, lock)


def _train(setup: Setup, settings: Settings, lock: FolderLock) -> int:
  """Trains in a folder that is locked; see `train`."""
  run = settings.run
  seed = choose_seed(run)
  start = find_start(run, settings.flag_values)
  if start.is_at_end(run):
    return start.step
  with hooks.SignalHook() as signals, tf.Graph().as_default():
    tf.set_random_seed(seed % 2**31)
    graph = graph_lib.build(setup, seed)
    logging.info('The CNN:\n%s', getter.table(graph.rows))
    logging.info(
      '%d variables with %d numbers; seed %d',
      len(tf.trainable_variables()),
      _count_trained_numbers(),
      seed,
    )
    scaffold = make_scaffold(start)
    writer, guard = record.begin(graph, setup, settings, seed, start, lock)
    return _run(graph, run, scaffold, signals, guard, writer, start.step)


def _count_trained_numbers() -> int:
  """How many numbers the trained variables of the current graph have in all."""
  return sum(v.shape.num_elements() for v in tf.trainable_variables())


def _run(
  graph: TrainGraph,
  run: RunConfig,
  scaffold: tf.train.Scaffold,
  signals: hooks.SignalHook,
  guard: saving.FolderGuard,
  writer: EventWriter,
  start: int,
) -> int:
  """Runs the training steps in a session after step `start`; returns the number of updates done.

  The writer of summaries is closed at the end.
  """
  step = start
  try:
    with (
      progress('step', run.train_steps, done=start) as bar,
      tf.train.MonitoredTrainingSession(
        checkpoint_dir=run.log_dir,
        config=sessions.config(tf.get_default_graph(), run.xla),
        scaffold=scaffold,
        hooks=session_hooks(graph, run, scaffold, signals, guard, writer, bar),
        save_checkpoint_steps=None,
        save_checkpoint_secs=None,
        save_summaries_steps=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
      ) as session,
    ):
      while not session.should_stop():
        step = int(session.run(graph.step_done))
    if step >= run.train_steps:
      writer.add_summary(tensorboard.ended(well=True), step)
  except tf.train.NanLossDuringTrainingError:
    writer.add_summary(tensorboard.ended(well=False), step)
    raise
  finally:
    writer.close()
  logging.info(
    'Ended at step %d of %d%s.',
    step,
    run.train_steps,
    '' if signals.received is None else ' by a signal; the same command goes on from here',
  )
  return step


def session_hooks(
  graph: TrainGraph,
  run: RunConfig,
  scaffold: tf.train.Scaffold,
  signals: hooks.SignalHook,
  guard: saving.FolderGuard,
  writer: EventWriter,
  bar: tqdm,
) -> list[tf.train.SessionRunHook]:
  """The hooks of the session, in order: a loss that is NaN ends the run before a checkpoint."""
  watch = None
  if run.image_summaries:
    watch = EpisodeWatch(graph, rhythm(run.train_steps, STEPS_PER_PICTURE))
  return [
    signals,
    hooks.StreamHook(graph.global_step, graph.train_stream, graph.test_stream, STEPS_PER_SUMMARY),
    tf.train.NanTensorHook(graph.loss),
    tf.train.StopAtStepHook(last_step=run.train_steps),
    hooks.ReportHook(graph, writer, bar, STEPS_PER_SUMMARY, STEPS_PER_HISTOGRAM, watch),
    tf.train.StepCounterHook(every_n_steps=STEPS_PER_SUMMARY, summary_writer=writer),
    tf.train.CheckpointSaverHook(
      run.log_dir,
      save_steps=run.steps_between_saves if run.steps_between_saves > 0 else run.train_steps,
      scaffold=scaffold,
      checkpoint_basename=checkpoints.BASENAME,
      save_graph_def=False,
      listeners=[hooks.FiniteGuard(), guard],
    ),
  ]
