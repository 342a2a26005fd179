"""A CNN that is added as CONTRIBUTING.md says, under a name that does not start with a digit."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.model import cnn
from hypertransformer.settings import model_config


def test_an_added_cnn_trains_two_steps(
  monkeypatch: pytest.MonkeyPatch,
  make_values: Callable[..., Any],
  run_training: Callable[[dict[str, Any]], int],
  read_variables: Callable[[str], dict[str, np.ndarray]],
  tmp_path: pathlib.Path,
) -> None:
  added = cnn.Architecture(2, 'SAME', pool=True, flatten=False)
  monkeypatch.setitem(cnn.ARCHITECTURES, 'resnet-10', added)
  monkeypatch.setattr(model_config, 'CNN_NAMES', (*model_config.CNN_NAMES, 'resnet-10'))
  values = make_values(
    cnn_model_name='resnet-10',
    stride=1,
    number_of_trained_cnn_layers=1,
    train_log_dir=str(tmp_path),
    train_steps=2,
    steps_between_saves=2,
    seed=1,
  )
  assert run_training(values) == 2
  before, after = (read_variables(str(tmp_path / f'model-{step}')) for step in (0, 2))
  assert any(name.startswith('model/generator_3/') for name in after)
  assert not np.array_equal(
    before['model/cnn/layer_1/conv/kernel'], after['model/cnn/layer_1/conv/kernel']
  )
