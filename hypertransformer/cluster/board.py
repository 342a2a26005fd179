"""What the tasks of a cluster tell each other: a few variables on the first parameter server.

They are no part of the model or of its checkpoints. The chief writes which run it leads and how far
it is. All others read it, and so need to know nothing but TF_CONFIG and their flags. Besides, there
is a queue on every parameter server in which those that train say that they have joined or left.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.cluster import lost, server
from hypertransformer.cluster.roles import PS, Task

# How far the chief is.
STARTING, TRAINING, ENDED = 1, 2, 3
# What a task says of itself to the parameter servers.
JOINED, LEFT = 'joined', 'left'
FIRST = f'/job:{PS}/task:0'
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_ANSWER = 30
_LIMITED = tf.RunOptions(timeout_in_ms=1000 * SECONDS_TO_ANSWER)


@dataclasses.dataclass(frozen=True)
class Run:
  """What the chief says of the run.

  Attributes:
    seed: the seed of the run.
    flag_values: the value of every flag of the chief, by name.
    token: a random text that the chief has also written into the folder of the run.
  """

  seed: int
  flag_values: dict[str, Any]
  token: str


def stage_variable() -> tf.Variable:
  """Builds the variable that says how far the chief is, an int32 scalar, in the current graph."""
  return _variable('cluster/stage', tf.int32, 0)


def _variable(name: str, dtype: tf.DType, initial: Any) -> tf.Variable:
  """A variable on the first parameter server that no saver and no initialiser of a model knows."""
  with tf.device(FIRST):
    return tf.get_variable(
      name,
      [],
      dtype,
      tf.constant_initializer(initial),
      trainable=False,
      collections=[],
      use_resource=True,
    )


# A session that is closed, or that nothing refers to any more, would wait for ever for parameter
# servers that have ended. The process leaves without that (see leaving.py).
_never_closed: list[tf.Session] = []


class Board:
  """Reads and writes what the tasks tell each other."""

  def __init__(self, task: Task, target: str) -> None:
    """Opens a session; waits until the parameter servers answer, to this task and to each other.

    Args:
      task: this process.
      target: the target of its server.
    """
    with tf.Graph().as_default() as graph:
      self._run = _variable('cluster/run', tf.string, '')
      self._stage = stage_variable()
      self._written = tf.is_variable_initialized(self._stage)
      self._text = tf.placeholder(tf.string, [])
      self._number = tf.placeholder(tf.int32, [])
      self._say_run = self._run.assign(self._text, read_value=False)
      self._say_stage = self._stage.assign(self._number, read_value=False)
      self._values = self._run.read_value(), self._stage.read_value()
      queues = [_queue(number) for number in range(task.servers)]
      self._say = [queue.enqueue(self._text) for queue in queues]
      self._sizes = [queue.size() for queue in queues]
      self._links = [_at(number, self._sizes) for number in range(task.servers)]
      self._release = _tokens().enqueue_many(tf.zeros([task.workers], tf.int64))
      if task.type == PS:
        mine = queues[task.index]
        self._said = mine.dequeue_many(mine.size())
      self._session = tf.Session(target, config=server.session_config(task, graph))
    _never_closed.append(self._session)
    lost.patiently(lambda: self._call(self._links))

  def _call(self, fetches: Any, feeds: dict[tf.Tensor, Any] | None = None) -> Any:
    """Runs something; raises DeadlineExceededError where a parameter server does not answer.

    TensorFlow itself would wait for ever, until a lost server is started again.
    """
    return self._session.run(fetches, feeds, options=_LIMITED)

  def is_new(self) -> bool:
    """Whether no chief has written here since the parameter servers were started."""
    return not self._call(self._written)

  def write(self, run: Run) -> None:
    """Says which run it is, and that it is about to start."""
    self._call(self._say_run, {self._text: json.dumps(dataclasses.asdict(run))})
    self.write_stage(STARTING)

  def write_stage(self, stage: int) -> None:
    """Says how far the run is."""
    self._call(self._say_stage, {self._number: stage})

  def stage(self) -> int:
    """How far the run is; 0 if there is no chief yet."""
    return 0 if self.is_new() else int(self._call(self._values[1]))

  def wait(self, stage: int) -> tuple[Run, int]:
    """Waits until the run is at least as far as this stage; returns the run and its stage."""
    while (found := self.stage()) < stage:
      time.sleep(SECONDS_BETWEEN_LOOKS)
    text = self._call(self._values[0])
    return Run(**json.loads(text)), found

  def say(self, what: str, name: str) -> None:
    """Tells every parameter server that the task of this name has joined, or has left."""
    self._call(self._say, {self._text: f'{what} {name}'})

  def heard(self) -> list[tuple[str, str]]:
    """What this parameter server was told since the last call, as pairs of what and which task."""
    texts = [text.decode() for text in self._call(self._said)]
    return [(text.split(' ', 1)[0], text.split(' ', 1)[1]) for text in texts]

  def require_servers(self) -> None:
    """Asks every parameter server for an answer; errors are those of TensorFlow."""
    self._call(self._sizes)

  def release(self) -> None:
    """Lets all workers go on that wait for the others in a synchronous run.

    Each gets a token of step 0, so that the next gradient that it computes is too old to count.
    """
    self._call(self._release)


def _tokens() -> tf.FIFOQueue:
  """The queue of tokens of tf.train.SyncReplicasOptimizer; it is beside the global step."""
  with tf.device(FIRST):
    return tf.FIFOQueue(-1, [tf.int64], [[]], shared_name='sync_token_q')


def _at(number: int, values: Sequence[tf.Tensor]) -> tf.Tensor:
  """The values, which a parameter server asks the others for."""
  with tf.device(f'/job:{PS}/task:{number}'):
    return tf.stack(values)


def _queue(number: int) -> tf.FIFOQueue:
  """The queue on a parameter server in which tasks say that they have joined or left."""
  with tf.device(f'/job:{PS}/task:{number}'):
    return tf.FIFOQueue(-1, [tf.string], [[]], shared_name=f'cluster/said_{number}')
