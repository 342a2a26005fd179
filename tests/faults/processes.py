"""Starts the programs as processes of their own, for tests that interrupt and break them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_SECS = 300  # after which a test that waits for something fails


@dataclasses.dataclass
class Program:
  """`python -m hypertransformer.NAME` with given flags.

  Attributes:
    name: of the program: train or evaluate_model.
    values: all flag values by name; they may be changed between starts.
    output: file that takes what the newest process prints.
    started: all processes that were started.
  """

  name: str
  values: dict[str, Any]
  output: pathlib.Path
  started: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

  @property
  def folder(self) -> pathlib.Path:
    """The log folder of the run."""
    return pathlib.Path(self.values['train_log_dir'])

  def start(self, **options: Any) -> subprocess.Popen[bytes]:
    """Starts the program and does not wait for it; the options are those of Popen."""
    defaults = flags.defaults()
    arguments = [f'--{name}={v}' for name, v in self.values.items() if v != defaults[name]]
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '3'}
    with self.output.open('wb') as file:
      self.started.append(
        subprocess.Popen(
          [sys.executable, '-m', f'hypertransformer.{self.name}', *arguments],
          cwd=self.output.parent,
          **{'stderr': file, 'stdout': file, 'env': environment, **options},
        )
      )
    return self.started[-1]

  def run(self, **options: Any) -> int:
    """Runs the program to its end, and returns its exit status."""
    return self.start(**options).wait(PATIENCE_SECS)

  def text(self) -> str:
    """What the newest process has printed so far."""
    return self.output.read_text(errors='replace')

  def errors(self) -> list[str]:
    """The error lines among them, after a check that nothing is a traceback."""
    assert 'Traceback' not in self.text(), self.text()
    return [line for line in self.text().splitlines() if line.startswith('error: ')]

  def steps(self) -> list[int]:
    """The steps of all checkpoints that are there, in order."""
    return list(checkpoints.find(str(self.folder)))

  def wait_for(self, what: Callable[[], bool]) -> None:
    """Waits until something is so, while the newest process lives."""
    deadline = time.monotonic() + PATIENCE_SECS
    while not what():
      assert self.started[-1].poll() is None, self.text()
      assert time.monotonic() < deadline, self.text()
      time.sleep(0.01)

  def wait_for_step(self, step: int) -> None:
    """Waits for a checkpoint of this step or a later one."""
    self.wait_for(lambda: bool(self.steps()) and self.steps()[-1] >= step)

  def kill(self) -> None:
    """Kills all processes that are left."""
    for process in self.started:
      process.kill()
      process.wait()


@contextlib.contextmanager
def standing_still(process: subprocess.Popen[bytes]) -> Iterator[None]:
  """Halts a process during the block, so that it makes and removes no files meanwhile."""
  process.send_signal(signal.SIGSTOP)
  os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
  try:
    yield
  finally:
    process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, megabytes: int) -> Iterator[None]:
  """Mounts a disk of this size on a new folder; skips the test where that is refused."""
  folder.mkdir(parents=True)
  done = subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', str(folder)],
    check=False,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    pytest.skip(f'no disk can be mounted here: {done.stderr.strip()}')
  try:
    yield
  finally:
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def fill(path: pathlib.Path) -> None:
  """Fills the disk of a path with this file."""
  with path.open('wb', buffering=0) as file, contextlib.suppress(OSError):
    while file.write(b'x' * 4096) == 4096:
      pass
