"""What the tasks of a cluster tell each other: a few texts on the first parameter server.

The chief writes which run it leads and how far it is; all others read it. The texts are not part of
the model or of its checkpoints.
"""

from __future__ import annotations

import json
import time
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.cluster.tasks import PS, Task
from hypertransformer.runtime import sessions

STARTING, TRAINING, ENDED = 'starting', 'training', 'ended'  # the stages of the chief
# What TensorFlow raises when a parameter server does not answer, or was started again.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_ANSWER = 20
_FIRST = f'/job:{PS}/task:0'
_RUN, _STAGE = 0, 1  # the keys of the texts

# A session that is closed, or that nothing refers to any more, would wait forever for parameter
# servers that have ended. The process ends without closing them (see server.leaving).
_never_closed: list[tf.Session] = []


class Board:
  """Reads and writes what the tasks tell each other.

  Attributes:
    target: the target of the server of this task, for sessions.
  """

  def __init__(self, task: Task, target: str) -> None:
    """Open a session; wait until the parameter servers answer, to this task and to each other.

    A process that looked for another one before that was there does not find it for another second,
    in which TensorFlow gives up.

    Args:
      task: this process.
      target: the target of its server.
    """
    with tf.Graph().as_default() as graph:
      with tf.device(_FIRST):
        table = tf.raw_ops.MutableHashTableV2(
          key_dtype=tf.int64, value_dtype=tf.string, shared_name='cluster'
        )
        self._texts = tf.raw_ops.LookupTableFindV2(
          table_handle=table, keys=tf.constant([_RUN, _STAGE], tf.int64), default_value=''
        )
        self._key, self._text = tf.placeholder(tf.int64, []), tf.placeholder(tf.string, [])
        self._write = tf.raw_ops.LookupTableInsertV2(
          table_handle=table, keys=self._key, values=self._text
        )
        # The tokens of tf.train.SyncReplicasOptimizer, beside the global step.
        tokens = tf.FIFOQueue(-1, [tf.int64], [[]], shared_name='sync_token_q')
        self._release = tokens.enqueue_many(tf.zeros([task.workers], tf.int64))
      servers = [f'/job:{PS}/task:{number}' for number in range(task.servers)]
      answers = [_on(server, tf.timestamp) for server in servers]
      self._answers = [_on(server, lambda: tf.stack(answers)) for server in servers]
      self._session = tf.Session(target, config=sessions.config(graph, sees=task.sees))
    _never_closed.append(self._session)
    self.target = target
    self._stage = ''
    while True:
      try:
        self.stage()
        break
      except LOST as error:
        logging.info('No answer yet, trying again (TensorFlow: %s)', reason(error))
        time.sleep(SECONDS_BETWEEN_LOOKS)

  def stage(self) -> str:
    """Return the stage of the chief; '' if no chief has written since the servers were started.

    Raises:
      One of LOST: a parameter server does not answer, or the first one was started again.
    """
    stage = self._call([self._texts, self._answers])[0][_STAGE].decode()
    if self._stage and not stage:
      raise tf.errors.AbortedError(None, None, 'the first parameter server was started again')
    self._stage = stage
    return stage

  def wait(self, *stages: str) -> str:
    """Wait until the chief is at one of these stages, and return it."""
    while (stage := self.stage()) not in stages:
      time.sleep(SECONDS_BETWEEN_LOOKS)
    return stage

  def run(self) -> Any:
    """Return what the chief has written of the run."""
    return json.loads(self._call(self._texts)[_RUN])

  def write_run(self, run: Any) -> None:
    """Write what the others must know of the run, as JSON can hold it; the chief starts it."""
    self._say(_RUN, json.dumps(run))
    self._say(_STAGE, STARTING)

  def write_stage(self, stage: str) -> None:
    """Write how far the chief is."""
    self._say(_STAGE, stage)

  def release(self) -> None:
    """Let all workers of a synchronous run continue that wait for the others.

    Each gets a token of step 0, so that the next gradient that it computes is too old to count.
    """
    self._call(self._release)

  def _say(self, key: int, text: str) -> None:
    self._call(self._write, {self._key: key, self._text: text})

  def _call(self, fetches: Any, feeds: dict[tf.Tensor, Any] | None = None) -> Any:
    """Run something within a time limit: TensorFlow waits forever for a server that is lost."""
    limit = tf.RunOptions(timeout_in_ms=1000 * SECONDS_TO_ANSWER)
    return self._session.run(fetches, feeds, options=limit)


def _on(device: str, build: Any) -> tf.Tensor:
  with tf.device(device):
    return build()


def reason(error: BaseException) -> str:
  """Return the first line of an error of TensorFlow that is more than a heading."""
  lines = [line for line in str(error).splitlines() if line and not line.endswith(':')]
  return lines[0] if lines else type(error).__name__
