"""Starts a cluster on this machine, for trying: scripts/launch_local.sh calls it.

  scripts/launch_local.sh --workers=2 [--ps=1] [--sync] [--evaluator] SCRIPT ARGS...

SCRIPT is a run of scripts/, such as omniglot_1shot_v2, or the path of a script that ends in
train.py's command line. ARGS are passed on to every process. --workers counts those that train, the
chief included. Addresses are free ports of the loopback address. Every line of output begins with
the name of the process that wrote it. The cluster ends when one process fails, or at Ctrl-C: then
the chief saves a checkpoint, and the others end after it.

The exit status is 0 if that of all processes is 0, else the first that was not; 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer.cluster import local
from hypertransformer.cluster.local import Member

SECONDS_TO_END = 90.0  # that processes have after a signal before they are killed
SECONDS_AFTER_THE_CHIEF = 40.0  # that the others have when the chief has ended


def wait(members: list[Member], stopped: list[int]) -> None:
  """Waits until all have ended, or one has failed, or a signal came (which is put in `stopped`)."""
  deadline = float('inf')
  while any(member.process.poll() is None for member in members):
    if stopped or any(member.process.poll() for member in members):
      return
    if members[0].process.poll() is not None:
      deadline = min(deadline, time.monotonic() + SECONDS_AFTER_THE_CHIEF)
    training = [m for m in members if not m.name.startswith('evaluator')]
    if time.monotonic() > deadline and any(m.process.poll() is None for m in training):
      return
    time.sleep(0.1)


def end(members: list[Member]) -> None:
  """Ends all that still run: by a signal that lets the chief save, and then by force."""
  for member in members:
    member.signal(signal.SIGTERM)
  deadline = time.monotonic() + SECONDS_TO_END
  while any(m.process.poll() is None for m in members) and time.monotonic() < deadline:
    if all(m.process.poll() is not None or m.name.startswith('ps') for m in members):
      time.sleep(2.0)  # a parameter server ends by itself after the chief, if that has said so
      break
    time.sleep(0.1)
  for member in members:
    member.signal(signal.SIGKILL)
    member.process.wait()
    member.printing.join(timeout=5)


def script_of(name: str) -> str:
  """The path of a run of scripts/, or of a script; raises SystemExit if there is none."""
  path = ROOT / 'scripts' / f'{name.removesuffix(".sh")}.sh'
  if '/' not in name and path.exists():
    return str(path)
  if os.path.isfile(name):
    return name
  print(
    f'error: {name!r} is no run of scripts/ and no file; expected is such as omniglot_1shot_v2.',
    file=sys.stderr,
  )
  sys.exit(2)


def main() -> int:
  """Starts the cluster, waits for it and returns the exit status."""
  parser = argparse.ArgumentParser(
    prog='launch_local.sh', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--workers', type=int, required=True, help='processes that train')
  parser.add_argument('--ps', type=int, default=1, help='parameter servers')
  parser.add_argument('--sync', action='store_true', help='all workers make each update together')
  parser.add_argument('--evaluator', action='store_true', help='start an evaluator, too')
  parser.add_argument('script', help='a run of scripts/, or the path of a script')
  parser.add_argument('args', nargs=argparse.REMAINDER, help='its flags')
  chosen = parser.parse_args()
  if chosen.workers < 1 or chosen.ps < 1:
    parser.error('--workers and --ps must be at least 1')
  command = ['bash', script_of(chosen.script), *chosen.args]
  command += ['--sync_replicas'] if chosen.sync else []
  stopped: list[int] = []
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda received, frame: stopped.append(received))
  members: list[Member] = []
  try:
    for name, configuration in local.configurations(
      chosen.workers, chosen.ps, chosen.evaluator
    ).items():
      members.append(local.start(name, configuration, command))
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
