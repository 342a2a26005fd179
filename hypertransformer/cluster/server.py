"""TensorFlow's server of a task; how the tasks of a cluster watch each other, and end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import NoReturn

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.cluster.board import ENDED, LOST, SECONDS_BETWEEN_LOOKS, Board, reason
from hypertransformer.cluster.tasks import CHIEF, PS, Task
from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions
from hypertransformer.runtime.signals import StopSignal

SECONDS_AFTER_THE_END = 5.0  # that the others have to see that the chief has ended
SECONDS_TO_RELEASE = 5.0  # that a step may take after a signal before it is not waited for
SECONDS_TO_SAVE = 60.0  # that a chief has after a signal


def join(task: Task) -> Board:
  """Start the server of this task; wait for the parameter servers.

  Raises:
    InputError: the port of the task is taken, or its address is not one of this machine.
  """
  config = sessions.config(tf.Graph())
  config.experimental.executor_type = ''  # operations that wait for another task need the usual one
  if task.type == PS:
    config.device_count['GPU'] = 0  # variables are kept in the memory of the machine
  try:
    with socket.socket() as trial:  # the message of TensorFlow does not say why it could not
      trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      trial.bind(('', int(task.address.rpartition(':')[2])))
    server = tf.train.Server(task.cluster, task.type, task.index, config=config)
  except (OSError, OverflowError, RuntimeError, tf.errors.OpError) as error:
    raise InputError(
      f'{task.name} cannot listen at {task.address} ({reason(error)}). End the program that uses '
      'the port, perhaps an earlier run, or give another port in TF_CONFIG to all tasks.'
    ) from error
  warn_of_proxy(task, os.environ)
  logging.info('%s is ready at %s; waiting for the other tasks.', task.name, task.address)
  return Board(task, server.target)


def warn_of_proxy(task: Task, environment: Mapping[str, str]) -> None:
  """Warn if a proxy is set that the tasks would be looked for through."""
  proxy = next((n for n in ('grpc_proxy', 'https_proxy', 'http_proxy') if environment.get(n)), '')
  text = environment.get('no_grpc_proxy') or environment.get('no_proxy', '')
  exempt = tuple(host for each in text.split(',') if (host := each.strip()))
  addresses = [address for each in task.cluster.as_dict().values() for address in each]
  hosts = sorted({address.rpartition(':')[0].strip('[]') for address in addresses})
  if proxy and (asked := [host for host in hosts if not host.endswith(exempt)]):
    logging.warning(
      'The environment variable %s is set, and no_proxy does not list %s: the tasks may wait for '
      'each other forever. Add these hosts to no_proxy.',
      proxy,
      ', '.join(asked),
    )


def serve(task: Task) -> None:
  """Serve variables until the chief has ended.

  Raises:
    InputError: the port is taken.
    One of board.LOST: another parameter server was lost.
  """
  board = join(task)
  signalled = float('inf')
  with StopSignal('waiting for the chief to end') as stop:
    while (stage := board.stage()) != ENDED:
      if stop.received is not None:
        signalled = min(signalled, time.monotonic())
        if not stage or time.monotonic() > signalled + SECONDS_TO_SAVE:
          return
      time.sleep(SECONDS_BETWEEN_LOOKS)
    time.sleep(SECONDS_AFTER_THE_END)
  logging.info('%s ends: the run has ended.', task.name)


def supervise(work: Callable[[], None], task: Task, board: Board, stop: StopSignal) -> None:
  """Run the work of a chief or a worker in a thread, while this one watches the other tasks.

  Without that, a step whose parameter server is lost, or whose workers have ended, would wait
  forever, and Python would handle no signal in the meantime. A worker ends as soon as the chief has
  ended or a signal has come, since it has nothing to save.

  Args:
    work: trains; that of the chief ends by itself after a signal.
    task: this process.
    board: what the tasks tell each other.
    stop: notes signals.

  Raises:
    One of board.LOST: a parameter server was lost.
    Whatever the work raises.
  """
  thread = futures.ThreadPoolExecutor(1).submit(work)
  signalled = float('inf')
  while not futures.wait([thread], SECONDS_BETWEEN_LOOKS).done:
    ended = board.stage() == ENDED
    if task.type != CHIEF and (ended or stop.received is not None):
      logging.info('%s ends: %s.', task.name, 'the run has ended' if ended else 'a signal has come')
      return
    if stop.received is not None:
      signalled = min(signalled, time.monotonic())
    waited = time.monotonic() - signalled
    if waited > SECONDS_TO_RELEASE:
      with contextlib.suppress(tf.errors.CancelledError):  # all have ended
        board.release()
    if waited > SECONDS_TO_SAVE:
      raise tf.errors.DeadlineExceededError(None, None, 'the other tasks do not answer')
  thread.result()


@contextlib.contextmanager
def leaving() -> Iterator[None]:
  """End the process after the block, with the exit status that the block leads to.

  TensorFlow would first close its sessions, and wait forever for servers that have ended.
  """
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends also a wait inside of TensorFlow
  try:
    yield
  except LOST as error:
    logging.error(
      'A parameter server was lost, and the variables with it (TensorFlow: %s). Start all tasks of '
      'the cluster again: training resumes from the latest checkpoint.',
      reason(error),
    )
    _leave(1)
  except SystemExit as error:
    _leave(error.code if isinstance(error.code, int) else int(error.code is not None))
  except BaseException:
    traceback.print_exc()
    _leave(1)
  _leave(0)


def _leave(status: int) -> NoReturn:
  for stream in (logging, sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)
