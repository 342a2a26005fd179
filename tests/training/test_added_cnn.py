"""A CNN that a user adds, under a name that does not start with a digit."""

from __future__ import annotations

import numpy as np
import pytest

import hypertransformer as ht
from hypertransformer.model import cnn


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
  monkeypatch.setattr(cnn, 'ARCHITECTURES', {**cnn.ARCHITECTURES})


@pytest.mark.parametrize('as_function', [True, False])
def test_an_added_cnn_trains_two_steps(make_values, read_variables, tmp_path, as_function):
  made = ht.Architecture(2, 'SAME', pool=True, flatten=False)
  ht.register_cnn('resnet-10')((lambda: made) if as_function else made)
  values = make_values(
    cnn_model_name='resnet-10',
    stride=1,
    number_of_trained_cnn_layers=1,
    train_log_dir=str(tmp_path),
    train_steps=2,
    steps_between_saves=2,
    seed=1,
  )
  ht.train(**values)
  before, after = (read_variables(str(tmp_path / f'model-{step}')) for step in (0, 2))
  assert any(name.startswith('model/generator_3/') for name in after)
  kernel = 'model/cnn/layer_1/conv/kernel'
  assert not np.array_equal(before[kernel], after[kernel])


def test_what_is_no_new_cnn_is_refused():
  with pytest.raises(ht.InputError, match="'4-layer' is part of the package"):
    ht.register_cnn('4-layer')
  with pytest.raises(ht.InputError, match="'mine' is None"):
    ht.register_cnn('mine')(lambda: None)
  assert 'mine' not in cnn.ARCHITECTURES
