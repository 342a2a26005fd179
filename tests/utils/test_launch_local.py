"""scripts/launch_local.sh: a cluster on this machine, of which nothing is left at the end."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from hypertransformer.commands import launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = str(ROOT / 'scripts' / 'launch_local.sh')
ENVIRONMENT = os.environ | {'PYTHON': sys.executable, 'TF_CPP_MIN_LOG_LEVEL': '3'}


def test_every_process_has_a_free_port_of_the_loopback_address() -> None:
  tasks = launch.configurations(workers=3, servers=2, evaluator=True)
  assert list(tasks) == ['chief 0', 'worker 0', 'worker 1', 'ps 0', 'ps 1', 'evaluator 0']
  ports = re.findall(r'127\.0\.0\.1:(\d+)', tasks['chief 0'])
  assert len(set(ports)) == 5
  assert re.findall(r'127\.0\.0\.1:(\d+)', tasks['evaluator 0']) == ports
  assert '"type": "worker", "index": 1' in tasks['worker 1']
  assert 'worker' not in launch.configurations(1, 1, False)['chief 0']


def test_the_processes_find_each_other_without_a_proxy() -> None:
  code = 'from hypertransformer.commands import launch; print(launch._NO_PROXY)'
  environment = os.environ | {'no_proxy': 'a,b', 'http_proxy': 'http://p:3128'}
  environment.pop('no_grpc_proxy', None)
  found = subprocess.run(
    [sys.executable, '-c', code], env=environment, check=True, capture_output=True, text=True
  )
  assert found.stdout == "{'no_proxy': 'a,b,127.0.0.1,localhost'}\n"


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--workers=2', 'no_such_run'], "'no_such_run'"),
    (['omniglot_1shot_v2'], '--workers'),
    (['--workers=0', 'omniglot_1shot_v2'], '--workers and --ps must be at least 1'),
    (['--workers=x', 'omniglot_1shot_v2'], "invalid int value: 'x'"),
  ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str) -> None:
  done = subprocess.run(
    ['bash', LAUNCH, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 2
  assert message in done.stderr


def processes_with(text: str) -> list[str]:
  """The ids of running processes whose command line has this text."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    try:
      if text.encode() in path.read_bytes():
        found.append(path.parent.name)
    except OSError:
      continue  # it has ended meanwhile
  return found


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks for processes in /proc')
def test_ctrl_c_saves_a_checkpoint_and_ends_every_process(
  make_values: Callable[..., Any], tmp_path: pathlib.Path, examples: Any
) -> None:
  """And then, where one of them fails at once, the others are ended as well."""
  logs = tmp_path / 'logs'
  values = make_values(train_log_dir=str(logs), train_steps=1_000_000)
  script = tmp_path / 'tiny.sh'
  given = [f'--{name}={x}' for name, x in values.items() if x is not None]
  command, *words = examples('launch')[0]
  script.write_text(f'exec bash {ROOT}/scripts/run.sh train {shlex.join(given)} "$@"\n')
  started = subprocess.Popen(
    [sys.executable, '-m', 'hypertransformer', command, '--sync', *words, *given],
    env=ENVIRONMENT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )
  assert started.stdout is not None
  lines: list[str] = []
  for line in started.stdout:
    lines.append(line)
    if 'worker 0 joins at step' in line:
      break
  time.sleep(1.0)
  os.killpg(started.pid, signal.SIGINT)
  lines += started.stdout.readlines()
  assert started.wait(timeout=120) == 0, ''.join(lines)
  assert {re.match(r'\[(\w+ \d)\] ', line)[1] for line in lines} == {  # type: ignore[index]
    'chief 0',
    'worker 0',
    'ps 0',
  }
  assert processes_with(str(logs)) == []
  stopped = re.search(r'Stopped at step (\d+) .* by a signal', ''.join(lines))
  assert stopped is not None
  assert (logs / f'model-{stopped[1]}.index').exists()
  failed = subprocess.run(
    ['bash', LAUNCH, '--workers=2', str(script), '--heads=0'],
    env=ENVIRONMENT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert failed.returncode == 2
  assert 'error: ' in failed.stdout
  assert processes_with(str(logs)) == []
