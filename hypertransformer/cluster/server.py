"""TensorFlow's server of this task, and the session settings with which tasks reach each other."""

from __future__ import annotations

import socket

import tensorflow.compat.v1 as tf

from hypertransformer.cluster.roles import PS, Task
from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions


def start(task: Task) -> tf.train.Server:
  """Starts the server of this task.

  Raises:
    InputError: its port is taken, or its address is not one of this machine.
  """
  config = sessions.config(tf.Graph())
  config.experimental.executor_type = ''
  if task.type == PS:
    config.device_count['GPU'] = 0  # variables are kept in the memory of the machine
  _require_free_port(task)
  try:
    return tf.train.Server(task.cluster, task.type, task.index, config=config)
  except (tf.errors.OpError, RuntimeError) as error:
    raise _unusable(task, str(error).splitlines()[0]) from error


def _require_free_port(task: Task) -> None:
  """Tries to listen at the port, as the message of TensorFlow does not say why it could not."""
  port = int(task.address.rpartition(':')[2])
  with socket.socket() as trial:
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      trial.bind(('', port))
    except OSError as error:
      raise _unusable(task, error.strerror or str(error)) from error


def _unusable(task: Task, why: str) -> InputError:
  return InputError(
    f'{task.name} cannot listen at {task.address} ({why}): end the program that uses the port, '
    'perhaps an earlier run, or give another port in TF_CONFIG to all tasks.'
  )


def session_config(task: Task, graph: tf.Graph, xla: bool = False) -> tf.ConfigProto:
  """The session settings of this task, for a graph that is complete.

  The session sees the parameter servers and the task itself, and so does not wait for other
  workers. All operations that wait for another task need the usual executor.
  """
  config = sessions.config(graph, xla)
  config.experimental.executor_type = ''
  config.device_filters.extend(sorted({f'/job:{PS}', task.device}))
  return config
