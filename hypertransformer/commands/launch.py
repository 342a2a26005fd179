"""Start a training cluster of several processes on this machine, for testing (docs/cluster.md).

  hypertransformer launch --workers=2 quickstart --train_log_dir=logs/cluster

The arguments are [--ps=1] [--sync] [--evaluator] RECIPE [flags of train]. RECIPE is a recipe or the
path of a shell script that ends in a command of training. --workers is the number of training
processes, including the chief. Addresses are free ports of the loopback address. Every line of
output begins with the name of its process. The cluster ends when one process fails, or at Ctrl-C:
then the chief saves a checkpoint, and the others end after it.

The exit status is 0 if that of all processes is 0, else the first that was not; 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from hypertransformer import cli
from hypertransformer.runtime import signals
from hypertransformer.settings import recipes

HOST = '127.0.0.1'
# The processes find each other without the proxy of the web, if there is one.
_NO_PROXY = {
  name: ','.join(filter(None, [os.environ.get(name), HOST, 'localhost']))
  for name in ('no_proxy', 'no_grpc_proxy')
  if name == 'no_proxy' or name in os.environ
}
SECONDS_TO_END = 90.0  # that processes have after a signal, or after the chief


def _print(line: str) -> None:
  sys.stdout.write(f'{line}\n')  # in one piece, as several threads print
  sys.stdout.flush()


class Member:
  """One process of the cluster, and a thread that takes its output.

  Attributes:
    name: such as 'worker 0'.
    configuration: its TF_CONFIG.
    process: the process, which leads a process group of its own.
  """

  def __init__(
    self, name: str, configuration: str, command: list[str], say: Callable[[str], None] = _print
  ) -> None:
    """Start the process; `say` is called with each line of its output, after its name."""
    self.name, self.configuration = name, configuration
    self.process = subprocess.Popen(
      command,
      env=os.environ | _NO_PROXY | {'TF_CONFIG': configuration, 'PYTHONUNBUFFERED': '1'},
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    output = self.process.stdout
    assert output is not None

    def copy() -> None:
      for line in output:
        say(f'[{name}] {line.decode(errors="replace").rstrip()}')

    self._printing = threading.Thread(target=copy, daemon=True)
    self._printing.start()

  def signal(self, number: int) -> None:
    """Send a signal to all processes of its group, if it has not ended."""
    if self.process.poll() is None:
      os.killpg(self.process.pid, number)

  def wait(self) -> int:
    """Wait until it has ended and all its output is written; return its exit status."""
    status = self.process.wait()
    self._printing.join(timeout=5)
    return status


def configurations(workers: int, servers: int, evaluator: bool) -> dict[str, str]:
  """Return the value of TF_CONFIG for each process, by its name."""
  counts = {'chief': 1, 'worker': workers - 1, 'ps': servers}
  ports = iter(free_ports(sum(counts.values())))
  cluster = {
    type_: [f'{HOST}:{next(ports)}' for _ in range(count)]
    for type_, count in counts.items()
    if count
  }
  tasks = [(type_, index) for type_ in cluster for index in range(len(cluster[type_]))]
  return {
    f'{type_} {index}': json.dumps({'cluster': cluster, 'task': {'type': type_, 'index': index}})
    for type_, index in [*tasks, *([('evaluator', 0)] if evaluator else [])]
  }


def free_ports(count: int) -> list[int]:
  """Return ports of the loopback address that are free."""
  sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
  ports = [each.getsockname()[1] for each in sockets]
  for each in sockets:
    each.close()
  return ports


def wait(members: list[Member], stopped: list[int]) -> None:
  """Wait until all have ended, or one has failed, or a signal came (which is put in `stopped`)."""
  deadline = float('inf')
  while any(member.process.poll() is None for member in members):
    if stopped or any(member.process.poll() for member in members):
      return
    if members[0].process.poll() is not None:
      deadline = min(deadline, time.monotonic() + SECONDS_TO_END)
    training = [m for m in members if not m.name.startswith('evaluator')]
    if time.monotonic() > deadline and any(m.process.poll() is None for m in training):
      return
    time.sleep(0.1)


def end(members: list[Member]) -> None:
  """End all that still run: by a signal that lets the chief save, and then by force."""
  for member in members:
    member.signal(signal.SIGTERM)
  deadline = time.monotonic() + SECONDS_TO_END
  while any(m.process.poll() is None for m in members) and time.monotonic() < deadline:
    time.sleep(0.1)
  for member in members:
    member.signal(signal.SIGKILL)
    member.wait()


def command_of(name: str) -> list[str]:
  """Return the command that trains with a recipe, or that runs a script.

  Raises:
    InputError: There is neither a file nor a recipe of this name.
  """
  if os.path.isfile(name):
    return ['bash', name]
  recipe = name.removesuffix('.sh')
  recipes.flagfile(recipe)
  return [sys.executable, '-m', 'hypertransformer', 'train', recipe]


def main() -> int:
  """Start the cluster, wait for it and return the exit status."""
  parser = argparse.ArgumentParser(
    prog='hypertransformer launch',
    description=__doc__,
    formatter_class=argparse.RawTextHelpFormatter,
  )
  parser.add_argument('--workers', type=int, required=True, help='processes that train')
  parser.add_argument('--ps', type=int, default=1, help='parameter servers')
  parser.add_argument('--sync', action='store_true', help='all workers make each update together')
  parser.add_argument('--evaluator', action='store_true', help='start an evaluator, too')
  parser.add_argument('script', help='a recipe, or the path of a script')
  parser.add_argument('args', nargs=argparse.REMAINDER, help='its flags')
  chosen = parser.parse_args()
  if chosen.workers < 1 or chosen.ps < 1:
    parser.error('--workers and --ps must be at least 1')
  sync = ['--sync_replicas'] if chosen.sync else []
  with cli.exit_on_bad_input():
    command = [*command_of(chosen.script), *chosen.args, *sync]
  stopped: list[int] = []
  signals.handle(lambda received, frame: stopped.append(received))
  members: list[Member] = []
  try:
    tasks = configurations(chosen.workers, chosen.ps, chosen.evaluator)
    for name, configuration in tasks.items():
      members.append(Member(name, configuration, command))
    wait(members, stopped)
  finally:
    failed = [member for member in members if member.process.poll()]
    end(members)
  for member in failed:
    print(f'{member.name} ended with status {member.process.returncode}', file=sys.stderr)
  statuses = [m.process.returncode for m in (*failed, *members) if m.process.returncode]
  return 0 if not statuses else statuses[0] if statuses[0] > 0 else 1


if __name__ == '__main__':
  sys.exit(main())
