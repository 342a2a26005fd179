"""Which task of a cluster this process is, as the environment variable TF_CONFIG says.

This is TensorFlow's own variable, which Kubernetes' and other launchers set:

  {"cluster": {"chief": ["host:port"], "worker": ["host:port", ...], "ps": ["host:port", ...]},
   "task": {"type": "worker", "index": 0}}

The chief trains as the workers do, and writes checkpoints and summaries besides. The parameter
servers (ps) hold the variables. An evaluator is not part of the cluster: it waits for checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.errors import InputError

CHIEF, WORKER, PS, EVALUATOR = 'chief', 'worker', 'ps', 'evaluator'
_MASTER = 'master'  # what Kubeflow's TFJob calls a chief
_MALFORMED = (
  ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError,
)  # fmt: skip
_ADDRESS = re.compile(r'(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):\d{1,5}')
_EXAMPLE = (
  'Example: {"cluster": {"chief": ["a:2222"], "worker": ["b:2222"], "ps": ["a:2223"]}, '
  '"task": {"type": "worker", "index": 0}}.'
)


@dataclasses.dataclass(frozen=True)
class Task:
  """One process of a cluster.

  Attributes:
    type: 'chief', 'worker', 'ps' or 'evaluator'.
    index: its number among those of its type, from 0.
    cluster: the addresses of all tasks, by their type.
  """

  type: str
  index: int
  cluster: tf.train.ClusterSpec

  @property
  def name(self) -> str:
    """A name for messages, such as 'worker 0'; that of the chief has no number."""
    return self.type if self.type == CHIEF else f'{self.type} {self.index}'

  @property
  def address(self) -> str:
    """The host and the port at which the other tasks find this one."""
    return self.cluster.task_address(self.type, self.index)

  @property
  def device(self) -> str:
    """The prefix of the devices of this task, as TensorFlow writes it."""
    return f'/job:{self.type}/task:{self.index}'

  @property
  def sees(self) -> list[str]:
    """The devices that its sessions use: those of the parameter servers and its own."""
    return sorted({f'/job:{PS}', self.device})

  @property
  def servers(self) -> int:
    """The number of parameter servers."""
    return self.cluster.num_tasks(PS)

  @property
  def workers(self) -> int:
    """The number of tasks that train, the chief included."""
    return 1 + (self.cluster.num_tasks(WORKER) if WORKER in self.cluster.jobs else 0)

  @property
  def number(self) -> int:
    """The number of this task among those that train; that of the chief is 0."""
    return 0 if self.type == CHIEF else 1 + self.index


def task_from(text: str, resolver: tf.distribute.cluster_resolver.ClusterResolver) -> Task | None:
  """Read and check which task this process is.

  Args:
    text: the value of TF_CONFIG; '' if there is none.
    resolver: TensorFlow's reader of TF_CONFIG.

  Returns:
    None if TF_CONFIG names no cluster, or only this process: then it trains alone.

  Raises:
    InputError: TF_CONFIG is invalid, or its cluster cannot train.
  """
  if not text.strip():
    return None
  try:
    if not isinstance(json.loads(text), dict):
      raise ValueError('expected a JSON object')
    spec = resolver.cluster_spec()
    cluster, type_, index = spec.as_dict(), resolver.task_type, resolver.task_id
    if not isinstance(type_ or '', str):
      raise TypeError('the type of a task is a text')
  except _MALFORMED as error:
    raise InputError(
      f'the environment variable TF_CONFIG is invalid ({files.reason(error)}). {_EXAMPLE}'
    ) from error
  if type_ is None and not cluster:
    return None
  if type_ == EVALUATOR:
    return Task(EVALUATOR, index or 0, spec)
  cluster.pop(EVALUATOR, None)
  alone = sum(map(len, cluster.values())) == 1 and index in (0, None)
  if alone and type_ in cluster and type_ in (CHIEF, WORKER, _MASTER):
    return None
  for problem in _problems(cluster, type_, index):
    raise InputError(f'the environment variable TF_CONFIG {problem}. {_EXAMPLE}')
  return Task(type_, index, tf.train.ClusterSpec(cluster))


def _problems(cluster: dict[str, list[str]], type_: str | None, index: int | None) -> Iterator[str]:
  """Yield what is wrong with a cluster and the task in it."""
  for unknown in {*cluster, type_} - {CHIEF, WORKER, PS}:
    yield f'has the task type {unknown!r}; known are chief, worker, ps and evaluator'
  chiefs, servers = len(cluster.get(CHIEF, [])), len(cluster.get(PS, []))
  if chiefs != 1 or not servers:
    yield f'has {chiefs} chief and {servers} ps; it must have one chief and at least one ps'
  count = len(cluster.get(str(type_), []))
  if index is None or not 0 <= index < count:
    yield f'has no {type_} {index}; there are {count}, counted from 0'
  addresses = [str(address) for each in cluster.values() for address in each]
  for address in addresses:
    if not _ADDRESS.fullmatch(address) or addresses.count(address) > 1:
      yield f'has the address {address!r}; expected is a different HOST:PORT for each task'
