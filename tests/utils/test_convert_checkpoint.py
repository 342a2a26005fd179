"""The example of `convert checkpoint`; tests/checkpoint_conversion tests the conversion."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hypertransformer.checkpoint_conversion import convert


def run(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, '-m', 'hypertransformer', *words],
    cwd=folder,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


@pytest.mark.slow  # starts TensorFlow twice
def test_a_checkpoint_is_imported_and_not_replaced_unasked(
  tmp_path: pathlib.Path, examples: Any
) -> None:
  source, target = 'original/model-20000', 'logs/model-20001'
  bias: np.ndarray = np.arange(6, dtype=np.float32)
  convert.write(
    tmp_path / source,
    {
      'global_step': np.asarray(5, np.int64),
      'loss/shared_head/fc/bias': bias,
      'augmentation/alpha': np.asarray(0.5, np.float32),
    },
  )
  words = examples('convert checkpoint')[0]

  done = run(tmp_path, *words)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(f'{source} -> {target}: 3 tensors read, 2 written; ')
  assert 'global_step 5' in done.stdout
  np.testing.assert_array_equal(convert.read(tmp_path / target)['loss/shared_head/bias'], bias)

  refused = run(tmp_path, *words)
  assert refused.returncode == 2
  assert f'{target} exists' in refused.stderr
  assert 'Traceback' not in refused.stderr
  assert refused.stdout == ''
