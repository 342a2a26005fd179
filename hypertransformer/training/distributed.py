"""Training as one of several processes: the chief, or another worker, of a cluster.

Each builds the whole training graph. Its variables are on the parameter servers, and its operations
on its own machine (between-graph replication). docs/cluster.md explains it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.cluster import agreement, lost, server, signals
from hypertransformer.cluster import board as board_lib
from hypertransformer.cluster.board import Board, Run
from hypertransformer.cluster.roles import CHIEF, Task
from hypertransformer.episodes.pipeline import Share
from hypertransformer.progress import progress
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.settings.config import RunConfig, Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, loop, record, saving
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup, check
from hypertransformer.training.start import Start, choose_seed, find_start, make_scaffold

# The thread that adds up the gradients of a synchronous run waits for workers that have ended, and
# ends with the session. Nothing else is to be waited for.
STOP_GRACE_PERIOD_SECS = 1
SECONDS_TO_SAY = 10.0  # that a task has ended


class _StageHook(tf.train.SessionRunHook):
  """Lets the chief say that the run is ready, and all end together.

  A process ends when enough updates are done, by whomever, and a worker also when the chief ends.
  """

  def __init__(self, board: Board, task: Task, graph: TrainGraph, train_steps: int) -> None:
    """Builds the tensor that says how far the chief is after a step.

    Args:
      board: where the chief says it.
      task: this process.
      graph: the training graph.
      train_steps: the number of updates in all.
    """
    self._board = board
    self._task = task
    self._is_chief = task.type == CHIEF
    self._step = graph.global_step
    self._train_steps = train_steps
    with tf.control_dependencies([graph.step_done]):
      self._fetches = {'step': graph.step_done, 'stage': board_lib.stage_variable().read_value()}

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Is called when all variables have their values."""
    del coord
    logging.info('%s joins at step %d.', self._task.name, session.run(self._step))
    if self._is_chief:
      self._board.write_stage(board_lib.TRAINING)

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    """Asks for the number of updates and for the stage after the step."""
    del run_context
    return tf.train.SessionRunArgs(self._fetches)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Ends the work if enough is done."""
    ended = not self._is_chief and run_values.results['stage'] == board_lib.ENDED
    if ended or run_values.results['step'] >= self._train_steps:
      run_context.request_stop()


def train(task: Task, setup: Setup, settings: Settings) -> int:
  """Trains as a task of a cluster, up to settings.run.train_steps updates of all together.

  Args:
    task: this process, the chief or a worker.
    setup: what the training graph is made from.
    settings: the settings of the run.

  Returns:
    The number of updates that all have done together, as far as this process knows.

  Raises:
    InputError: settings, data or checkpoints do not go together, or with those of the chief.
    ServerLost: a parameter server was lost.
    tf.train.NanLossDuringTrainingError: the loss or a variable has become NaN.
  """
  share = Share(task.number, task.workers, settings.run.sync_replicas)
  setup = dataclasses.replace(setup, share=share)
  with lost.as_server_lost():
    return (_train_as_chief if task.type == CHIEF else _train_as_worker)(task, setup, settings)


def _train_as_chief(task: Task, setup: Setup, settings: Settings) -> int:
  with record.own_folder(setup, settings.run) as lock:
    return _lead(task, setup, settings, lock)


def _lead(task: Task, setup: Setup, settings: Settings, lock: FolderLock) -> int:
  """Trains as the chief, in a folder that is locked."""
  run = settings.run
  seed = choose_seed(run)
  start = find_start(run, settings.flag_values)
  with signals.end_at_once():
    target, board = _join(task)
  # The parameter servers outlive a chief that was killed. Workers may then wait for tokens that it
  # was about to hand out.
  waiting = 0 if board.is_new() else task.workers - 1
  token = secrets.token_hex(8)
  agreement.mark(run.log_dir, token)
  with _saying_the_end(board, task):
    board.say(board_lib.JOINED, task.name)
    board.write(Run(seed, dict(settings.flag_values), token))
    if start.is_at_end(run):
      return start.step
    return _train(task, setup, settings, seed, board, target, start, lock, waiting)


@contextlib.contextmanager
def _saying_the_end(board: Board, task: Task) -> Iterator[None]:
  """Tells the other tasks when this one has ended, unless there is nobody left to be told."""
  try:
    yield
  except (lost.ServerLost, *lost.ERRORS):
    raise
  except BaseException:
    _say_the_end(board, task)
    raise
  _say_the_end(board, task)


def _say_the_end(board: Board, task: Task) -> None:
  """Says that this task has ended, without waiting for ever for an answer.

  A parameter server that has heard it from all ends at once, and TensorFlow may then wait for what
  it was about to answer. The servers end by themselves too, a little later, if they hear nothing.
  """

  def say() -> None:
    with contextlib.suppress(tf.errors.OpError):
      if task.type == CHIEF:
        board.write_stage(board_lib.ENDED)
      board.say(board_lib.LEFT, task.name)

  thread = threading.Thread(target=say, daemon=True)
  thread.start()
  thread.join(SECONDS_TO_SAY)


def _train_as_worker(task: Task, setup: Setup, settings: Settings) -> int:
  with signals.end_at_once():
    target, board = _join(task)
    found, stage = board.wait(board_lib.STARTING)
    if stage == board_lib.ENDED:
      logging.info('The run has ended: nothing to do.')
      board.say(board_lib.LEFT, task.name)
      return 0
    agreement.require_same_folder(settings.run.log_dir, found)
    agreement.require_same_flags(settings.flag_values, found)
  check(setup, found.seed)
  with _saying_the_end(board, task):
    board.say(board_lib.JOINED, task.name)
    try:
      return _train(task, setup, settings, found.seed, board, target)
    except tf.train.NanLossDuringTrainingError:
      with contextlib.suppress(tf.errors.CancelledError):  # the chief has ended already
        board.release()  # the chief shall see it too, and not wait for this worker
      raise


def _join(task: Task) -> tuple[str, Board]:
  """Starts the server of this task; returns its target and the board."""
  target = server.start(task).target
  logging.info('%s is ready at %s; waiting for the other tasks.', task.name, task.address)
  return target, Board(task, target)


def _train(
  task: Task,
  setup: Setup,
  settings: Settings,
  seed: int,
  board: Board,
  target: str,
  start: Start | None = None,
  lock: FolderLock | None = None,
  waiting: int = 0,
) -> int:
  """Builds the graph and trains.

  Args:
    task: this process.
    setup: what the training graph is made from.
    settings: the settings of the run.
    seed: that of the run.
    board: what the tasks tell each other.
    target: that of the server of this task.
    start: where the run starts; only the chief needs it.
    lock: the lock on the folder of the run, which only the chief holds.
    waiting: how many workers may wait for tokens of a chief before this one.
  """
  run = settings.run
  with hooks.SignalHook() as received, tf.Graph().as_default():
    tf.set_random_seed(seed % 2**31)
    with tf.device(tf.train.replica_device_setter(worker_device=task.device, cluster=task.cluster)):
      graph = graph_lib.build(setup, seed)
      work: list[tf.train.SessionRunHook] = []
      noted = None
      if graph.sync is not None:
        work.append(graph.sync.make_session_run_hook(task.type == CHIEF, num_tokens=waiting))
      work.append(_StageHook(board, task, graph, run.train_steps))
      if task.type == CHIEF:
        assert start is not None
        assert lock is not None
        scaffold = make_scaffold(start)
        noted = record.begin(graph, setup, settings, seed, start, lock)
      else:
        scaffold = tf.train.Scaffold()
        with signals.end_at_once():
          _, stage = board.wait(board_lib.TRAINING)
        if stage == board_lib.ENDED:
          return 0
      with signals.not_waiting_for_ever(board.release), lost.asking(board.require_servers):
        return _run(task, graph, run, scaffold, received, work, target, noted)


def _run(
  task: Task,
  graph: TrainGraph,
  run: RunConfig,
  scaffold: tf.train.Scaffold,
  received: hooks.SignalHook,
  work: list[tf.train.SessionRunHook],
  target: str,
  noted: tuple[EventWriter, saving.FolderGuard] | None,
) -> int:
  """Runs the training steps; returns the number of updates done by all together.

  What `record.begin` has returned, `noted`, is the chief's.
  """
  config = server.session_config(task, tf.get_default_graph(), run.xla)
  writer = None
  if noted is not None:
    writer, guard = noted
    creator = tf.train.ChiefSessionCreator(scaffold, target, config, run.log_dir)
    bar = progress('step', run.train_steps)
    work += loop.session_hooks(graph, run, scaffold, received, guard, writer, bar)
  else:
    creator = tf.train.WorkerSessionCreator(scaffold, target, config)
    work += [
      received,
      hooks.StreamHook(graph.global_step, graph.train_stream, None, loop.STEPS_PER_SUMMARY),
      tf.train.NanTensorHook(graph.loss),
    ]
  step = own = 0
  try:
    with tf.train.MonitoredSession(
      lost.Once(creator), work, stop_grace_period_secs=STOP_GRACE_PERIOD_SECS
    ) as session:
      while not session.should_stop():
        step = int(session.run(graph.step_done))
        own += 1
  finally:
    if writer is not None:
      writer.close()
  logging.info(
    '%s ended at step %d of %d after %d steps of its own%s.',
    task.name,
    step,
    run.train_steps,
    own,
    '' if received.received is None else ' by a signal; the same command goes on from here',
  )
  return step
