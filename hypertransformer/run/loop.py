"""The training run: a monitored session with hooks, resumed from the newest checkpoint."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import errors, flags
from hypertransformer.config import RunConfig
from hypertransformer.model import getter
from hypertransformer.run import checkpoints, hooks
from hypertransformer.run import graph as graph_lib
from hypertransformer.run.graph import Setup, TrainGraph

STEPS_PER_SUMMARY = 100
STEPS_PER_HISTOGRAM = 500
SHARED_FEATURES = 'model/shared_features/'


def train(setup: Setup, run: RunConfig, values: flags.Values) -> int:
  """Trains up to run.train_steps and returns the steps done; fewer after SIGTERM or Ctrl-C.

  values: all flag values, written to flags.json. Raises InputError for settings, data or checkpoints that do not
  go together, and tf.train.NanLossDuringTrainingError when the loss is no number any more.
  """
  seed = secrets.randbits(62) if run.seed is None else run.seed
  graph_lib.check(setup, seed)
  step = _prepare_folder(run, values)
  if step >= run.train_steps:
    logging.info('%s is at step %d already, train_steps is %d: nothing to do.', run.log_dir, step, run.train_steps)
    return step
  signals = hooks.SignalHook()
  with tf.Graph().as_default():
    tf.set_random_seed(seed % 2 ** 31)
    graph = graph_lib.build(setup, seed)
    logging.info('The CNN:\n%s', getter.table(graph.rows))
    logging.info('%d variables with %d numbers; seed %d', len(tf.trainable_variables()), _numbers(), seed)
    return _run(graph, run, signals)


def _prepare_folder(run: RunConfig, values: flags.Values) -> int:
  """Makes the folder, checks that its run is this one, writes flags.json. Returns the step to go on from."""
  try:
    os.makedirs(run.log_dir, exist_ok=True)
  except OSError as error:
    raise errors.InputError(f'train_log_dir {run.log_dir} cannot be made: {error}') from error
  newest = checkpoints.newest(run.log_dir)
  if newest is None:
    checkpoints.write_flags(run.log_dir, values)
    return 0
  checkpoints.require_same_model(run.log_dir, values)
  checkpoints.write_flags(run.log_dir, values)
  checkpoints.repair_state(run.log_dir, newest)
  logging.info('Going on from checkpoint %s', newest)
  return checkpoints.global_step(newest)


def _numbers() -> int:
  return sum(v.shape.num_elements() for v in tf.trainable_variables())


def _run(graph: TrainGraph, run: RunConfig, signals: hooks.SignalHook) -> int:
  newest = checkpoints.newest(run.log_dir)
  if newest is not None:
    checkpoints.require_match(newest, tf.global_variables())
  saver = tf.train.Saver(max_to_keep=checkpoints.KEEP, keep_checkpoint_every_n_hours=checkpoints.KEEP_EVERY_HOURS)
  scaffold = tf.train.Scaffold(saver=saver, init_fn=_shared_features_init(run))
  step = 0
  try:
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=run.log_dir, scaffold=scaffold, hooks=_hooks(graph, run, saver, signals),
        save_checkpoint_steps=None, save_checkpoint_secs=None, save_summaries_steps=None,
        save_summaries_secs=None, log_step_count_steps=None) as session:
      while not session.should_stop():
        step = int(session.run(graph.step_done))
  finally:
    signals.restore()
  logging.info('Ended at step %d of %d%s.', step, run.train_steps,
               '' if signals.received is None else ' by a signal; the same command goes on from here')
  return step


def _hooks(graph: TrainGraph, run: RunConfig, saver: tf.train.Saver,
           signals: hooks.SignalHook) -> list[tf.train.SessionRunHook]:
  """In this order: a loss that is no number ends the run before anything of it is saved."""
  folder = os.path.join(run.log_dir, 'train')
  writer = tf.summary.FileWriterCache.get(folder)
  histograms = hooks.histogram_summary(graph.weights)
  return [
      signals,
      hooks.StreamHook(graph.global_step, graph.train_stream, graph.test_stream, STEPS_PER_SUMMARY),
      tf.train.NanTensorHook(graph.loss),
      tf.train.StopAtStepHook(last_step=run.train_steps),
      hooks.ReportHook(graph.step_done, graph.metrics, graph.test_metrics, histograms, writer, run.train_steps,
                       STEPS_PER_SUMMARY, STEPS_PER_HISTOGRAM),
      tf.train.StepCounterHook(every_n_steps=STEPS_PER_SUMMARY, summary_writer=writer),
      tf.train.CheckpointSaverHook(run.log_dir, save_steps=run.steps_between_saves, saver=saver,
                                   checkpoint_basename=checkpoints.BASENAME, save_graph_def=False,
                                   listeners=[hooks.FiniteGuard()]),
  ]


def _shared_features_init(run: RunConfig) -> Callable[[tf.train.Scaffold, tf.Session], None] | None:
  """Restores the shared features of another run into a new one (--restore_shared_features_from)."""
  if not run.restore_shared_from:
    return None
  prefix = run.restore_shared_from
  if os.path.isdir(prefix):
    newest = checkpoints.newest(prefix)
    if newest is None:
      raise errors.InputError(f'restore_shared_features_from={prefix} is a folder without checkpoints; '
                              'expected model-<step>.index in it.')
    prefix = newest
  if not tf.train.checkpoint_exists(prefix):
    raise errors.InputError(f'restore_shared_features_from={prefix} is not there: give the path of a checkpoint '
                            '(without .index) or its folder.')
  variables = [v for v in tf.trainable_variables() if v.op.name.startswith(SHARED_FEATURES)]
  checkpoints.require_match(prefix, variables)
  saver = tf.train.Saver(variables)
  logging.info('A new run starts its shared features from %s', prefix)
  return lambda scaffold, session: saver.restore(session, prefix)
