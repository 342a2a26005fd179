"""Clusters of real processes on this machine: they train, resume, and end together."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hypertransformer.commands.launch import Member, configurations
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
Values = dict[str, Any]
LIMIT = 400.0  # seconds after which a test has failed


def command(values: Values) -> list[str]:
  """The command line of a training with these flag values."""
  defaults = flags.defaults()
  given = [f'--{name}={value}' for name, value in values.items() if value != defaults[name]]
  return [sys.executable, '-m', 'hypertransformer.train', *given]


class Cluster:
  """Processes on this machine, and all that they say."""

  def __init__(self) -> None:
    self.lines: list[str] = []
    self.members: dict[str, Member] = {}

  def start(
    self, values: Values, workers: int = 2, servers: int = 1, **others: Values
  ) -> dict[str, Member]:
    """Starts a cluster; others[TYPE] are the flag values of the tasks of a type."""
    for name, configuration in configurations(workers, servers, False).items():
      self.start_one(name, configuration, others.get(name.split()[0], values))
    return self.members

  def start_one(self, name: str, configuration: str, values: Values) -> None:
    self.members[name] = Member(name, configuration, command(values), self.lines.append)

  @property
  def output(self) -> str:
    return '\n'.join(self.lines)

  def wait(self) -> dict[str, int]:
    """Waits until all have ended; returns their exit statuses."""
    deadline = time.monotonic() + LIMIT
    while any(member.process.poll() is None for member in self.members.values()):
      assert time.monotonic() < deadline, self.output
      time.sleep(0.05)
    return {name: member.wait() for name, member in self.members.items()}

  def wait_for(self, pattern: str) -> None:
    """Waits until something like this is said."""
    deadline = time.monotonic() + LIMIT
    while not re.search(pattern, self.output):
      assert time.monotonic() < deadline, self.output
      time.sleep(0.05)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '3')
  made = Cluster()
  yield made
  for member in made.members.values():
    member.signal(signal.SIGKILL)
    member.process.wait()


def steps(folder: pathlib.Path) -> list[int]:
  return list(checkpoints.find(str(folder)))


@pytest.mark.slow
def test_two_synchronous_workers_equal_one_process_with_two_episodes_a_step(
  cluster: Cluster,
  make_values: Callable[..., Values],
  run_training: Callable[[Values], int],
  read_variables: Callable[[str], dict[str, np.ndarray]],
  tmp_path: pathlib.Path,
) -> None:
  """From one checkpoint, with dropout."""
  one, two = tmp_path / 'one', tmp_path / 'two'
  common = {'seed': 3, 'dropout_rate': 0.2, 'train_steps': 12}
  alone = make_values(**common, train_log_dir=str(one), episodes_per_step=2)
  run_training(alone | {'train_steps': 1})
  two.mkdir()
  for path in one.glob('model-1.*'):
    shutil.copy(path, two)
  run_training(alone)
  cluster.start(make_values(**common, train_log_dir=str(two), sync_replicas=True), servers=2)
  assert set(cluster.wait().values()) == {0}, cluster.output
  assert 'worker 0 stopped at step 12 of 12 after 11 steps of its own' in cluster.output
  expected, found = (read_variables(str(folder / 'model-12')) for folder in (one, two))
  assert expected.keys() == found.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5, err_msg=name)
  begun = read_variables(str(one / 'model-1'))
  assert any(np.abs(value - begun[name]).max() > 1e-3 for name, value in expected.items())


@pytest.mark.slow
def test_a_lost_parameter_server_ends_all_others_with_one_message_each(
  cluster: Cluster, make_values: Callable[..., Values], tmp_path: pathlib.Path
) -> None:
  values = make_values(
    train_log_dir=str(tmp_path), train_steps=1_000_000, steps_between_saves=10, sync_replicas=True
  )
  members = cluster.start(values, servers=2)
  cluster.wait_for(r'worker 0 joins at step')
  members['ps 1'].signal(signal.SIGKILL)
  statuses = cluster.wait()
  assert statuses == {'chief 0': 1, 'worker 0': 1, 'ps 0': 1, 'ps 1': -signal.SIGKILL}
  for name in ('chief 0', 'worker 0', 'ps 0'):
    said = [line for line in cluster.lines if line.startswith(f'[{name}]') and 'was lost' in line]
    assert len(said) == 1, cluster.output
  assert 'Traceback' not in cluster.output


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_chief_come_back(
  cluster: Cluster, make_values: Callable[..., Values], tmp_path: pathlib.Path
) -> None:
  """At the end the data of the worker are cut off, which ends it with one line."""
  values = make_values(
    train_log_dir=str(tmp_path), train_steps=1_000_000, steps_between_saves=10, sync_replicas=True
  )
  data = shutil.copytree(values['data_numpy_dir'], tmp_path / 'data')
  members = cluster.start(values, worker=values | {'data_numpy_dir': str(data)})
  cluster.wait_for(r'worker 0 joins at step')
  for name in ('worker 0', 'chief 0'):
    before = cluster.output.count(f'{name.removesuffix(" 0") if "chief" in name else name} joins')
    members[name].signal(signal.SIGKILL)
    members[name].process.wait()
    own = values | {'data_numpy_dir': str(data)} if 'worker' in name else values
    cluster.start_one(name, members[name].configuration, own)
    title = 'chief' if name == 'chief 0' else name
    cluster.wait_for(rf'(?s)({title} joins.*){{{before + 1}}}')
    last = steps(tmp_path)[-1]
    deadline = time.monotonic() + LIMIT
    while steps(tmp_path)[-1] < last + 20:
      assert time.monotonic() < deadline, cluster.output
      time.sleep(0.05)
  os.truncate(data / 'tiny.npy', 200)
  cluster.wait_for(r'\[worker 0\] error: .*tiny\.npy was changed while it was in use')
  for member in members.values():  # as an orchestrator ends all of them
    member.signal(signal.SIGTERM)
  assert cluster.wait() == {'chief 0': 0, 'worker 0': 2, 'ps 0': 0}, cluster.output


@pytest.mark.slow
def test_a_worker_with_another_model_is_refused(
  cluster: Cluster, make_values: Callable[..., Values], tmp_path: pathlib.Path
) -> None:
  values = make_values(train_log_dir=str(tmp_path), train_steps=3)
  cluster.start(values, worker=values | {'heads': 2})
  cluster.wait_for(r'error: .*--heads')
  assert cluster.members['worker 0'].process.wait(timeout=LIMIT) == 2


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_error(
  make_values: Callable[..., Values], tmp_path: pathlib.Path
) -> None:
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    address = f'127.0.0.1:{taken.getsockname()[1]}'
    cluster = {'chief': [address], 'ps': ['127.0.0.1:1']}
    done = subprocess.run(
      command(make_values(train_log_dir=str(tmp_path))),
      env=os.environ
      | {
        'PYTHONPATH': str(ROOT),
        'TF_CONFIG': json.dumps({'cluster': cluster, 'task': {'type': 'chief', 'index': 0}}),
      },
      capture_output=True,
      text=True,
      check=False,
    )
  assert done.returncode == 2
  (error,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  assert address in error
  assert 'Address already in use' in error


@pytest.mark.slow
def test_an_evaluator_has_the_same_command_line(
  make_values: Callable[..., Values], trained: Any, tmp_path: pathlib.Path
) -> None:
  folder = tmp_path / 'copy'
  shutil.copytree(trained.folder, folder)
  configuration = {'cluster': {}, 'task': {'type': 'evaluator', 'index': 0}}
  done = subprocess.run(
    command(trained.values | {'train_log_dir': str(folder)}),
    env=os.environ | {'PYTHONPATH': str(ROOT), 'TF_CONFIG': json.dumps(configuration)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert 'Checkpoint 6 of train_steps=6 is evaluated' in done.stderr
  assert (folder / 'eval' / 'results.jsonl').exists()
