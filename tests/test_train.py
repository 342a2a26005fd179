"""Training as a program: its setup by flags, its exit statuses, and how signals end it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hypertransformer import train
from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags
from hypertransformer.training.setup import setup_from

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_flag_values_become_a_setup(make_values: Callable[..., Any], tiny: np.ndarray) -> None:
  setup = setup_from(
    flags.settings_from(
      make_values(
        learning_rate=0.25,
        negate_probability=0.5,
        test_negate_probability=0.75,
        roll_probability=0.125,
        shuffle_labels_seed=3,
        label_smoothing=0.1,
      )
    )
  )
  assert setup.train_set.classes.tolist() == list(range(20))
  assert setup.test_set.classes.tolist() == list(range(20, 30))
  assert setup.image_shape == (12, 12, 1)
  assert (setup.model.num_labels, setup.episodes.support_samples, setup.episodes.query_samples) == (
    3,
    6,
    9,
  )
  assert (setup.optimizer.learning_rate, setup.loss.label_smoothing) == (0.25, 0.1)
  assert (
    setup.train_augmentation.negate_probability,
    setup.test_augmentation.negate_probability,
  ) == (0.5, 0.75)
  assert setup.test_augmentation.roll_probability == 0.125, '-1 is as in training'
  first = setup.train_set.arrays.gather(setup.train_set.arrays.rows(0, range(8)))
  assert not np.array_equal(first, tiny[0]), 'classes are shuffled'


def test_one_dataset_is_read_once_for_training_and_test(make_values: Callable[..., Any]) -> None:
  setup = setup_from(flags.settings_from(make_values()))
  assert setup.train_set.arrays is setup.test_set.arrays


def test_main_refuses_before_anything_is_written(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  logs = tmp_path / 'logs'
  with pytest.raises(InputError, match='num_labels is 1'):
    train.main(flags.settings_from(make_values(num_labels=1, train_log_dir=str(logs))))
  with pytest.raises(InputError, match='needs num_labels=3'):
    train.main(flags.settings_from(make_values(train_dataset='tiny:3,7', train_log_dir=str(logs))))
  assert not logs.exists()


# The program itself.


def as_arguments(values: dict[str, Any]) -> list[str]:
  """Writes flag values that are no defaults as a command line."""
  defaults = flags.defaults()
  return [f'--{name}={value}' for name, value in values.items() if value != defaults[name]]


@dataclasses.dataclass
class Program:
  """`python -m hypertransformer.train` with given flags.

  Attributes:
    values: all flag values by name; they may be changed between starts.
    output: file that takes its output.
    started: all processes that were started.
  """

  values: dict[str, Any]
  output: pathlib.Path
  started: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

  def start(self) -> subprocess.Popen[bytes]:
    """Starts the program and does not wait for it."""
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '3'}
    with self.output.open('wb') as file:
      self.started.append(
        subprocess.Popen(
          [sys.executable, '-m', 'hypertransformer.train', *as_arguments(self.values)],
          stderr=file,
          stdout=file,
          env=environment,
          cwd=self.output.parent,
        )
      )
    return self.started[-1]

  def steps(self) -> list[int]:
    """The steps of all checkpoints that are there, in order."""
    return list(checkpoints.find(self.values['train_log_dir']))

  def newest(self) -> int:
    """The step of the newest checkpoint."""
    return self.steps()[-1]

  def start_and_reach(self, step: int) -> subprocess.Popen[bytes]:
    """Starts the program and waits for a checkpoint of this step or a later one."""
    process = self.start()
    deadline = time.monotonic() + 300
    while not self.steps() or self.newest() < step:
      assert process.poll() is None, self.output.read_text()
      assert time.monotonic() < deadline, self.output.read_text()
      time.sleep(0.02)
    return process


@pytest.fixture
def program(make_values: Callable[..., Any], tmp_path: pathlib.Path) -> Iterator[Program]:
  made = Program(
    make_values(
      train_log_dir=str(tmp_path / 'logs'), train_steps=1_000_000, steps_between_saves=3, seed=1
    ),
    tmp_path / 'output',
  )
  yield made
  for process in made.started:
    process.kill()
    process.wait()


@pytest.mark.slow
def test_signals_save_and_end_with_status_0_and_a_kill_costs_nothing_that_was_saved(
  program: Program,
) -> None:
  """A run is ended by Ctrl-C, by SIGTERM and by kill -9, and then runs to its end. Each time the
  same command goes on from the last checkpoint.
  """
  reached = 3
  for number in (signal.SIGINT, signal.SIGTERM):
    process = program.start_and_reach(reached + 3)
    process.send_signal(number)
    assert process.wait(120) == 0, program.output.read_text()
    text = program.output.read_text()
    assert f'{number.name}: saving a checkpoint and ending after this step.' in text
    assert 'Traceback' not in text
    reached = program.newest()
    assert (
      f'Ended at step {reached} of 1000000 by a signal; the same command goes on from here' in text
    )
    assert (
      checkpoints.global_step(
        str(pathlib.Path(program.values['train_log_dir'], f'model-{reached}'))
      )
      == reached
    )

  process = program.start_and_reach(reached + 10)
  assert (
    f'Going on from checkpoint {program.values["train_log_dir"]}/model-{reached}'
    in program.output.read_text()
  )
  process.send_signal(signal.SIGKILL)
  process.wait(60)
  left = program.newest()
  assert left >= reached + 10

  program.values |= {'train_steps': left + 7}
  assert program.start().wait(300) == 0, program.output.read_text()
  assert (
    f'Going on from checkpoint {program.values["train_log_dir"]}/model-{left}'
    in program.output.read_text()
  )
  # Checkpoints are saved at the start, every third step, and at the end; three are kept, and maybe
  # one that the kill left behind.
  assert program.steps()[-3:] == [left + 3, left + 6, left + 7]


@pytest.mark.slow
def test_the_program_refuses_bad_flags_with_status_2(program: Program) -> None:
  program.values |= {'train_dataset': 'nothing:0-9'}
  assert program.start().wait(120) == 2
  text = program.output.read_text()
  (error,) = (line for line in text.splitlines() if line.startswith('error: '))
  assert error.startswith("error: dataset 'nothing' is not there: looked for ")
  assert 'Traceback' not in text
  assert not pathlib.Path(program.values['train_log_dir']).exists()
