"""Whole runs: they can be repeated and resumed to the bit; what they write, and how they end."""

from __future__ import annotations

import json
import os
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from absl import logging

from hypertransformer import train
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file
from hypertransformer.training import classes, loop, start
from hypertransformer.training import graph as graph_lib

Variables = dict[str, np.ndarray]
RunTraining = Callable[[dict[str, Any]], int]
ReadVariables = Callable[[str], Variables]


def assert_identical(one: Variables, other: Variables) -> None:
  assert one.keys() == other.keys()
  for name, value in one.items():
    assert value.tobytes() == other[name].tobytes(), name


def differ(one: Variables, other: Variables) -> bool:
  return any(value.tobytes() != other[name].tobytes() for name, value in one.items())


def steps_on_disk(folder: pathlib.Path) -> list[int]:
  return list(checkpoints.find(str(folder)))


def test_checkpoints_at_the_start_at_every_save_and_at_the_end(
  trained: Any, read_variables: ReadVariables
) -> None:
  assert steps_on_disk(trained.folder) == [0, 3, 6]
  for step in (0, 3, 6):
    assert read_variables(str(trained.folder / f'model-{step}'))['global_step'] == step


@pytest.mark.parametrize('steps', [0, -5])
def test_steps_between_saves_of_0_saves_at_the_start_and_the_end_only(
  steps: int, make_values: Callable[..., Any], run_training: RunTraining, tmp_path: pathlib.Path
) -> None:
  values = make_values(train_log_dir=str(tmp_path), train_steps=3, steps_between_saves=steps)
  assert run_training(values) == 3
  assert run_training(values | {'train_steps': 5}) == 5
  assert steps_on_disk(tmp_path) == [0, 3, 5]


def test_the_same_seed_gives_the_same_bits_also_when_resumed(
  trained: Any,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  tmp_path: pathlib.Path,
) -> None:
  """There are 3 steps and, resumed, 3 more, against 6 without a break; with dropout."""
  values = trained.values | {'train_log_dir': str(tmp_path)}
  assert run_training(values | {'train_steps': 3}) == 3
  third = read_variables(str(tmp_path / 'model-3'))
  assert_identical(third, read_variables(str(trained.folder / 'model-3')))
  assert differ(third, read_variables(str(tmp_path / 'model-0')))
  assert run_training(values) == 6
  assert_identical(
    read_variables(str(tmp_path / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )
  assert read_values(tmp_path) == flags_file.stamped(values)


def test_summaries_have_the_tags_of_the_original_and_the_right_steps(
  trained: Any, read_events: Callable[[pathlib.Path], Any]
) -> None:
  """There is a record every 2 steps."""
  events = read_events(trained.folder / 'train')
  # Those of omniglot_1shot in shared/golden/summary_tags.json.
  tags = {'loss/loss/ce', 'accuracy/accuracy', 'accuracy/test_accuracy', 'loss/loss'}
  changes = {f'kernel_change/test_episode/layer_{number}' for number in (3, 4)}
  assert set(events.scalars) == tags | changes | {'learning_rate', 'global_step/sec', 'cpu_seconds'}
  for tag in (*tags, 'learning_rate'):
    assert list(events.scalars[tag]) == [2, 4, 6]
  assert list(events.scalars['learning_rate'].values()) == pytest.approx([0.05] * 3)
  names = [
    f'generated_weights/{name}'
    for name in ('layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias')
  ]
  names += [f'gradients/{part}' for part in ('generator_3', 'generator_4')]
  names += [f'gradients/cnn/layer_{number}' for number in (1, 2, 3)]
  assert events.histograms == {name: [4] for name in names}
  pictures = ['episode/test_episode', 'confusion/test_episode']
  pictures += [
    f'{what}/test_episode/layer_{number}' for what in ('kernels', 'attention') for number in (3, 4)
  ]
  assert events.pictures == {tag: [4] for tag in pictures}


def test_without_pictures_the_model_is_the_same(
  trained: Any,
  run_training: RunTraining,
  read_variables: ReadVariables,
  read_events: Callable[[pathlib.Path], Any],
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.setattr(loop, 'STEPS_PER_SUMMARY', 2)
  monkeypatch.setattr(loop, 'STEPS_PER_HISTOGRAM', 4)
  values = trained.values | {'train_log_dir': str(tmp_path), 'image_summaries': False}
  assert run_training(values) == 6
  assert_identical(
    read_variables(str(tmp_path / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )
  events = read_events(tmp_path / 'train')
  assert events.pictures == {}
  assert {tag.split('/')[0] for tag in events.histograms} == {'generated_weights'}
  assert not any(tag.startswith('kernel_change') for tag in events.scalars)


def test_a_run_has_pages_of_its_flags_and_its_end(
  trained: Any, read_events: Callable[[pathlib.Path], Any]
) -> None:
  pages = read_events(trained.folder / 'train').pages
  assert set(pages) == {
    '_hparams_/session_start_info',
    '_hparams_/session_end_info',
    'custom_scalars__config__',
    'run/flags/text_summary',
    'run/cnn/text_summary',
  }
  (table,) = pages['run/cnn/text_summary'].tensor.string_val
  assert b'layer_3  conv/kernel' in table
  (flags_text,) = pages['run/flags/text_summary'].tensor.string_val
  assert b'| embedding_dim | 2 | 8 |' in flags_text


def read_values(folder: pathlib.Path) -> dict[str, Any]:
  """Reads flags.json, without what it notes about the classes."""
  found = json.loads((folder / 'flags.json').read_text())
  del found[classes.KEY]
  return found


def test_flags_json_has_every_flag_value(trained: Any) -> None:
  assert read_values(trained.folder) == flags_file.stamped(trained.values)


def test_a_finished_run_is_left_as_it_is(
  copied: dict[str, Any], run_training: RunTraining, lines: list[str], no_building: None
) -> None:
  folder = pathlib.Path(copied['train_log_dir'])
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert run_training(copied) == 6
  assert run_training(copied | {'train_steps': 5}) == 6
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
  assert f'{folder} is at step 6 already, train_steps is 5: nothing to do.' in lines


def test_a_stale_checkpoint_file_does_not_matter(
  trained: Any,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """It names checkpoints that are not there.

  This run is ended after one step, by a signal that comes while the graph is built.
  """
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


@pytest.fixture(scope='module')
def diverged(
  tmp_path_factory: pytest.TempPathFactory, make_values: Callable[..., Any]
) -> tuple[Any, pathlib.Path]:
  """A run without a seed that diverges, because of an absurd learning rate.

  Returns:
    The exit status and the last error that is logged, and the folder of the run.
  """
  folder = tmp_path_factory.mktemp('diverged')
  values = make_values(
    train_log_dir=str(folder), train_steps=50, steps_between_saves=1, learning_rate=1e30
  )
  said: list[str] = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logging, 'error', lambda text, *args: said.append(text % args))
    with pytest.raises(SystemExit) as ended:
      train.main(flags.settings_from(values))
  return (ended.value.code, said[-1]), folder


def test_a_loss_that_is_nan_ends_the_program_with_status_1_and_a_message(
  diverged: tuple[Any, pathlib.Path],
) -> None:
  (code, message), folder = diverged
  assert code == 1
  assert message == (
    f'The loss is no longer a number. The last good checkpoint in {folder} is kept; lower '
    '--learning_rate and run the same command to go on from it.'
  )


def test_when_the_loss_is_nan_the_last_good_checkpoint_is_kept(
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


def test_without_a_seed_the_one_that_is_drawn_is_written_and_kept(
  diverged: tuple[Any, pathlib.Path], make_values: Callable[..., Any]
) -> None:
  """So a run that is resumed goes on with the episodes that it would have seen."""
  drawn = json.loads((diverged[1] / 'flags.json').read_text())['seed']
  assert isinstance(drawn, int)
  values = make_values(train_log_dir=str(diverged[1]))
  assert start.choose_seed(flags.settings_from(values).run) == drawn
  assert start.choose_seed(flags.settings_from(values | {'seed': 5}).run) == 5
