"""Directories of runs as training and evaluation leave them, without any training."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.evaluation import results
from hypertransformer.settings import flags, flags_file

Make = Callable[..., pathlib.Path]

# The flags of scripts/omniglot_1shot_v1.sh on which the paper's accuracy depends.
OMNIGLOT = {
  'cnn_model_name': 'maxpool-4-layer',
  'num_labels': 20,
  'samples_transformer': 20,
  'default_num_channels': 8,
  'train_dataset': 'omniglot:0-1149',
  'test_dataset': 'omniglot:1200-1622',
}
DATASETS = {'val': 'omniglot:1150-1199', 'test': 'omniglot:1200-1622'}
MEASURED = {
  'ways': 20,
  'support_images': 20,
  'unlabeled_per_class': 0,
  'tasks': 400,
  'seed': 1,
  'stream': 3,
  'sequence': None,
}
SEQUENCE = {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 2}
CONTINUAL = {
  **SEQUENCE,
  'method': 'continual_hypertransformer',
  'matrix': [[0.9, None], [0.8, 0.7]],
  'matrix_ci95': [[0.1, None], [0.1, 0.1]],
  'average_accuracy': [0.9, 0.75],
  'average_accuracy_ci95': [0.1, 0.1],
  'forgetting': 0.1,
  'forgetting_ci95': 0.05,
  'backward_transfer': -0.1,
  'backward_transfer_ci95': 0.05,
}


def result(
  preset: str, step: int, accuracy: float, on: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
  """Make a line of results; `on` are changes of what it was measured on."""
  return {
    'checkpoint': f'model-{step}',
    'step': step,
    'preset': preset,
    'dataset': DATASETS[preset],
    'measured': {**MEASURED, 'dataset': DATASETS[preset], **(on or {})},
    'accuracy': accuracy,
    'ci95': 0.005,
    'num_tasks': 400,
    'accuracy_disjoint': accuracy - 0.01,
    'ci95_disjoint': 0.006,
    **changes,
  }


def per_class(*names: str) -> dict[str, Any]:
  """Make `per_class` of classes 10, 11, ...: n % of class n are right, the others the next one."""
  numbers = list(range(10, 10 + len(names)))
  fields = {
    'classes': {
      'class': numbers,
      'name': list(names),
      'tasks': [4] * len(names),
      'queries': [100] * len(names),
      'accuracy': [number / 100 for number in numbers],
      'ci95': [0.03] * len(names),
    },
    'pairs': {
      'true': numbers[:-1],
      'predicted': numbers[1:],
      'count': [100 - number for number in numbers[:-1]],
      'available': [100] * (len(names) - 1),
      'tasks': [4] * (len(names) - 1),
    },
    'num_pairs': len(names) - 1,
  }
  return {'per_class': fields}


def sequence(accuracy: float = 0.75) -> dict[str, Any]:
  """Make a line of results on sequences of tasks."""
  return result('test', 10, accuracy, on={'sequence': SEQUENCE}, continual=CONTINUAL)


@pytest.fixture
def make_run(tmp_path: pathlib.Path) -> Make:
  """make_run(name, seed, lines, records=20, **changes of flags) makes the directory of a run.

  There is a record every 100 steps: test accuracy i %, training accuracy 2 i %, 50 steps/s, and 10
  CPU seconds each.
  """

  def make(
    name: str, seed: int | None = 1, lines: Any = (), records: int = 20, **changes: Any
  ) -> pathlib.Path:
    folder = tmp_path / name
    folder.mkdir()
    values = flags.defaults() | OMNIGLOT | {'seed': seed, 'train_steps': 2000} | changes
    flags_file.write_flags(str(folder), values | {'train_log_dir': str(folder)})
    for line in lines:
      results.append(results.file_of(folder), line)
    if records:
      with tf.Graph().as_default():
        writer = tf.summary.FileWriter(str(folder / 'train'))
      for number in range(1, records + 1):
        scalars = {
          'accuracy/test_accuracy': number / 100,
          'accuracy/accuracy': 2 * number / 100,
          'global_step/sec': 50.0,
          'cpu_seconds': 10.0 * number,
        }
        found = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        writer.add_summary(tf.Summary(value=found), 100 * number)
      writer.close()
    return folder

  return make


@pytest.fixture
def three_runs(make_run: Make) -> list[pathlib.Path]:
  """Two seeds of one run, and a run with another learning rate."""
  base = [
    make_run(f'base_seed{n}', n, [result('val', 2000, 0.7), result('test', 2000, 0.70 + 0.02 * n)])
    for n in (1, 2)
  ]
  lines = [result('val', 2000, 0.8), result('test', 2000, 0.8)]
  return [*base, make_run('fast <b>&', 1, lines, learning_rate=0.08)]
