"""Training as one of several processes: the chief, or another worker, of a cluster.

Each builds the whole training graph. Its variables are on the parameter servers, and its operations
on its own machine (between-graph replication). docs/cluster.md explains it.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.cluster import server
from hypertransformer.cluster.board import ENDED, STARTING, TRAINING, Board
from hypertransformer.cluster.tasks import CHIEF, Task
from hypertransformer.episodes.pipeline import Share
from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions
from hypertransformer.runtime.signals import StopSignal
from hypertransformer.settings import flags
from hypertransformer.settings.config import Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, loop
from hypertransformer.training.graph import Inputs, TrainGraph

# The thread that adds up the gradients of a synchronous run waits for workers that have ended, and
# ends with the session. Nothing else is to be waited for.
STOP_GRACE_PERIOD_SECS = 1


class _TaskHook(tf.train.SessionRunHook):
  """Logs that a task joins the run, lets the others join the chief, and stops at the last step."""

  def __init__(self, board: Board, task: Task, graph: TrainGraph, train_steps: int) -> None:
    self._board = board
    self._task = task
    self._graph = graph
    self._train_steps = train_steps

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Announce that all variables have their values."""
    del coord
    logging.info('%s joins at step %d.', self._task.name, session.run(self._graph.global_step))
    if self._task.type == CHIEF:
      self._board.write_stage(TRAINING)

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    """Fetch the number of updates after the step."""
    del run_context
    return tf.train.SessionRunArgs(self._graph.step_done)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Stop if all updates are done, by whichever task."""
    if run_values.results >= self._train_steps:
      run_context.request_stop()


def train(task: Task, settings: Settings) -> None:
  """Train as a task of a cluster, up to settings.run.train_steps updates of all together.

  Args:
    task: This process, the chief or a worker.
    settings: The settings of the run.

  Raises:
    InputError: Settings, data or checkpoints do not fit together, or differ from the chief's.
    One of cluster.board.LOST: A parameter server was lost.
    tf.train.NanLossDuringTrainingError: The loss or a variable became NaN.
  """
  (_lead if task.type == CHIEF else _work)(task, settings)


def _lead(task: Task, settings: Settings) -> None:
  """Train as the chief, which also saves and reports."""
  with loop.open_run(settings) as run:
    board = server.join(task)
    # The parameter servers outlive a chief that was killed. Workers may then wait for tokens that
    # it was about to hand out.
    waiting = task.workers - 1 if board.stage() else 0

    def work() -> None:
      with tf.Graph().as_default():
        graph = _build(task, settings, run.inputs, run.seed)
        creator = functools.partial(
          tf.train.ChiefSessionCreator,
          master=board.target,
          config=sessions.config(tf.get_default_graph(), settings.run.xla, task.sees),
          checkpoint_dir=settings.run.log_dir,
        )
        further = _hooks(board, task, graph, settings, waiting)
        loop.lead(run, graph, stop, creator, further, STOP_GRACE_PERIOD_SECS)

    try:
      board.write_run([run.seed, _common_flags(settings)])
      with hooks.SignalHook() as stop:
        if not run.is_done():
          server.supervise(work, task, board, stop)
    finally:
      with contextlib.suppress(tf.errors.OpError):
        board.write_stage(ENDED)


def _work(task: Task, settings: Settings) -> None:
  """Train as a worker other than the chief."""
  board = server.join(task)
  board.wait(STARTING, TRAINING, ENDED)
  seed, chief = board.run()
  changes = [
    f'--{name} is {value!r}, that of the chief {chief.get(name)!r}'
    for name, value in _common_flags(settings).items()
    if value != chief.get(name)
  ]
  if changes:
    raise InputError(f'{"; ".join(changes)}. Start all tasks of a cluster with the same flags.')
  inputs = graph_lib.open_inputs(settings, seed)

  def work() -> None:
    with tf.Graph().as_default():
      graph = _build(task, settings, inputs, seed)
      board.wait(TRAINING)
      config = sessions.config(tf.get_default_graph(), settings.run.xla, task.sees)
      creator = tf.train.WorkerSessionCreator(tf.train.Scaffold(), board.target, config)
      further = [
        *_hooks(board, task, graph, settings),
        hooks.StreamHook(graph, with_test=False),
        tf.train.NanTensorHook(graph.objective.loss),
      ]
      step = own = 0
      with tf.train.MonitoredSession(
        creator, further, stop_grace_period_secs=STOP_GRACE_PERIOD_SECS
      ) as session:
        while not session.should_stop():
          with sessions.input_errors():
            step = int(session.run(graph.step_done))
          own += 1
      logging.info(
        '%s stopped at step %d of %d after %d steps of its own.',
        task.name,
        step,
        settings.run.train_steps,
        own,
      )

  try:
    with StopSignal('stopping; the current step is lost') as stop:
      server.supervise(work, task, board, stop)
  except tf.train.NanLossDuringTrainingError:
    with contextlib.suppress(tf.errors.OpError):
      board.release()  # the chief shall see it too, and not wait for this worker
    raise


def _common_flags(settings: Settings) -> dict[str, Any]:
  """Return the flags in which all tasks must agree, by name."""
  return flags.values_affecting(settings.flag_values, 'training')


def _build(task: Task, settings: Settings, inputs: Inputs, seed: int) -> TrainGraph:
  """Build the training graph, with its variables on the parameter servers."""
  share = Share(task.number, task.workers, settings.run.sync_replicas)
  tf.set_random_seed(seed % 2**31)
  with tf.device(tf.train.replica_device_setter(worker_device=task.device, cluster=task.cluster)):
    return graph_lib.build(settings, inputs, share, graph_lib.gpus(settings.run.num_gpus))


def _hooks(
  board: Board, task: Task, graph: TrainGraph, settings: Settings, waiting: int = 0
) -> list[tf.train.SessionRunHook]:
  """Return the hooks of a cluster; `waiting` workers may wait for tokens of an earlier chief."""
  ours = _TaskHook(board, task, graph, settings.run.train_steps)
  if graph.sync is None:
    return [ours]
  return [graph.sync.make_session_run_hook(task.type == CHIEF, num_tokens=waiting), ours]
