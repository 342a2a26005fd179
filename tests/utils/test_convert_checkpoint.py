"""utils/convert_checkpoint.py as a command; tests/checkpoint_conversion tests the conversion."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hypertransformer.checkpoint_conversion import convert

SCRIPT = pathlib.Path(__file__).parents[2] / 'utils' / 'convert_checkpoint.py'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


@pytest.mark.slow  # starts TensorFlow twice
def test_a_checkpoint_is_imported_and_not_replaced_unasked(tmp_path: pathlib.Path) -> None:
  source, target = tmp_path / 'theirs' / 'model-4', tmp_path / 'model-4'
  bias: np.ndarray = np.arange(6, dtype=np.float32)
  convert.write(
    source,
    {
      'global_step': np.asarray(5, np.int64),
      'loss/shared_head/fc/bias': bias,
      'augmentation/alpha': np.asarray(0.5, np.float32),
    },
  )
  flags = ('--direction=import', f'--input_checkpoint={source}', f'--output_checkpoint={target}')

  done = run(*flags)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(f'{source} -> {target}: 3 tensors read, 2 written; ')
  assert 'global_step 5' in done.stdout
  np.testing.assert_array_equal(convert.read(target)['loss/shared_head/bias'], bias)

  refused = run(*flags)
  assert refused.returncode == 2
  assert f'{target} exists' in refused.stderr
  assert 'Traceback' not in refused.stderr
  assert refused.stdout == ''
