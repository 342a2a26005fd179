"""`import hypertransformer`: what the package offers, without TensorFlow until it is needed."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import hypertransformer as ht

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(code: str) -> None:
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr


def test_the_import_does_not_load_tensorflow() -> None:
  run(
    'import sys, hypertransformer as ht\n'
    'assert set(ht.__all__) <= set(dir(ht))\n'
    'assert issubclass(ht.InputError, ValueError)\n'
    'assert "tensorflow" not in sys.modules\n'
  )


@pytest.mark.parametrize('imports', ['ht.train', 'import hypertransformer.train'])
def test_train_is_callable_whatever_was_imported_first(imports: str) -> None:
  """The import of the program hypertransformer.train puts its module in the place of the name."""
  run(
    f'import hypertransformer as ht\n{imports}\n'
    'for _ in range(2):\n'
    '  try:\n'
    '    ht.train("logs", nm_labels=3)\n'
    '  except ht.InputError as error:\n'
    '    assert "num_labels" in str(error), error\n'
  )


def test_everything_is_there_and_typed() -> None:
  assert all(getattr(ht, name) is not None for name in ht.__all__)
  assert 'omniglot_1shot' in ht.pretrained_names()
  assert (ROOT / 'hypertransformer/py.typed').exists()
  with pytest.raises(AttributeError, match='nothing'):
    ht.nothing  # noqa: B018


def test_a_model_is_trained_resumed_and_evaluated(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  values = {**make_values(seed=1), 'train_steps': 2, 'eval_datasets': 'test=tiny:20-29'}
  del values['train_log_dir']
  assert ht.train(tmp_path, **values) == str(tmp_path / 'model-2')
  assert ht.train(tmp_path, **{**values, 'train_steps': 3}) == str(tmp_path / 'model-3')
  found = ht.evaluate(tmp_path)
  assert [(line['preset'], line['step']) for line in found] == [('test', 3)]
