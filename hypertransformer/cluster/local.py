"""A cluster of processes on this machine: its addresses, and its processes with their output."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

HOST = '127.0.0.1'


def _print(line: str) -> None:
  sys.stdout.write(line)
  sys.stdout.flush()


@dataclasses.dataclass
class Member:
  """One process of the cluster.

  Attributes:
    name: such as 'worker 0'.
    process: the process, which leads a process group of its own.
    configuration: its TF_CONFIG.
    printing: the thread that takes its output.
  """

  name: str
  process: subprocess.Popen[bytes]
  configuration: str
  printing: threading.Thread

  def signal(self, number: int) -> None:
    """Sends a signal to all processes of its group, if it has not ended."""
    if self.process.poll() is None:
      os.killpg(self.process.pid, number)


def free_ports(count: int) -> list[int]:
  """Finds ports of the loopback address that nobody listens at."""
  sockets = [socket.socket() for _ in range(count)]
  try:
    for each in sockets:
      each.bind((HOST, 0))
    return [each.getsockname()[1] for each in sockets]
  finally:
    for each in sockets:
      each.close()


def configurations(workers: int, servers: int, evaluator: bool) -> dict[str, str]:
  """The value of TF_CONFIG for each process, by its name."""
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


def start(
  name: str, configuration: str, command: list[str], say: Callable[[str], None] = _print
) -> Member:
  """Starts one process, and a thread that takes its output.

  Args:
    name: the name of the process.
    configuration: its TF_CONFIG.
    command: its command line.
    say: is called with each line of its output, with the name before it.
  """
  process = subprocess.Popen(
    command,
    env=os.environ | {'TF_CONFIG': configuration},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    start_new_session=True,
  )
  assert process.stdout is not None
  output = process.stdout

  def copy() -> None:
    for line in output:
      say(f'[{name}] {line.decode(errors="replace")}')

  printing = threading.Thread(target=copy, daemon=True)
  printing.start()
  return Member(name, process, configuration, printing)
