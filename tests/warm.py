"""Starts our programs as forks of a process that has already imported TensorFlow.

The import takes three seconds of a core, and the tests start more than a hundred programs. Each is
still a process of its own, and a child of the process of the tests. Programs whose start itself is
tested, by other variables of Python or TensorFlow, are started as usual, and so are the tasks of a
cluster: as forks they would choose the same random numbers for what they send to each other.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import inspect
import os
import pathlib
import pickle
import runpy
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
_SUBREAPER = 36  # of prctl: orphans below become children of this process
_OF_THE_START = 'PYTHON', 'TF_', 'LC_', 'LANG'  # variables that are looked at during the start
_OF_THE_PROGRAM = {'PYTHONUNBUFFERED', 'TF_CPP_MIN_LOG_LEVEL'}
_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_signature = inspect.signature(_execute)


class Popen(subprocess.Popen):
  """As subprocess.Popen, but fast for `python -m hypertransformer...` and `python utils/...`."""

  def _execute_child(self, *values: Any, **named: Any) -> None:
    given = _signature.bind(self, *values, **named).arguments
    if not _can_be_forked(given):
      _execute(self, *values, **named)
      return
    program = {
      'words': [os.fspath(word) for word in given['args'][1:]],
      'folder': os.path.abspath(given['cwd'] or '.'),
      'environment': dict(given['env'] or os.environ),
      'session': given['start_new_session'],
    }
    streams = [given[name] for name in ('p2cread', 'c2pwrite', 'errwrite')]
    self.pid = _fork(program, [number if fd < 0 else fd for number, fd in enumerate(streams)])
    self._child_created = True
    ends = 'p2cread', 'p2cwrite', 'c2pread', 'c2pwrite', 'errread', 'errwrite'
    self._close_pipe_fds(*(given[name] for name in ends))  # type: ignore[attr-defined]


def _of_the_start(environment: Mapping[str, str]) -> dict[str, str]:
  return {
    name: value
    for name, value in environment.items()
    if name.startswith(_OF_THE_START) and name not in _OF_THE_PROGRAM
  }


_ENVIRONMENT = dict(os.environ)  # tests may change some of it


def _can_be_forked(given: dict[str, Any]) -> bool:
  words, environment = given['args'], given['env'] or os.environ
  if isinstance(words, str) or given['preexec_fn'] or given['pass_fds'] or len(words) < 3:
    return False
  module = words[1] == '-m' and words[2].split('.')[0] == 'hypertransformer'
  script = (pathlib.Path(given['cwd'] or '.') / words[1]).resolve().parent == ROOT / 'utils'
  return (
    sys.platform == 'linux'
    and words[0] == sys.executable
    and (module or script)
    and _of_the_start(environment) == _of_the_start(_ENVIRONMENT)
    and environment.get('PYTHONPATH') == str(ROOT)
    and 'TF_CPP_MIN_LOG_LEVEL' in environment
  )


class _Forge:
  """The process that is forked, as the process of the tests sees it."""

  def __init__(self) -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    self.socket, theirs = socket.socketpair()
    with theirs:
      command = [sys.executable, '-m', 'tests.warm', str(theirs.fileno())]
      environment = _ENVIRONMENT | {'TF_CPP_MIN_LOG_LEVEL': '3'}  # TensorFlow looks at it once
      self.process = subprocess.Popen(
        command, pass_fds=[theirs.fileno()], cwd=ROOT, env=environment
      )


_forges: list[_Forge] = []


def _fork(program: dict[str, Any], streams: list[int]) -> int:
  """Start a program with these files as stdin, stdout and stderr; return its process id."""
  if not _forges:
    _forges.append(_Forge())
  forge = _forges[0].socket
  socket.send_fds(forge, [pickle.dumps(program)], streams)
  return array.array('i', forge.recv(4))[0]


def _serve(tests: socket.socket) -> dict[str, Any]:
  """Fork a process for each program that is asked for; return only in these."""
  while True:
    message, streams, *_ = socket.recv_fds(tests, 1 << 20, 3)
    if not message:
      os._exit(0)  # the tests have ended
    told, tells = os.pipe()
    if (middle := os.fork()) == 0:
      if (pid := os.fork()) == 0:
        for number, stream in enumerate(streams):
          os.dup2(stream, number)
        os.closerange(3, 1 << 16)
        return pickle.loads(message)
      os.write(tells, array.array('i', [pid]))
      os._exit(0)
    os.waitpid(middle, 0)  # from now on the program is a child of the tests
    tests.send(os.read(told, 4))
    for stream in (*streams, told, tells):
      os.close(stream)


def _become(program: dict[str, Any]) -> None:
  """Set what a process has from its start."""
  os.environ.clear()
  os.environ.update(program['environment'])
  os.chdir(program['folder'])
  if program['session']:
    os.setsid()
  sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
  sys.stdout = sys.__stdout__ = open(1, 'w', closefd=False)  # noqa: SIM115
  sys.stderr = sys.__stderr__ = open(2, 'w', closefd=False, errors='backslashreplace')  # noqa: SIM115
  sys.stdout.reconfigure(write_through='PYTHONUNBUFFERED' in os.environ)
  sys.stderr.reconfigure(line_buffering=True)


def _run(words: list[str]) -> int:
  """Run `python WORDS`, and return its exit status."""
  is_module = words[0] == '-m'
  sys.argv = words[is_module:]
  sys.path[0] = os.getcwd() if is_module else os.path.dirname(words[0])
  try:
    (runpy.run_module if is_module else runpy.run_path)(sys.argv[0], run_name='__main__')
  except SystemExit as end:
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  except BaseException:
    traceback.print_exc()
    return 1
  return 0


def main() -> None:
  """Import what programs need, and become one of them after the other."""
  from hypertransformer import cli

  cli.import_tensorflow()
  import hypertransformer.evaluation.daemon
  import hypertransformer.learners.engine
  import hypertransformer.training.distributed  # noqa: F401

  program = _serve(socket.socket(fileno=int(sys.argv[1])))
  _become(program)
  status = _run(program['words'])
  threading._shutdown()  # type: ignore[attr-defined]
  atexit._run_exitfuncs()
  sys.stdout.flush()
  os._exit(status)  # Python would take half a second to take everything apart


if __name__ == '__main__':
  main()
