"""Training goes on whatever happens to its process, its disk and its folder (docs/reliability.md).

Every test starts real processes.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.runtime import checkpoints
from hypertransformer.runtime.signals import STOPPING
from tests.faults.processes import Program, fill, small_disk, standing_still

pytestmark = pytest.mark.slow


@pytest.fixture
def program(make_values: Callable[..., Any], tmp_path: pathlib.Path) -> Iterator[Program]:
  """A training that saves every third step, and does not end by itself."""
  values = make_values(
    train_log_dir=str(tmp_path / 'logs'), train_steps=1_000_000, steps_between_saves=3, seed=1
  )
  made = Program('train', values, tmp_path / 'output')
  yield made
  made.kill()


def variables(folder: pathlib.Path, step: int) -> dict[str, np.ndarray]:
  """All values of a checkpoint by their name."""
  reader = tf.train.load_checkpoint(str(folder / f'model-{step}'))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_signals_save_and_end_with_status_0_and_the_same_command_resumes(program: Program) -> None:
  """Checkpoints are saved at the start, every third step, and at the end; three are kept."""
  reached = 3
  for number in STOPPING:
    process = program.start()
    program.wait_for_step(reached + 3)
    process.send_signal(number)
    assert process.wait(120) == 0, program.text()
    assert program.errors() == []
    assert number.name in program.text()
    reached = program.steps()[-1]
    assert f'Stopped at step {reached} of 1000000 by a signal' in program.text()
  program.values |= {'train_steps': reached + 7}
  assert program.run() == 0, program.text()
  assert f'Resuming from checkpoint {program.folder}/model-{reached}' in program.text()
  assert program.steps() == [reached + 3, reached + 6, reached + 7]


def test_kills_at_random_end_bit_for_bit_as_the_run_that_was_never_stopped(
  program: Program, tmp_path: pathlib.Path
) -> None:
  program.values |= {'train_steps': 60}
  assert program.run() == 0, program.text()
  whole = variables(program.folder, 60)
  program.values |= {'train_log_dir': str(tmp_path / 'killed')}
  rng = random.Random(1)
  for _ in range(4):
    reached = program.steps()[-1] if program.folder.exists() and program.steps() else 0
    process = program.start()
    program.wait_for_step(reached + 1)
    time.sleep(rng.uniform(0.0, 0.05))
    process.kill()
    process.wait()
  assert program.run() == 0, program.text()
  assert_equal(variables(program.folder, 60), whole)


def temporary_name(name: str) -> str:
  """How TensorFlow calls a file of a checkpoint until it is whole."""
  return 'checkpoint.tmp0123456789' if name == 'checkpoint' else f'{name}.tempstate0123456789'


@pytest.mark.parametrize('renamed', [1])
def test_a_kill_before_any_rename_of_a_save_costs_that_checkpoint_only(
  program: Program, renamed: int
) -> None:
  """A save renames three files one after the other: data, index, and the file `checkpoint`."""
  program.values |= {'train_steps': 6}
  assert program.run() == 0, program.text()
  whole = variables(program.folder, 6)
  state = (program.folder / 'checkpoint').read_text().replace('model-6', 'model-3')
  for name in ['model-6.data-00000-of-00001', 'model-6.index', 'checkpoint'][renamed:]:
    (program.folder / name).rename(program.folder / temporary_name(name))
  (program.folder / 'checkpoint').write_text(state)
  assert program.run() == 0, program.text()
  resumed = 'nothing to do' if renamed == 2 else 'Resuming from checkpoint'
  assert resumed in program.text()
  assert_equal(variables(program.folder, 6), whole)
  assert not [path.name for path in program.folder.glob('*temp*')]
  assert not [path.name for path in program.folder.glob('*.tmp*')]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_program_at_once_and_says_so(
  program: Program, number: signal.Signals
) -> None:
  # The graph takes seconds to build, so that both signals come before the first step.
  process = program.start()
  program.wait_for(lambda: (program.folder / '.trainer.lock').exists())
  time.sleep(0.5)
  process.send_signal(number)
  program.wait_for(lambda: 'stopping after this step' in program.text())
  process.send_signal(number)
  assert process.wait(60) == -number
  assert f'{number.name} again' in program.text()
  assert 'Traceback' not in program.text()


def test_the_second_trainer_of_a_folder_is_refused_and_the_first_one_not_disturbed(
  program: Program, tmp_path: pathlib.Path
) -> None:
  first = program.start()
  program.wait_for_step(3)
  second = Program('train', program.values, tmp_path / 'second')
  assert second.run() == 2
  (error,) = second.errors()
  assert f'another trainer works in {program.folder}: process {first.pid} on ' in error
  assert first.poll() is None
  first.kill()  # and a crash frees the lock
  first.wait()
  program.values |= {'train_steps': program.steps()[-1] + 1}
  assert program.run() == 0, program.text()


@contextlib.contextmanager
def deleted(program: Program, process: subprocess.Popen[bytes]) -> Iterator[None]:
  """Deletes the folder of a run between two saves; the process stands still during the block."""
  while True:
    with standing_still(process):
      if not [*program.folder.glob('*.tempstate*'), *program.folder.glob('checkpoint.tmp*')]:
        shutil.rmtree(program.folder)
        yield
        return
    time.sleep(0.05)


def test_a_folder_deleted_under_a_training_is_made_anew(program: Program) -> None:
  process = program.start()
  program.wait_for_step(3)
  with deleted(program, process):
    pass
  program.wait_for(lambda: bool(program.steps()))
  process.send_signal(signal.SIGTERM)
  assert process.wait(60) == 0, program.text()
  assert (program.folder / 'flags.json').exists()
  assert program.text().count('was deleted; creating it again') == 1


def test_a_training_whose_folder_another_one_took_ends_without_writing_there(
  program: Program, tmp_path: pathlib.Path
) -> None:
  program.values |= {'steps_between_saves': 100}
  process = program.start()
  program.wait_for_step(1)
  second = Program('train', {**program.values, 'seed': 2}, tmp_path / 'second')
  with deleted(program, process):  # and it stands still, so that the other comes first
    second.start()
    second.wait_for(lambda: (second.folder / '.trainer.lock').exists())
  assert process.wait(100) == 2
  (error,) = program.errors()
  assert 'was deleted, and another training uses it' in error
  second.wait_for_step(100)
  second.kill()


def test_a_full_disk_ends_with_one_error_and_the_same_command_goes_on(
  program: Program, tmp_path: pathlib.Path
) -> None:
  disk = tmp_path / 'disk'
  with small_disk(disk, 8):
    program.values |= {'train_log_dir': str(disk / 'logs'), 'steps_between_saves': 20}
    process = program.start()
    program.wait_for_step(20)
    fill(disk / 'ballast')
    assert process.wait(100) == 2
    (error,) = program.errors()
    assert f'cannot be written to {disk}' in error
    left = program.steps()[-1]
    assert checkpoints.unreadable(str(disk / 'logs' / f'model-{left}')) == ''
    (disk / 'ballast').unlink()
    program.values |= {'train_steps': left + 1}
    assert program.run() == 0, program.text()
    assert f'Resuming from checkpoint {disk}/logs/model-{left}' in program.text()


def test_data_that_become_shorter_end_it_with_one_error_and_a_checkpoint(
  program: Program, tmp_path: pathlib.Path
) -> None:
  data = shutil.copytree(program.values['data_numpy_dir'], tmp_path / 'data')
  program.values |= {'data_numpy_dir': str(data), 'steps_between_saves': 1_000_000}
  process = program.start()
  program.wait_for(lambda: 'acc' in program.text())
  os.truncate(data / 'tiny.npy', 200)
  assert process.wait(100) == 2
  (error,) = program.errors()
  assert 'tiny.npy was changed while it was in use' in error
  assert len(program.steps()) == 2


@pytest.mark.parametrize(
  ('size', 'named'), [(1000, 'flags.json: File too large'), (20_000, 'cannot be written to')]
)
def test_a_limit_of_the_file_size_is_like_a_full_disk(
  program: Program, size: int, named: str
) -> None:
  """flags.json has between 1000 and 20,000 bytes, and the graph more."""

  def limit() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

  # What the program prints goes to a pipe, as the limit would hold for a file too.
  process = program.start(preexec_fn=limit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  printed = process.communicate(timeout=100)[0].decode()
  assert process.returncode == 2, printed
  (error,) = (line for line in printed.splitlines() if line.startswith('error: '))
  assert named in error
  assert 'Traceback' not in printed
  assert program.steps() == []
  program.values |= {'train_steps': 1}
  assert program.run() == 0, program.text()


def test_a_run_goes_on_after_its_folder_has_moved(program: Program, tmp_path: pathlib.Path) -> None:
  program.values |= {'train_steps': 3}
  assert program.run() == 0, program.text()
  program.folder.rename(tmp_path / 'moved')
  program.values |= {'train_log_dir': str(tmp_path / 'moved'), 'train_steps': 4}
  assert program.run() == 0, program.text()
  assert str(tmp_path / 'logs') not in (tmp_path / 'moved' / 'checkpoint').read_text()
  assert program.steps() == [0, 3, 4]
