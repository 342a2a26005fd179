"""Training as one of several processes: the chief, or another worker, of a cluster.

Each builds the whole training graph. Its variables are on the parameter servers, and its operations
on its own machine (between-graph replication). docs/cluster.md explains it.
"""

from __future__ import annotations

import contextlib
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
from hypertransformer.settings.config import Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, loop
from hypertransformer.training.graph import Inputs, TrainGraph

# The thread that adds up the gradients of a synchronous run waits for workers that have ended, and
# ends with the session. Nothing else is to be waited for.
STOP_GRACE_PERIOD_SECS = 1
SECONDS_TO_SAY = 10.0  # that a task has ended


class _StageHook(tf.train.SessionRunHook):
  """Lets the chief announce that the run is ready, and all tasks end together.

  A process ends when enough updates are done, by whomever, and a worker also when the chief ends.
  """

  def __init__(self, board: Board, task: Task, graph: TrainGraph, train_steps: int) -> None:
    self._board = board
    self._task = task
    self._step = graph.global_step
    self._train_steps = train_steps
    with tf.control_dependencies([graph.step_done]):
      self._fetches = {'step': graph.step_done, 'stage': board_lib.stage_variable().read_value()}

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Announce, as the chief, that all variables have their values."""
    del coord
    logging.info('%s joins at step %d.', self._task.name, session.run(self._step))
    if self._task.type == CHIEF:
      self._board.write_stage(board_lib.TRAINING)

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    """Fetch the number of updates, and the stage after the step."""
    del run_context
    return tf.train.SessionRunArgs(self._fetches)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Stop if all updates are done or the chief has ended."""
    ended = self._task.type != CHIEF and run_values.results['stage'] == board_lib.ENDED
    if ended or run_values.results['step'] >= self._train_steps:
      run_context.request_stop()


def train(task: Task, settings: Settings) -> int:
  """Train as a task of a cluster, up to settings.run.train_steps updates of all together.

  Args:
    task: This process, the chief or a worker.
    settings: The settings of the run.

  Returns:
    The number of updates that all have done together, as far as this process knows.

  Raises:
    InputError: Settings, data or checkpoints do not fit together, or differ from the chief's.
    ServerLost: A parameter server was lost.
    tf.train.NanLossDuringTrainingError: The loss or a variable became NaN.
  """
  with lost.as_server_lost():
    return (_lead if task.type == CHIEF else _work)(task, settings)


def _lead(task: Task, settings: Settings) -> int:
  """Train as the chief, which also saves and reports."""
  with loop.open_run(settings) as run:
    with signals.end_at_once():
      target, board = _join(task)
    # The parameter servers outlive a chief that was killed. Workers may then wait for tokens that
    # it was about to hand out.
    waiting = 0 if board.is_new() else task.workers - 1
    token = secrets.token_hex(8)
    agreement.mark(settings.run.log_dir, token)
    with _announcing_the_end(board, task):
      board.say(board_lib.JOINED, task.name)
      board.write(Run(run.seed, dict(settings.flag_values), token))
      if run.is_done():
        return run.step
      with _built(task, settings, run.inputs, run.seed) as (graph, received):
        config = server.session_config(task, tf.get_default_graph(), settings.run.xla)
        further = _hooks(board, task, graph, settings, waiting)
        with signals.not_waiting_for_ever(board.release), lost.asking(board.require_servers):
          return loop.lead(
            run,
            graph,
            received,
            lambda scaffold: lost.Once(
              tf.train.ChiefSessionCreator(scaffold, target, config, settings.run.log_dir)
            ),
            further,
            STOP_GRACE_PERIOD_SECS,
          )


def _work(task: Task, settings: Settings) -> int:
  """Train as a worker other than the chief."""
  with signals.end_at_once():
    target, board = _join(task)
    found, stage = board.wait(board_lib.STARTING)
    if stage == board_lib.ENDED:
      logging.info('The run has ended: nothing to do.')
      board.say(board_lib.LEFT, task.name)
      return 0
    agreement.require_same_folder(settings.run.log_dir, found)
    agreement.require_same_flags(settings.flag_values, found)
  inputs = graph_lib.open_inputs(settings, found.seed)
  with _announcing_the_end(board, task):
    board.say(board_lib.JOINED, task.name)
    with _built(task, settings, inputs, found.seed) as (graph, received):
      config = server.session_config(task, tf.get_default_graph(), settings.run.xla)
      work = [
        *_hooks(board, task, graph, settings),
        received,
        hooks.StreamHook(graph, with_test=False),
        tf.train.NanTensorHook(graph.objective.loss),
      ]
      creator = tf.train.WorkerSessionCreator(tf.train.Scaffold(), target, config)
      with signals.end_at_once():
        _, stage = board.wait(board_lib.TRAINING)
      if stage == board_lib.ENDED:
        return 0
      step = own = 0
      try:
        with (
          signals.not_waiting_for_ever(board.release),
          lost.asking(board.require_servers),
          tf.train.MonitoredSession(
            lost.Once(creator), work, stop_grace_period_secs=STOP_GRACE_PERIOD_SECS
          ) as session,
        ):
          while not session.should_stop():
            step = int(session.run(graph.step_done))
            own += 1
      except tf.train.NanLossDuringTrainingError:
        with contextlib.suppress(tf.errors.CancelledError):  # the chief has ended already
          board.release()  # the chief shall see it too, and not wait for this worker
        raise
      logging.info(
        '%s stopped at step %d of %d after %d steps of its own.',
        task.name,
        step,
        settings.run.train_steps,
        own,
      )
      return step


def _join(task: Task) -> tuple[str, Board]:
  """Start the server of this task; return its target and the board."""
  target = server.start(task).target
  logging.info('%s is ready at %s; waiting for the other tasks.', task.name, task.address)
  return target, Board(task, target)


@contextlib.contextmanager
def _built(
  task: Task, settings: Settings, inputs: Inputs, seed: int
) -> Iterator[tuple[TrainGraph, hooks.SignalHook]]:
  """Build the training graph of this task, and handle signals from here on."""
  share = Share(task.number, task.workers, settings.run.sync_replicas)
  with hooks.SignalHook() as received, tf.Graph().as_default():
    tf.set_random_seed(seed % 2**31)
    with tf.device(tf.train.replica_device_setter(worker_device=task.device, cluster=task.cluster)):
      devices = graph_lib.gpus(settings.run.num_gpus)
      yield graph_lib.build(settings, inputs, share, devices), received


def _hooks(
  board: Board, task: Task, graph: TrainGraph, settings: Settings, waiting: int = 0
) -> list[tf.train.SessionRunHook]:
  """Return the hooks of a cluster; `waiting` workers may wait for tokens of an earlier chief."""
  found: list[tf.train.SessionRunHook] = []
  if graph.sync is not None:
    found.append(graph.sync.make_session_run_hook(task.type == CHIEF, num_tokens=waiting))
  return [*found, _StageHook(board, task, graph, settings.run.train_steps)]


@contextlib.contextmanager
def _announcing_the_end(board: Board, task: Task) -> Iterator[None]:
  """Tell the other tasks when this one has ended, unless a parameter server was lost."""
  try:
    yield
  except (lost.ServerLost, *lost.ERRORS):
    raise
  except BaseException:
    _announce_the_end(board, task)
    raise
  _announce_the_end(board, task)


def _announce_the_end(board: Board, task: Task) -> None:
  """Announce that this task has ended, and wait a limited time for an answer.

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
