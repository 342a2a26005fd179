"""Whole runs: repeatable, resumable, exact in their steps; what they write, and how they end."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from absl import logging

from hypertransformer import train
from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import from_flags, older_runs
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import loop

Variables = dict[str, np.ndarray]
RunTraining = Callable[[dict[str, Any]], int]
ReadVariables = Callable[[str], Variables]
STANDING_STILL = 1e-12  # a learning rate that leaves variables where they are, to single precision


def assert_identical(one: Variables, other: Variables) -> None:
  assert one.keys() == other.keys()
  for name, value in one.items():
    assert value.tobytes() == other[name].tobytes(), name


def differ(one: Variables, other: Variables) -> bool:
  return any(value.tobytes() != other[name].tobytes() for name, value in one.items())


def steps_on_disk(folder: pathlib.Path) -> list[int]:
  return list(checkpoints.find(str(folder)))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The lines that are logged."""
  said: list[str] = []
  for level in ('info', 'warning', 'error'):
    monkeypatch.setattr(logging, level, lambda text, *args: said.append(text % args))
  return said


@pytest.fixture
def copied(trained: Any, tmp_path: pathlib.Path) -> dict[str, Any]:
  """Flag values of a copy of the finished run."""
  folder = tmp_path / 'copy'
  shutil.copytree(trained.folder, folder)
  return trained.values | {'train_log_dir': str(folder)}


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
  """Fails if a graph is built."""
  monkeypatch.setattr(graph_lib, 'build', lambda *args: pytest.fail('a graph is built'))


# A run and its repetition in two parts.


def test_checkpoints_at_the_start_at_every_save_and_at_the_end(
  trained: Any, read_variables: ReadVariables
) -> None:
  assert steps_on_disk(trained.folder) == [0, 3, 6]
  for step in (0, 3, 6):
    assert read_variables(str(trained.folder / f'model-{step}'))['global_step'] == step


def test_the_same_seed_gives_the_same_bits_also_when_resumed(
  trained: Any,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  tmp_path: pathlib.Path,
) -> None:
  """3 steps, as far as a first run; 3 more, resumed, against 6 at a stretch, with dropout."""
  values = trained.values | {'train_log_dir': str(tmp_path)}
  assert run_training(values | {'train_steps': 3}) == 3
  third = read_variables(str(tmp_path / 'model-3'))
  assert_identical(third, read_variables(str(trained.folder / 'model-3')))
  assert differ(third, read_variables(str(tmp_path / 'model-0')))
  assert run_training(values) == 6
  assert_identical(
    read_variables(str(tmp_path / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )
  assert json.loads((tmp_path / 'flags.json').read_text()) == older_runs.stamped(values)


def test_summaries(trained: Any, read_events: Callable[[pathlib.Path], Any]) -> None:
  """Under train/, with the original's tags; a mean over 2 steps each, steps/s from the second
  record on.
  """
  events = read_events(trained.folder / 'train')
  tags = {
    'loss/loss/ce',
    'accuracy/accuracy',
    'accuracy/test_accuracy',
    'loss/loss',
  }  # golden: omniglot_1shot
  assert set(events.scalars) == tags | {'learning_rate', 'global_step/sec'}
  for tag in (*tags, 'learning_rate'):
    assert list(events.scalars[tag]) == [2, 4, 6]
  assert list(events.scalars['learning_rate'].values()) == pytest.approx([0.05] * 3)
  assert events.histograms == {
    f'generated_weights/{name}': [4]
    for name in ('layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias')
  }


def test_flags_json_has_every_value_used(trained: Any) -> None:
  assert json.loads((trained.folder / 'flags.json').read_text()) == older_runs.stamped(
    trained.values
  )


def test_nothing_to_do_when_done(
  copied: dict[str, Any], run_training: RunTraining, lines: list[str], no_building: None
) -> None:
  folder = pathlib.Path(copied['train_log_dir'])
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert run_training(copied) == 6
  assert run_training(copied | {'train_steps': 5}) == 6
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
  assert f'{folder} is at step 6 already, train_steps is 5: nothing to do.' in lines


# Resuming.


def assert_near(one: Variables, other: Variables) -> None:
  """Equal but for the step and what a vanishing learning rate does."""
  for name in set(one) - {'global_step'}:
    np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-6, err_msg=name)


def test_without_the_checkpoint_file_the_newest_is_taken(
  trained: Any,
  copied: dict[str, Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  lines: list[str],
) -> None:
  """Another learning rate is no other model; three checkpoints are kept."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'checkpoint').unlink()
  assert run_training(copied | {'train_steps': 7, 'learning_rate': STANDING_STILL}) == 7
  assert f'Going on from checkpoint {folder}/model-6' in lines
  seventh = read_variables(str(folder / 'model-7'))
  assert seventh['global_step'] == 7
  assert_near(seventh, read_variables(str(trained.folder / 'model-6')))
  assert steps_on_disk(folder) == [3, 6, 7]
  assert json.loads((folder / 'flags.json').read_text())['learning_rate'] == STANDING_STILL


def test_a_truncated_newest_checkpoint_is_skipped(
  trained: Any,
  copied: dict[str, Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  lines: list[str],
) -> None:
  folder = pathlib.Path(copied['train_log_dir'])
  data = folder / 'model-6.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:-10])
  assert run_training(copied | {'train_steps': 4, 'learning_rate': STANDING_STILL}) == 4
  (warning,) = (line for line in lines if 'cannot be read' in line)
  assert warning.startswith(f'Checkpoint {folder}/model-6 cannot be read (')
  assert_near(
    read_variables(str(folder / 'model-4')), read_variables(str(trained.folder / 'model-3'))
  )


def test_no_checkpoint_that_can_be_read(
  copied: dict[str, Any], run_training: RunTraining, no_building: None
) -> None:
  """Starting anew would throw the run away without a word."""
  folder = pathlib.Path(copied['train_log_dir'])
  for path in folder.glob('*.data-*'):
    path.write_bytes(b'')
  with pytest.raises(
    InputError,
    match=r'none of the checkpoints in .*/copy can be read .*: delete them to start '
    r'anew, or use another --train_log_dir',
  ):
    run_training(copied | {'train_steps': 9})


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'default_num_channels': 3},
      r'the run in .*/copy has another model: --default_num_channels was 2, is 3\.',
    ),
    (
      {'num_layers': 2, 'optimizer': 'adam'},
      r"--num_layers was 1, is 2; --optimizer was 'sgd', is 'adam'",
    ),
  ],
)
def test_resuming_with_another_model_names_the_flags(
  copied: dict[str, Any],
  run_training: RunTraining,
  no_building: None,
  changes: dict[str, Any],
  message: str,
) -> None:
  before = pathlib.Path(copied['train_log_dir'], 'flags.json').read_text()
  with pytest.raises(InputError, match=message):
    run_training(copied | {'train_steps': 9} | changes)
  assert pathlib.Path(copied['train_log_dir'], 'flags.json').read_text() == before


def test_a_checkpoint_of_another_model_without_flags_json_names_the_variables(
  copied: dict[str, Any], run_training: RunTraining
) -> None:
  """And leaves no flags.json, which would have the right flags refused afterwards."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'flags.json').unlink()
  with pytest.raises(
    InputError,
    match=r'checkpoint .*/copy/model-6 does not fit the model of these flags: .*'
    r'have another shape, such as model/[a-z_/0-9]+: has \[.*\], needs \[',
  ):
    run_training(copied | {'train_steps': 9, 'default_num_channels': 3})
  assert not (folder / 'flags.json').exists()


# Starting.


def test_a_stale_checkpoint_file_does_not_matter(
  trained: Any,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """One without its checkpoints. And a signal while the graph is built ends the run after one step."""
  (tmp_path / 'checkpoint').write_text(
    'model_checkpoint_path: "model-77"\nall_model_checkpoint_paths: "model-77"\n'
  )
  build = graph_lib.build

  def interrupted(*args: Any) -> Any:
    os.kill(os.getpid(), signal.SIGTERM)
    return build(*args)

  monkeypatch.setattr(graph_lib, 'build', interrupted)
  handler = signal.getsignal(signal.SIGTERM)
  assert run_training(trained.values | {'train_log_dir': str(tmp_path)}) == 1
  assert signal.getsignal(signal.SIGTERM) == handler
  assert steps_on_disk(tmp_path) == [0, 1]
  assert_identical(
    read_variables(str(tmp_path / 'model-0')), read_variables(str(trained.folder / 'model-0'))
  )


def test_a_folder_that_cannot_be_made(
  make_values: Callable[..., Any],
  run_training: RunTraining,
  tmp_path: pathlib.Path,
  no_building: None,
) -> None:
  (tmp_path / 'file').touch()
  with pytest.raises(
    InputError, match=r'train_log_dir .*/file/logs cannot be made: .*Not a directory'
  ):
    run_training(make_values(train_log_dir=str(tmp_path / 'file' / 'logs')))


def test_a_folder_that_tensorflow_takes_for_a_pattern(
  make_values: Callable[..., Any],
  run_training: RunTraining,
  tmp_path: pathlib.Path,
  no_building: None,
) -> None:
  with pytest.raises(InputError, match=r'train_log_dir is .* in it; use another path'):
    run_training(make_values(train_log_dir=str(tmp_path / 'run*')))
  assert list(tmp_path.iterdir()) == []


# A loss that is no number.


@pytest.fixture(scope='module')
def diverged(
  tmp_path_factory: pytest.TempPathFactory, make_values: Callable[..., Any]
) -> tuple[Any, pathlib.Path]:
  """What `main` of the entry point raises at an absurd learning rate, and the folder. Without a
  seed.
  """
  folder = tmp_path_factory.mktemp('diverged')
  values = make_values(
    train_log_dir=str(folder), train_steps=50, steps_between_saves=1, learning_rate=1e30
  )
  said: list[str] = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logging, 'error', lambda text, *args: said.append(text % args))
    with pytest.raises(SystemExit) as ended:
      train.main(from_flags.settings_from(values))
  return (ended.value.code, said[-1]), folder


def test_a_loss_that_is_no_number_ends_with_status_1_and_a_message(
  diverged: tuple[Any, pathlib.Path],
) -> None:
  (code, message), folder = diverged
  assert code == 1
  assert message == (
    f'The loss is no longer a number. The last good checkpoint in {folder} is kept; lower '
    '--learning_rate and run the same command to go on from it.'
  )


def test_then_the_last_good_checkpoint_is_kept(
  diverged: tuple[Any, pathlib.Path], read_variables: ReadVariables
) -> None:
  _, folder = diverged
  assert 0 in steps_on_disk(folder)
  for prefix in checkpoints.find(str(folder)).values():
    for name, value in read_variables(prefix).items():
      assert np.isfinite(value).all(), name


def test_without_a_seed_runs_differ(
  diverged: tuple[Any, pathlib.Path], trained: Any, read_variables: ReadVariables
) -> None:
  assert differ(
    read_variables(str(diverged[1] / 'model-0')), read_variables(str(trained.folder / 'model-0'))
  )


def test_without_a_seed_the_one_drawn_is_written_and_kept(
  diverged: tuple[Any, pathlib.Path], make_values: Callable[..., Any]
) -> None:
  """So that the resumed run goes on with the episodes that it would have seen."""
  drawn = json.loads((diverged[1] / 'flags.json').read_text())['seed']
  assert isinstance(drawn, int)
  values = make_values(train_log_dir=str(diverged[1]))
  assert loop._seed(from_flags.run_config(values)) == drawn
  assert loop._seed(from_flags.run_config(values | {'seed': 5})) == 5
