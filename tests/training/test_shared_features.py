"""Pre-training of the shared features, and runs that start from them."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.settings import flags
from hypertransformer.training import start

RunTraining = Callable[[dict[str, Any]], int]
ReadVariables = Callable[[str], dict[str, np.ndarray]]

SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'train_steps': 2}


@pytest.fixture(scope='module')
def pretrained(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Any],
  run_training: RunTraining,
) -> pathlib.Path:
  """The folder of a run that has pre-trained shared features for 2 steps."""
  folder = tmp_path_factory.mktemp('pretrained')
  assert (
    run_training(
      make_values(**SHARED, pretrain_shared_feature=True, train_log_dir=str(folder), seed=4)
    )
    == 2
  )
  return folder


def test_pretraining_trains_the_shared_features(
  pretrained: pathlib.Path,
  read_variables: ReadVariables,
  read_events: Callable[[pathlib.Path], Any],
) -> None:
  first, last = (read_variables(str(pretrained / f'model-{step}')) for step in (0, 2))
  shared = [name for name in first if name.startswith('model/')]
  assert shared
  assert all(name.startswith('model/shared_features/') for name in shared)
  assert any(not np.array_equal(first[name], last[name]) for name in shared)
  # Those of pretrain_shared_feature in shared/golden/summary_tags.json, and two of ours.
  assert set(read_events(pretrained / 'train').scalars) == {
    'loss/shared_head_loss',
    'accuracy/shared_head_accuracy',
    'learning_rate',
    'cpu_seconds',
  }


def test_a_run_starts_from_pretrained_shared_features(
  pretrained: pathlib.Path,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  read_variables: ReadVariables,
  tmp_path: pathlib.Path,
) -> None:
  """Of a folder, the newest checkpoint is taken. A resumed run does not need it any more."""
  values = make_values(
    **SHARED, restore_shared_features_from=str(pretrained), train_log_dir=str(tmp_path), seed=5
  )
  assert run_training(values | {'train_steps': 1}) == 1
  first, given = (
    read_variables(str(tmp_path / 'model-0')),
    read_variables(str(pretrained / 'model-2')),
  )
  shared = {
    name: value
    for name, value in first.items()
    if name.startswith(('model/shared_features/', 'loss/shared_head/'))
  }
  assert len(shared) == 6
  for name, value in shared.items():
    np.testing.assert_array_equal(value, given[name])
  resumed = start.find_start(
    flags.settings_from(values | {'restore_shared_features_from': '/gone'}).run, values
  )
  assert resumed == start.Start(str(tmp_path / 'model-1'), None)
  # Pre-training in its folder would drop all the rest of the model.
  (tmp_path / 'flags.json').unlink()
  with pytest.raises(
    InputError, match=r'model-1 has \d+ variables that the model of these flags lacks'
  ):
    run_training(values | {'pretrain_shared_feature': True})


def damaged(pretrained: pathlib.Path, tmp_path: pathlib.Path) -> str:
  """Copies a checkpoint, damages the copy, and returns its path without ending."""
  for path in pretrained.glob('model-2.*'):
    shutil.copy(path, tmp_path)
  data = tmp_path / 'model-2.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:-4])
  return str(tmp_path / 'model-2')


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (
      lambda pretrained, empty: str(pretrained / 'model-9'),
      r'restore_shared_features_from=.*/model-9 is not there \(.*model-2\): give its path',
    ),
    (
      lambda pretrained, empty: str(empty),
      r'restore_shared_features_from=.* holds no readable checkpoint',
    ),
    (damaged, r'restore_shared_features_from=.*/model-2 cannot be read, half-written or damaged'),
    (
      lambda pretrained, empty: str(empty / 'a*'),
      r'restore_shared_features_from is .* in it; use another path',
    ),
  ],
)
def test_shared_features_that_cannot_be_read_are_refused(
  pretrained: pathlib.Path,
  make_values: Callable[..., Any],
  run_training: RunTraining,
  tmp_path: pathlib.Path,
  no_building: None,
  given: Callable[[pathlib.Path, pathlib.Path], str],
  message: str,
) -> None:
  (tmp_path / 'from').mkdir()
  prefix = given(pretrained, tmp_path / 'from')
  with pytest.raises(InputError, match=message):
    run_training(
      make_values(
        **SHARED, restore_shared_features_from=prefix, train_log_dir=str(tmp_path / 'logs')
      )
    )


def test_shared_features_that_do_not_fit_are_refused(pretrained: pathlib.Path) -> None:
  with tf.Graph().as_default():
    tf.get_variable('model/shared_features/conv_1/kernel', [7, 7])
    tf.get_variable('model/other', [1])
    with pytest.raises(
      InputError, match=r'checkpoint .*/model-2 does not fit .*model/shared_features/conv_1/kernel'
    ):
      start.restoring_shared_features(str(pretrained / 'model-2'))
