"""Where a run starts: from its newest checkpoint if that can be used, or anew."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints

Variables = dict[str, np.ndarray]
RunTraining = Callable[[dict[str, Any]], int]
ReadVariables = Callable[[str], Variables]
STANDING_STILL = 1e-12  # a learning rate too small to change variables in single precision


def assert_near(one: Variables, other: Variables) -> None:
  """Asserts that two checkpoints are equal but for the step and a vanishing learning rate."""
  for name in set(one) - {'global_step'}:
    np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-6, err_msg=name)


def test_without_the_checkpoint_file_the_newest_is_taken(
  trained: Any,
  copied: dict[str, Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  lines: list[str],
) -> None:
  """Another learning rate is not another model, and three checkpoints are kept."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'checkpoint').unlink()
  assert run_training(copied | {'train_steps': 7, 'learning_rate': STANDING_STILL}) == 7
  assert f'Going on from checkpoint {folder}/model-6' in lines
  seventh = read_variables(str(folder / 'model-7'))
  assert seventh['global_step'] == 7
  assert_near(seventh, read_variables(str(trained.folder / 'model-6')))
  assert list(checkpoints.find(str(folder))) == [3, 6, 7]
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


def test_a_run_without_a_checkpoint_that_can_be_read_is_refused(
  copied: dict[str, Any], run_training: RunTraining, no_building: None
) -> None:
  """To start anew would throw the run away without a word."""
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
  """It leaves no flags.json, because of which the right flags would be refused afterwards."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'flags.json').unlink()
  with pytest.raises(
    InputError,
    match=r'checkpoint .*/copy/model-6 does not fit the model of these flags: .*'
    r'have another shape, such as model/[a-z_/0-9]+: has \[.*\], needs \[',
  ):
    run_training(copied | {'train_steps': 9, 'default_num_channels': 3})
  assert not (folder / 'flags.json').exists()


def test_a_folder_that_cannot_be_made_is_refused(
  make_values: Callable[..., Any],
  run_training: RunTraining,
  tmp_path: pathlib.Path,
  no_building: None,
) -> None:
  (tmp_path / 'file').touch()
  with pytest.raises(
    InputError, match=r"train_log_dir '.*/file/logs' cannot be made \(Not a directory\)"
  ):
    run_training(make_values(train_log_dir=str(tmp_path / 'file' / 'logs')))


def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused(
  make_values: Callable[..., Any],
  run_training: RunTraining,
  tmp_path: pathlib.Path,
  no_building: None,
) -> None:
  with pytest.raises(InputError, match=r'train_log_dir is .* in it; use another path'):
    run_training(make_values(train_log_dir=str(tmp_path / 'run*')))
  assert list(tmp_path.iterdir()) == []
