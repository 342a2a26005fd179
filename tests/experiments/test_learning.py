"""What experiments/learning.py measures of kernels."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'experiments/learning.py'


@pytest.mark.slow
def test_it_measures_a_run_and_draws_the_table(tmp_path: pathlib.Path) -> None:
  table = tmp_path / 'table.csv'
  images = np.random.default_rng(1).integers(0, 256, (8, 20, 28, 28, 1))
  np.save(tmp_path / 'tiny.npy', images.astype(np.uint8))
  command = [sys.executable, str(SCRIPT)]
  command += ['quickstart', f'--output={table}', '--train_steps=4', '--every=2']
  command += [f'--data_numpy_dir={tmp_path}', '--train_dataset=tiny', '--test_dataset=tiny']
  command += ['--eval_datasets=', '--number_of_trained_cnn_layers=1']
  for further in ([], ['--plot']):
    done = subprocess.run([*command, *further], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
  rows = pd.read_csv(table)
  assert set(rows['step']) == {0, 2}
  shares = rows[rows['quantity'].isin(['mean', 'channels', 'tasks', 'support sets'])]
  assert sorted(set(shares['part'])) == [f'layer_{number}' for number in range(2, 6)]  # generated
  np.testing.assert_allclose(shares.groupby(['step', 'part'])['value'].sum(), 1, atol=1e-3)
  changes = rows[rows['quantity'] == 'change']
  assert len(changes) == 2 * 5
  assert (changes['value'] > 0).all()
  assert table.with_suffix('.png').stat().st_size > 1000
