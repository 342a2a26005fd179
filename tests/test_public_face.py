"""`import hypertransformer`: what the package offers, without TensorFlow until it is needed."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
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
    '    ht.train(nm_labels=3)\n'
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
  assert ht.train(log_dir=tmp_path, **values) == str(tmp_path / 'model-2')
  values['train_steps'] = 3
  data = values.pop('data_numpy_dir')
  assert ht.train(log_dir=tmp_path, data=data, **values) == str(tmp_path / 'model-3')
  found = ht.evaluate(tmp_path)
  assert [(line['preset'], line['step']) for line in found] == [('test', 3)]


def test_a_recipe_trains_on_arrays_twice_in_a_notebook(tmp_path: pathlib.Path) -> None:
  """In a process in which TensorFlow executes eagerly, then and afterwards."""
  run(
    'import hypertransformer as ht, numpy as np, tensorflow as tf\n'
    'images = np.random.default_rng(1).integers(0, 256, (12, 4, 28, 28, 1), np.uint8)\n'
    'sizes = dict(samples_cnn=5, num_task_evals=1, num_eval_batches=1, eval_batch_size=5)\n'
    'for name, data in (("mine", {"mine": images}), ("other", images)):\n'
    f'  logs = {str(tmp_path)!r} + "/" + name\n'
    '  given = dict(train_dataset=name + ":0-5", test_dataset=name + ":6-11")\n'
    '  given |= dict(eval_datasets="test=" + name + ":6-11", train_steps=1, **sizes)\n'
    '  assert ht.train("quickstart", data=data, log_dir=logs, **given) == logs + "/model-1"\n'
    '  (line,) = ht.evaluate(logs, data=data, num_task_evals=2)\n'
    '  assert line["measured"]["tasks"] == 2 and line["step"] == 1\n'
    'assert tf.executing_eagerly()\n'
  )
  assert sorted(path.name for path in tmp_path.iterdir()) == ['mine', 'other']


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    ({'x': np.zeros((6, 4, 3, 28, 28))}, r"data\['x'\] has the shape"),
    (np.full((6, 4, 28, 28), 0.5), r"data\['x'\] has values from 0.5"),
    ([[1]], r"data\['x'\] holds int64 \[1, 1\]"),
    ({'y': np.zeros((6, 4, 28, 28))}, "dataset 'x' does not exist"),
  ],
)
def test_arrays_that_are_no_dataset_are_refused(
  data: Any, found: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(ht.InputError, match=found):
    ht.train(data=data, log_dir=tmp_path / 'logs', train_dataset='x:0-5', test_dataset='x:0-5')
  assert not (tmp_path / 'logs').exists()
