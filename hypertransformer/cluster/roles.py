"""Which task of a cluster this process is, as the environment variable TF_CONFIG says.

TensorFlow's own form of it, which Kubernetes' and other launchers set:

  {"cluster": {"chief": ["host:port"], "worker": ["host:port", ...], "ps": ["host:port", ...]},
   "task": {"type": "worker", "index": 0}}

The chief trains as the workers do, and writes checkpoints and summaries besides. The parameter
servers (ps) hold the variables. An evaluator takes no part in the cluster: it waits for
checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import re

import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError, require

CHIEF, WORKER, PS, EVALUATOR = 'chief', 'worker', 'ps', 'evaluator'
_ADDRESS = re.compile(r'(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d+)')
_EXAMPLE = (
  'Expected is such as {"cluster": {"chief": ["a:2222"], "worker": ["b:2222"], "ps": ["a:2223"]}, '
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
  """Reads and checks which task this process is.

  Args:
    text: the value of TF_CONFIG; '' if there is none.
    resolver: TensorFlow's reader of TF_CONFIG.

  Returns:
    None if TF_CONFIG names no cluster, or only this process: then it trains alone.

  Raises:
    InputError: TF_CONFIG cannot be read, or is no cluster that can train.
  """
  if not text.strip():
    return None
  try:
    if not isinstance(json.loads(text), dict):
      raise ValueError('it is no object')
    spec = resolver.cluster_spec()
    cluster, type_, index = spec.as_dict(), resolver.task_type, resolver.task_id
  except (ValueError, TypeError, AttributeError, KeyError) as error:
    raise InputError(
      f'the environment variable TF_CONFIG cannot be read ({error}). {_EXAMPLE}'
    ) from error
  if type_ is None and not cluster:
    return None
  require(type_ is not None, f'TF_CONFIG does not say which task this process is. {_EXAMPLE}')
  if type_ == EVALUATOR:
    return Task(EVALUATOR, index or 0, spec)
  require(
    type_ in (CHIEF, WORKER, PS),
    f'TF_CONFIG: the type of the task is {type_!r}; known are chief, worker, ps and evaluator.',
  )
  _check_cluster(cluster)
  if type_ == CHIEF and set(cluster) - {EVALUATOR} == {CHIEF}:
    return None
  require(
    index is not None and 0 <= index < len(cluster.get(type_, [])),
    f'TF_CONFIG: there is no task {index} of type {type_}; the cluster has '
    f'{len(cluster.get(type_, []))} of them, which are counted from 0.',
  )
  require(
    bool(cluster.get(PS)),
    'TF_CONFIG: the cluster has no ps: at least one parameter server must hold the variables.',
  )
  return Task(type_, index, tf.train.ClusterSpec({k: v for k, v in cluster.items() if k in _JOBS}))


_JOBS = (CHIEF, WORKER, PS)


def _check_cluster(cluster: dict[str, list[str]]) -> None:
  unknown = sorted(set(cluster) - {*_JOBS, EVALUATOR})
  require(
    not unknown,
    f'TF_CONFIG: the cluster has tasks of the type {", ".join(map(repr, unknown))}; known are '
    'chief, worker, ps and evaluator.',
  )
  require(
    len(cluster.get(CHIEF, [])) == 1,
    f'TF_CONFIG: the cluster has {len(cluster.get(CHIEF, []))} tasks of type chief; it must have '
    'one, which also trains.',
  )
  addresses = [address for type_ in cluster for address in cluster[type_]]
  for address in addresses:
    match = _ADDRESS.fullmatch(str(address))
    require(
      match is not None and 0 < int(match[2]) < 65536,
      f'TF_CONFIG: {address!r} is no address; expected is host:port, such as 10.0.0.1:2222.',
    )
    require(
      addresses.count(address) == 1,
      f'TF_CONFIG: the address {address} is that of {addresses.count(address)} tasks: give each '
      'its own host and port.',
    )
