"""The training run: a monitored session with hooks, resumed from the newest checkpoint."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import errors
from hypertransformer.model import getter
from hypertransformer.runtime import checkpoints, sessions, summaries
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import RunConfig, Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup, check

STEPS_PER_SUMMARY = 100
STEPS_PER_HISTOGRAM = 500
SHARED_FEATURES = 'model/shared_features/'


def train(setup: Setup, settings: Settings) -> int:
  """Trains up to settings.run.train_steps and returns the steps done; fewer after SIGTERM or
  Ctrl-C.

  The flag values go to flags.json. Raises InputError for settings, data or checkpoints that do not
  go together, and tf.train.NanLossDuringTrainingError when the loss is NaN.
  """
  run = settings.run
  seed = _seed(run)
  check(setup, seed)
  start = _starting_point(run, settings.flag_values)
  step = 0 if start.resumed is None else checkpoints.global_step(start.resumed)
  if step >= run.train_steps:
    logging.info(
      '%s is at step %d already, train_steps is %d: nothing to do.',
      run.log_dir,
      step,
      run.train_steps,
    )
    return step
  with hooks.SignalHook() as signals, tf.Graph().as_default():
    tf.set_random_seed(seed % 2**31)
    graph = graph_lib.build(setup, seed)
    logging.info('The CNN:\n%s', getter.table(graph.rows))
    logging.info(
      '%d variables with %d numbers; seed %d', len(tf.trainable_variables()), _numbers(), seed
    )
    scaffold = _scaffold(start)
    flags_file.write_flags(run.log_dir, {**settings.flag_values, 'seed': seed})
    checkpoints.repair_state(run.log_dir, start.resumed)
    return _run(graph, run, scaffold, signals)


def _seed(run: RunConfig) -> int:
  """The given seed; without one that of the run that goes on (flags.json), or a new one."""
  if run.seed is not None:
    return run.seed
  old = flags_file.seed_of(run.log_dir) if checkpoints.find(run.log_dir) else None
  return secrets.randbits(62) if old is None else old


@dataclasses.dataclass(frozen=True)
class Start:
  """Where a run starts: the checkpoint of its own that it resumes, or else the one that gives its
  shared features.
  """

  resumed: str | None
  shared: str | None


def _starting_point(run: RunConfig, values: flags.Values) -> Start:
  """Makes the folder and checks that the run in it is this one. Raises InputError."""
  checkpoints.require_plain(run.log_dir, 'train_log_dir')
  try:
    os.makedirs(run.log_dir, exist_ok=True)
  except OSError as error:
    raise errors.InputError(f'train_log_dir {run.log_dir} cannot be made: {error}') from error
  newest = checkpoints.newest(run.log_dir)
  if newest is not None:
    flags_file.require_same_model(run.log_dir, values)
    logging.info('Going on from checkpoint %s', newest)
    return Start(newest, None)
  if checkpoints.find(run.log_dir):
    raise errors.InputError(
      f'none of the checkpoints in {run.log_dir} can be read (see the warnings): delete them to '
      'start anew, or use another --train_log_dir.'
    )
  shared = run.restore_shared_from
  return Start(None, checkpoints.locate(shared, 'restore_shared_features_from') if shared else None)


def _numbers() -> int:
  return sum(v.shape.num_elements() for v in tf.trainable_variables())


def _scaffold(start: Start) -> tf.train.Scaffold:
  """Initialises and saves the variables of the current graph. Raises InputError if the start does
  not fit them.
  """
  if start.resumed is not None:
    checkpoints.require_match(start.resumed, tf.global_variables())
    checkpoints.require_nothing_lost(start.resumed, tf.global_variables())
  saver = tf.train.Saver(
    max_to_keep=checkpoints.KEEP, keep_checkpoint_every_n_hours=checkpoints.KEEP_EVERY_HOURS
  )
  return tf.train.Scaffold(
    saver=saver, init_fn=_shared_features_init(start.shared) if start.shared else None
  )


def _run(
  graph: TrainGraph, run: RunConfig, scaffold: tf.train.Scaffold, signals: hooks.SignalHook
) -> int:
  writer = tf.summary.FileWriter(os.path.join(run.log_dir, 'train'), tf.get_default_graph())
  step = 0
  try:
    with tf.train.MonitoredTrainingSession(
      checkpoint_dir=run.log_dir,
      config=sessions.config(tf.get_default_graph()),
      scaffold=scaffold,
      hooks=_hooks(graph, run, scaffold, signals, writer),
      save_checkpoint_steps=None,
      save_checkpoint_secs=None,
      save_summaries_steps=None,
      save_summaries_secs=None,
      log_step_count_steps=None,
    ) as session:
      while not session.should_stop():
        step = int(session.run(graph.step_done))
  finally:
    writer.close()
  logging.info(
    'Ended at step %d of %d%s.',
    step,
    run.train_steps,
    '' if signals.received is None else ' by a signal; the same command goes on from here',
  )
  return step


def _hooks(
  graph: TrainGraph,
  run: RunConfig,
  scaffold: tf.train.Scaffold,
  signals: hooks.SignalHook,
  writer: tf.summary.FileWriter,
) -> list[tf.train.SessionRunHook]:
  """In this order: a loss that is no number ends the run before anything of it is saved."""
  histograms = summaries.histogram_summary(graph.weights)
  return [
    signals,
    hooks.StreamHook(graph.global_step, graph.train_stream, graph.test_stream, STEPS_PER_SUMMARY),
    tf.train.NanTensorHook(graph.loss),
    tf.train.StopAtStepHook(last_step=run.train_steps),
    hooks.ReportHook(
      graph.step_done,
      graph.metrics,
      graph.testing,
      graph.test_metrics,
      histograms,
      writer,
      run.train_steps,
      STEPS_PER_SUMMARY,
      STEPS_PER_HISTOGRAM,
    ),
    tf.train.StepCounterHook(every_n_steps=STEPS_PER_SUMMARY, summary_writer=writer),
    tf.train.CheckpointSaverHook(
      run.log_dir,
      save_steps=run.steps_between_saves,
      scaffold=scaffold,
      checkpoint_basename=checkpoints.BASENAME,
      save_graph_def=False,
      listeners=[hooks.FiniteGuard()],
    ),
  ]


def _shared_features_init(prefix: str) -> Callable[[tf.train.Scaffold, tf.Session], None]:
  """Restores the shared features of another run into a new one."""
  variables = [v for v in tf.trainable_variables() if v.op.name.startswith(SHARED_FEATURES)]
  checkpoints.require_match(prefix, variables)
  saver = tf.train.Saver(variables)
  logging.info('A new run starts its shared features from %s', prefix)
  return lambda scaffold, session: saver.restore(session, prefix)
