"""The evaluator as a process, while things go wrong around it.

No result may be written twice or be lost; every trouble has one line that names the thing.
"""

from __future__ import annotations

import collections
import functools
import pathlib
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypertransformer.evaluation import best, results
from hypertransformer.runtime.signals import STOPPING
from tests.faults.processes import PATIENCE_SECS, Program, fill, small_disk, standing_still

STEPS = (3, 6)  # of the checkpoints of the run `trained` that are evaluated
PRESETS = ('val', 'test')
EACH_ONCE = {(step, preset): 1 for step in STEPS for preset in PRESETS}
pytestmark = pytest.mark.slow
Evaluator = Callable[..., Program]


@pytest.fixture
def evaluator(trained: Any, tmp_path: pathlib.Path) -> Iterator[Evaluator]:
  """evaluator(folder, **changes): an evaluator of the run in a folder, which is not started yet.

  It waits for ever for more checkpoints.
  """
  made: list[Program] = []

  def make(folder: pathlib.Path, **changes: Any) -> Program:
    values = trained.values | {
      'train_log_dir': str(folder),
      'train_steps': 1000,
      'eval_datasets': 'val=tiny:20-24,test=tiny:25-29',
    }
    log = tmp_path / f'evaluator_{len(made)}.log'
    made.append(Program('evaluate_model', values | changes, log))
    return made[-1]

  yield make
  for program in made:
    program.kill()


@pytest.fixture
def logs(trained: Any, tmp_path: pathlib.Path) -> pathlib.Path:
  """A copy of the folder of a run, with checkpoints of STEPS."""
  return pathlib.Path(shutil.copytree(trained.folder, tmp_path / 'logs'))


@pytest.fixture
def disk(trained: Any, tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
  """The same on a small disk of its own."""
  folder = tmp_path / 'small'
  with small_disk(folder, 4):
    shutil.copytree(trained.folder, folder, dirs_exist_ok=True)
    yield folder


def counts(folder: pathlib.Path) -> dict[tuple[int, str], int]:
  """How many results there are of each step and preset."""
  lines = results.read(results.file_of(folder))
  return dict(collections.Counter((line['step'], line['preset']) for line in lines))


def assert_all_is_well(folder: pathlib.Path) -> None:
  """Each result is there once, the best checkpoint is the best, and no temporary files are left."""
  assert counts(folder) == EACH_ONCE
  lines = results.read(results.file_of(folder))
  kept = results.parsed((folder / 'best' / best.BEST_FILE).read_bytes())
  assert kept
  assert kept['accuracy'] == max(line['accuracy'] for line in lines if line['preset'] == 'val')
  names = [path.name for path in folder.rglob('*')]
  assert [name for name in names if name.startswith('.') or name.endswith('.part')] == []


def stop(program: Program, number: int = signal.SIGTERM) -> None:
  """Ends an evaluator as `kill` does."""
  program.started[-1].send_signal(number)
  assert program.started[-1].wait(PATIENCE_SECS) == 0, program.text()


@pytest.mark.parametrize('number', STOPPING)
def test_a_signal_ends_it_with_status_0(
  logs: pathlib.Path, evaluator: Evaluator, number: int
) -> None:
  program = evaluator(logs)
  program.start()
  program.wait_for(lambda: counts(logs) == EACH_ONCE)
  stop(program, number)
  assert program.errors() == []


def test_only_one_evaluator_polls(logs: pathlib.Path, evaluator: Evaluator) -> None:
  """A single checkpoint can be evaluated beside it. When it is killed, the next one takes over."""
  first = evaluator(logs)
  process = first.start()
  first.wait_for(lambda: counts(logs) == EACH_ONCE)
  second = evaluator(logs)
  assert second.run() == 2
  (error,) = second.errors()
  assert f'{logs}/eval' in error
  assert f'process {process.pid} on ' in error
  assert evaluator(logs, eval_once=True).run() == 0
  assert counts(logs) == EACH_ONCE | {(6, preset): 2 for preset in PRESETS}
  assert process.poll() is None
  first.kill()
  second.start()
  second.wait_for(lambda: f'{logs}/model-6 are in' in second.text())
  stop(second)
  assert counts(logs) == EACH_ONCE | {(6, preset): 2 for preset in PRESETS}


def test_kills_at_any_time_cost_nothing(logs: pathlib.Path, evaluator: Evaluator) -> None:
  program = evaluator(logs, num_task_evals=50, train_steps=6)
  for count in range(6):
    program.start()
    program.wait_for(lambda: 'Waiting for checkpoints' in program.text())
    time.sleep(0.1 * count)
    program.kill()
  assert program.run() == 0, program.text()
  assert_all_is_well(logs)


def test_a_file_that_cannot_grow_ends_it_with_one_line(
  logs: pathlib.Path, evaluator: Evaluator
) -> None:
  """A line that is cut off is taken back. When there is room, the next evaluator resumes."""
  limit = max(path.stat().st_size for path in logs.glob('model-*')) + 20_000
  file = results.file_of(logs)
  file.parent.mkdir()
  file.write_bytes(b'\n' * (limit - 10))
  program = evaluator(logs, train_steps=6)
  set_limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
  assert program.run(preexec_fn=set_limit) == 2
  (error,) = program.errors()
  assert f'{logs} cannot be written: File too large' in error
  assert file.stat().st_size == limit - 10
  assert program.run() == 0, program.text()
  assert_all_is_well(logs)


def test_a_disk_that_fills_up_ends_it_with_one_line(
  disk: pathlib.Path, evaluator: Evaluator
) -> None:
  program = evaluator(disk, num_task_evals=400)
  process = program.start()
  program.wait_for(lambda: 'Waiting for checkpoints' in program.text())
  fill(disk / 'large')
  assert process.wait(PATIENCE_SECS) == 2
  (error,) = program.errors()
  assert str(disk) in error
  assert 'No space left on device' in error
  assert counts(disk) == {}
  (disk / 'large').unlink()
  program.values['train_steps'] = 6
  assert program.run() == 0, program.text()
  assert_all_is_well(disk)


@pytest.mark.parametrize('once', [False, True])
def test_a_folder_that_cannot_be_written(
  disk: pathlib.Path, evaluator: Evaluator, once: bool
) -> None:
  (disk / 'eval').mkdir()
  subprocess.run(['mount', '-o', 'remount,ro', str(disk)], check=True)
  program = evaluator(disk, eval_once=once)
  assert program.run() == 2
  (error,) = program.errors()
  assert f'{disk}/eval' in error
  assert 'Read-only file system' in error


def test_results_go_on_in_a_new_folder_if_theirs_is_deleted(
  logs: pathlib.Path, trained: Any, evaluator: Evaluator
) -> None:
  for path in logs.glob('model-6.*'):
    path.unlink()
  program = evaluator(logs)
  process = program.start()
  program.wait_for(lambda: len(counts(logs)) == 2)
  with standing_still(process):
    shutil.rmtree(logs / 'eval')
  for path in trained.folder.glob('model-6.*'):
    shutil.copy2(path, logs)
  program.wait_for(lambda: counts(logs) == {(6, preset): 1 for preset in PRESETS})
  stop(program)
