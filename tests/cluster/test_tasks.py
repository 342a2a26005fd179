"""TF_CONFIG: which task a process is, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.cluster import server, tasks
from hypertransformer.errors import InputError

CLUSTER = {'chief': ['a:1'], 'worker': ['b:1', 'c:1'], 'ps': ['d:1', '[::1]:2']}


def read(monkeypatch: pytest.MonkeyPatch, value: Any) -> tasks.Task | None:
  """Reads the task from a TF_CONFIG, which is a text or is written as JSON."""
  text = value if isinstance(value, str) else json.dumps(value)
  monkeypatch.setenv('TF_CONFIG', text)
  return tasks.task_from(text, tf.distribute.cluster_resolver.TFConfigClusterResolver())


def task(type_: Any, index: Any, **cluster: Any) -> dict[str, Any]:
  return {'cluster': cluster or CLUSTER, 'task': {'type': type_, 'index': index}}


@pytest.mark.parametrize(
  ('type_', 'index', 'number', 'name', 'address'),
  [
    ('chief', 0, 0, 'chief', 'a:1'),
    ('worker', 0, 1, 'worker 0', 'b:1'),
    ('worker', 1, 2, 'worker 1', 'c:1'),
    ('ps', 1, 2, 'ps 1', '[::1]:2'),
  ],
)
def test_every_task_knows_its_place(
  monkeypatch: pytest.MonkeyPatch, type_: str, index: int, number: int, name: str, address: str
) -> None:
  found = read(monkeypatch, task(type_, index))
  assert found is not None
  assert (found.name, found.address, found.device) == (name, address, f'/job:{type_}/task:{index}')
  assert (found.workers, found.servers) == (3, 2)
  if type_ != 'ps':
    assert found.number == number


def test_an_evaluator_takes_no_part_in_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
  """Also where a launcher lists it with an address."""
  for cluster in (CLUSTER, {**CLUSTER, 'evaluator': ['e:1']}):
    found = read(monkeypatch, task('evaluator', 0, **cluster))
    assert found is not None
    assert found.type == 'evaluator'
  chief = read(monkeypatch, task('chief', 0, **CLUSTER, evaluator=['e:1']))
  assert chief is not None
  assert sorted(chief.cluster.jobs) == ['chief', 'ps', 'worker']


@pytest.mark.parametrize('value', ['', ' ', '{}', {'environment': 'cloud'}])
def test_without_a_cluster_a_process_trains_alone(
  monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
  assert read(monkeypatch, value) is None


@pytest.mark.parametrize('type_', ['chief', 'worker', 'master'])
def test_a_task_without_others_trains_alone(monkeypatch: pytest.MonkeyPatch, type_: str) -> None:
  assert read(monkeypatch, task(type_, 0, **{type_: ['a:1'], 'evaluator': ['e:1']})) is None


@pytest.mark.parametrize(
  ('environment', 'asked'),
  [
    ({}, ''),
    ({'no_proxy': 'a'}, ''),
    ({'http_proxy': 'http://p:3128'}, '::1, a, b, c, d'),
    ({'https_proxy': 'p', 'no_proxy': ' a,b, c ,.d'}, '::1, d'),
    ({'http_proxy': 'p', 'no_proxy': 'a', 'no_grpc_proxy': 'a,b,c,d,::1'}, ''),
  ],
)
def test_a_proxy_through_which_tasks_would_be_looked_for_is_warned_of(
  monkeypatch: pytest.MonkeyPatch, warnings: list[str], environment: dict[str, str], asked: str
) -> None:
  found = read(monkeypatch, task('chief', 0))
  assert found is not None
  server.warn_of_proxy(found, environment)
  assert len(warnings) == bool(asked)
  if asked:
    assert f'does not list {asked}:' in warnings[0]


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    ('{', 'TF_CONFIG'),
    ('[]', 'TF_CONFIG'),
    ({'cluster': 5, 'task': {'type': 'chief', 'index': 0}}, 'TF_CONFIG'),
    ({'cluster': CLUSTER, 'task': 7}, 'TF_CONFIG'),
    ({'cluster': CLUSTER, 'task': {'type': 'ps', 'index': 'x'}}, 'TF_CONFIG'),
    ({'cluster': CLUSTER}, 'None'),
    ('[' * 10_000, 'TF_CONFIG'),
    ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 1e999}}', 'TF_CONFIG'),
    (task(['ps'], 0), 'TF_CONFIG'),
    (task('worker', 10**30), 'worker 10'),
    (task('worker', 1, worker=['a:1']), '0 chief'),
    (task('ps', 0, ps=['a:1']), '0 chief'),
    (task('boss', 0), "'boss'"),
    (task('chief', 0, chief=['a:1'], master=['b:1']), "'master'"),
    (task('worker', 2), 'worker 2; there are 2'),
    (task('worker', -1), 'worker -1'),
    ({'cluster': CLUSTER, 'task': {'type': 'ps'}}, 'ps None'),
    (task('worker', 0, worker=['b:1'], ps=['d:1']), '0 chief and 1 ps'),
    (task('chief', 0, chief=['a:1', 'b:1'], ps=['d:1']), '2 chief'),
    (task('chief', 0, chief=['a:1'], worker=['b:1']), '0 ps'),
    (task('chief', 0, chief=['a'], ps=['b:1']), "'a'"),
    (task('chief', 0, chief=['a:1'], ps=['a:1']), "'a:1'"),
  ],
)
def test_what_is_no_cluster_is_refused(
  monkeypatch: pytest.MonkeyPatch, value: Any, message: str
) -> None:
  with pytest.raises(InputError, match=message):
    read(monkeypatch, value)
