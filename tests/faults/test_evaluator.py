"""The evaluator as a process, while things go wrong around it.

No result may be written twice or be lost; every trouble has one line that names the thing.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypertransformer.settings import flags
from tests.faults.processes import fill, small_disk, standing_still

PATIENCE = 120.0  # seconds that a process may take for anything, on a busy machine
STEPS = (0, 3, 6)  # of the checkpoints of the run `trained`
PRESETS = ('val', 'test')
MODULE = 'hypertransformer.evaluate_model'


class Process:
  """An evaluator that runs beside the test.

  Attributes:
    process: the process.
  """

  def __init__(self, words: list[str], log: pathlib.Path, limit: int | None) -> None:
    def prepare() -> None:
      signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
      if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    self._log = log
    with log.open('w') as file:
      self.process = subprocess.Popen(
        [sys.executable, '-m', MODULE, *words],
        stdout=file,
        stderr=subprocess.STDOUT,
        preexec_fn=prepare,
      )

  def printed(self) -> str:
    return self._log.read_text()

  def wait_for(self, happened: Callable[[], Any], what: str) -> None:
    """Waits until something has happened; fails if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
      assert self.process.poll() is None, f'ended before {what}:\n{self.printed()}'
      assert time.monotonic() < deadline, f'no {what}:\n{self.printed()}'
      time.sleep(0.05)

  def wait_for_line(self, text: str) -> None:
    self.wait_for(lambda: text in self.printed(), f'line with {text!r}')

  def end(self, status: int) -> str:
    """Waits for its end, which must be with this status; returns what it printed."""
    assert self.process.wait(PATIENCE) == status, self.printed()
    assert 'Traceback' not in self.printed(), self.printed()
    return self.printed()

  def stop(self) -> str:
    """Ends it as Ctrl-C does; returns what it printed."""
    self.process.send_signal(signal.SIGINT)
    return self.end(0)


Start = Callable[..., Process]


@pytest.fixture
def start(trained: Any, tmp_path: pathlib.Path) -> Iterator[Start]:
  """start(folder, limit=None, **changes): an evaluator of the run in a folder.

  It waits for ever for more checkpoints; `limit` is the largest size of a file, in bytes.
  """
  started: list[Process] = []

  def make(folder: pathlib.Path, limit: int | None = None, **changes: Any) -> Process:
    values = trained.values | {
      'train_log_dir': str(folder),
      'train_steps': 1000,
      'eval_datasets': 'val=tiny:20-24,test=tiny:25-29',
    }
    values |= changes
    words = [
      f'--{name}={value}' for name, value in values.items() if value != flags.defaults()[name]
    ]
    started.append(Process(words, tmp_path / f'evaluator_{len(started)}.log', limit))
    return started[-1]

  yield make
  for process in started:
    process.process.kill()
    process.process.wait()


@pytest.fixture
def logs(trained: Any, tmp_path: pathlib.Path) -> pathlib.Path:
  """A copy of the folder of a run, with checkpoints of STEPS."""
  return pathlib.Path(shutil.copytree(trained.folder, tmp_path / 'logs'))


def results(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The results so far; other lines are left out."""
  path = folder / 'eval' / 'results.jsonl'
  if not path.exists():
    return []
  lines = []
  for text in path.read_bytes().split(b'\n'):
    with contextlib.suppress(ValueError):
      lines.append(json.loads(text))
  return [line for line in lines if isinstance(line, dict) and 'accuracy' in line]


def counts(folder: pathlib.Path) -> dict[tuple[int, str], int]:
  """How many results there are of each step and preset."""
  return dict(collections.Counter((line['step'], line['preset']) for line in results(folder)))


EACH_ONCE = {(step, preset): 1 for step in STEPS for preset in PRESETS}


def left_overs(folder: pathlib.Path) -> list[str]:
  """Temporary files of evaluators."""
  return sorted(
    path.name
    for path in folder.rglob('*')
    if path.name.startswith('.') or path.name.endswith('.part')
  )


@pytest.mark.slow
def test_a_second_evaluator_says_so_and_leaves(logs: pathlib.Path, start: Start) -> None:
  """A single checkpoint can be evaluated beside the first one. When that is killed, the next one
  takes its place.
  """
  first = start(logs)
  first.wait_for(lambda: counts(logs) == EACH_ONCE, 'results')
  printed = start(logs).end(2)
  (error,) = [line for line in printed.splitlines() if line.startswith('error: ')]
  assert f'another evaluator works in {logs}/eval: process {first.process.pid} on ' in error
  once = start(logs, eval_once=True).end(0)
  assert 'step 6  val: ' in once
  assert counts(logs) == EACH_ONCE | {(6, preset): 2 for preset in PRESETS}
  assert first.process.poll() is None
  first.process.kill()
  first.process.wait()
  third = start(logs)
  third.wait_for_line('test at step 6 is in ')
  third.stop()
  assert counts(logs) == EACH_ONCE | {(6, preset): 2 for preset in PRESETS}
  assert left_overs(logs) == []


@pytest.mark.slow
def test_kills_at_any_time_cost_nothing(logs: pathlib.Path, start: Start) -> None:
  """After six of them, each result is there once, and nothing is left behind."""
  for count in range(6):
    evaluator = start(logs, num_task_evals=50)
    evaluator.wait_for_line('Waiting for checkpoints')
    time.sleep(0.1 * count)
    evaluator.process.kill()
    evaluator.process.wait()
  last = start(logs, num_task_evals=50, train_steps=6)
  last.end(0)
  assert counts(logs) == EACH_ONCE
  assert left_overs(logs) == []
  best = json.loads((logs / 'best' / 'best.json').read_text())
  on_val = [line for line in results(logs) if line['preset'] == 'val']
  assert best['accuracy'] == max(line['accuracy'] for line in on_val)


@pytest.mark.slow
def test_results_that_cannot_be_written_are_written_later(logs: pathlib.Path, start: Start) -> None:
  """Here no file may grow beyond a limit, which results.jsonl has reached."""
  sizes = [path.stat().st_size for path in logs.glob('model-*')]
  limit = max(sizes) + 20_000
  file = logs / 'eval' / 'results.jsonl'
  file.parent.mkdir()
  foreign = b'\xff\xfenull\n' * ((limit - 10) // 7)
  file.write_bytes(foreign + b'\n' * (limit - 10 - len(foreign)))
  evaluator = start(logs, limit=limit, train_steps=6)
  printed = evaluator.end(2)
  assert printed.count(f'{file} cannot be written (File too large)') == 1
  assert f'error: 6 results could not be written to {file} (File too large)' in printed
  assert file.stat().st_size == limit - 10, 'a line that is cut off is taken back'
  start(logs, train_steps=6).end(0)
  assert counts(logs) == EACH_ONCE


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while(
  trained: Any, tmp_path: pathlib.Path, start: Start
) -> None:
  """Checkpoints cannot be copied then; when there is room again all are evaluated."""
  logs = tmp_path / 'small'
  with small_disk(logs, 4):
    shutil.copytree(trained.folder, logs, dirs_exist_ok=True)
    (logs / 'eval').mkdir()
    fill(logs / 'large')
    evaluator = start(logs)
    left_out = 'is left out: it cannot be copied'
    evaluator.wait_for(lambda: evaluator.printed().count(left_out) == len(STEPS), 'warnings')
    assert 'No space left on device' in evaluator.printed()
    (logs / 'large').unlink()
    evaluator.wait_for(lambda: counts(logs) == EACH_ONCE, 'results')
    evaluator.wait_for((logs / 'best' / 'best.json').exists, 'best checkpoint')
    printed = evaluator.stop()
    assert printed.count(left_out) == len(STEPS)
    assert left_overs(logs) == []


@pytest.mark.slow
def test_a_disk_that_is_full_while_results_are_written(
  trained: Any, tmp_path: pathlib.Path, start: Start
) -> None:
  """The disk fills up while the first checkpoint is evaluated, which takes a moment."""
  logs = tmp_path / 'small'
  with small_disk(logs, 4):
    shutil.copytree(trained.folder, logs, dirs_exist_ok=True)
    evaluator = start(logs, num_task_evals=400)
    evaluator.wait_for(lambda: list((logs / 'eval').glob('.checkpoint-*/*.index')), 'copy')
    fill(logs / 'large')
    evaluator.wait_for_line('results.jsonl cannot be written (No space left on device)')
    assert results(logs) == []
    (logs / 'large').unlink()
    evaluator.wait_for(lambda: counts(logs) == EACH_ONCE, 'results')
    evaluator.stop()
    assert left_overs(logs) == []
    best = json.loads((logs / 'best' / 'best.json').read_text())
    on_val = [line for line in results(logs) if line['preset'] == 'val']
    assert best['accuracy'] == max(line['accuracy'] for line in on_val)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(
  trained: Any, tmp_path: pathlib.Path, start: Start
) -> None:
  logs = tmp_path / 'small'
  with small_disk(logs, 4):
    shutil.copytree(trained.folder, logs, dirs_exist_ok=True)
    (logs / 'eval').mkdir()
    subprocess.run(['mount', '-o', 'remount,ro', str(logs)], check=True)
    for changes in ({}, {'eval_once': True}):
      printed = start(logs, **changes).end(2)
      (error,) = [line for line in printed.splitlines() if line.startswith('error: ')]
      assert 'cannot be written: Read-only file system; make the folder writable' in error


@pytest.mark.slow
@pytest.mark.parametrize('when', ['waiting', 'evaluating'])
def test_the_folder_of_results_is_deleted(
  logs: pathlib.Path, trained: Any, start: Start, when: str
) -> None:
  """Results go on in a new folder, TensorBoard's too, and the lock is there again."""
  for step in (3, 6):
    for path in logs.glob(f'model-{step}.*'):
      path.unlink()
  evaluator = start(logs, num_task_evals=400)
  if when == 'waiting':
    evaluator.wait_for(lambda: len(results(logs)) == 2, 'results')
  else:
    evaluator.wait_for(lambda: list((logs / 'eval').glob('.checkpoint-*/*.index')), 'copy')
    time.sleep(0.5)
  with standing_still(evaluator.process):
    shutil.rmtree(logs / 'eval')
  for path in trained.folder.glob('model-6.*'):
    shutil.copy2(path, logs)
  evaluator.wait_for(lambda: (6, 'test') in counts(logs), 'results')
  evaluator.wait_for((logs / 'eval' / '.evaluator.lock').exists, 'lock')
  assert 'another evaluator works' in start(logs).end(2)
  evaluator.stop()
  assert counts(logs)[6, 'val'] == counts(logs)[6, 'test'] == 1
  assert len(list((logs / 'eval').glob('events.*'))) == 1
  assert left_overs(logs) == []


@pytest.mark.slow
def test_a_folder_that_has_moved_is_not_evaluated_again(
  logs: pathlib.Path, start: Start, tmp_path: pathlib.Path
) -> None:
  start(logs, train_steps=6).end(0)
  before = (logs / 'eval' / 'results.jsonl').read_text()
  assert str(tmp_path) not in before
  moved = logs.rename(tmp_path / 'elsewhere')
  start(moved, train_steps=6).end(0)
  assert (moved / 'eval' / 'results.jsonl').read_text() == before


@pytest.mark.slow
def test_an_evaluator_with_other_flags_than_the_run_ends(logs: pathlib.Path, start: Start) -> None:
  printed = start(logs, cnn_activation='lrelu').end(2)
  (error,) = [line for line in printed.splitlines() if line.startswith('error: ')]
  assert "its run has other flags: --cnn_activation was 'relu', is 'lrelu'. Use the flags" in error
