"""A CNN that is added as CONTRIBUTING.md says, under a name that does not start with a digit."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np

# The edits of CONTRIBUTING.md, "How to add: a CNN", then the program train.
PROGRAM = """
from hypertransformer.model import cnn
cnn.ARCHITECTURES['resnet-10'] = cnn.Architecture(2, 'SAME', pool=True, flatten=False)
from hypertransformer import cli, train
from hypertransformer.settings import recipes
cli.run_settings(train.main, recipes.flagfile)
"""


def test_an_added_cnn_trains_two_steps(make_values, read_variables, tmp_path):
  values = make_values(
    cnn_model_name='resnet-10',
    stride=1,
    number_of_trained_cnn_layers=1,
    train_log_dir=str(tmp_path),
    train_steps=2,
    steps_between_saves=2,
    seed=1,
  )
  flags = [f'--{name}={value}' for name, value in values.items() if value is not None]
  subprocess.run(
    [sys.executable, '-c', PROGRAM, *flags],
    check=True,
    env=os.environ | {'PYTHONPATH': str(pathlib.Path(__file__).resolve().parents[2])},
  )
  before, after = (read_variables(str(tmp_path / f'model-{step}')) for step in (0, 2))
  assert any(name.startswith('model/generator_3/') for name in after)
  kernel = 'model/cnn/layer_1/conv/kernel'
  assert not np.array_equal(before[kernel], after[kernel])
