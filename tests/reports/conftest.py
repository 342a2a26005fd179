"""Folders of runs as training and evaluation leave them, without any training."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.evaluation.measured import Measured, Result, ResultFile, SequenceKind
from hypertransformer.runtime.tensorboard import scalar_summary
from hypertransformer.settings import flags, flags_file

# The flags of scripts/omniglot_1shot_v1.sh on which the paper's number depends.
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
  'split': '',
  'use_labels': None,
  'shuffle_labels_seed': 2022,
  'image_size': 28,
  'augmentation': (),
  'ways': 20,
  'support_images': 20,
  'unlabeled_per_class': 0,
  'balanced': True,
  'disjoint_query': False,
  'query_images': 1600,
  'query_batch_size': 100,
  'tasks': 400,
  'seed': 1,
  'stream': 3,
  'sequence': None,
}
CONTINUAL = {
  'scenario': 'class_incremental',
  'method': 'continual_hypertransformer',
  'mixed_queries': False,
  'num_tasks': 2,
  'matrix': [[0.9, None], [0.8, 0.7]],
  'matrix_ci95': [[0.1, None], [0.1, 0.1]],
  'average_accuracy': [0.9, 0.75],
  'average_accuracy_ci95': [0.1, 0.1],
  'forgetting': 0.1,
  'forgetting_ci95': 0.1,
  'backward_transfer': -0.1,
  'backward_transfer_ci95': 0.1,
}


def result(
  preset: str,
  step: int,
  accuracy: float,
  continual: dict[str, Any] | None = None,
  on: dict[str, Any] | None = None,
  **changes: Any,
) -> Result:
  """A line of results; `on` are changes of what it was measured on."""
  sequence = None if continual is None else SequenceKind.of(continual)
  measured = {**MEASURED, 'dataset': DATASETS[preset], 'sequence': sequence} | (on or {})
  fields: dict[str, Any] = {
    'checkpoint': f'model-{step}',
    'checkpoint_sha256': 'a',
    'step': step,
    'preset': preset,
    'measured': Measured(**measured),
    'accuracy': accuracy,
    'ci95': 0.005,
    'num_tasks': measured['tasks'],
    'accuracy_disjoint': accuracy - 0.01,
    'ci95_disjoint': 0.006,
    'seconds': 3.0,
    'continual': continual,
  }
  return Result(**fields | changes)


@pytest.fixture
def make_run(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
  """make_run(name, seed, results, records=20, **changes of flags) makes the folder of a run.

  There is a record every 100 steps: test accuracy i %, training accuracy 2 i %, 50 steps/s, and 10
  CPU seconds each.
  """

  def make(
    name: str, seed: int | None = 1, results: Any = (), records: int = 20, **changes: Any
  ) -> pathlib.Path:
    folder = tmp_path / name
    (folder / 'eval').mkdir(parents=True)
    values = flags.defaults() | OMNIGLOT | {'seed': seed, 'train_steps': 2000} | changes
    flags_file.write_flags(str(folder), values | {'train_log_dir': str(folder)})
    for line in results:
      ResultFile(folder / 'eval' / 'results.jsonl').append([line])
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
        writer.add_summary(scalar_summary(scalars), 100 * number)
      writer.close()
    return folder

  return make


@pytest.fixture
def three_runs(make_run: Callable[..., pathlib.Path]) -> list[pathlib.Path]:
  """Two seeds of one run, and a run with another learning rate."""
  return [
    make_run(
      f'base_seed{seed}', seed, [result('val', 2000, 0.7), result('test', 2000, 0.70 + 0.02 * seed)]
    )
    for seed in (1, 2)
  ] + [
    make_run(
      'fast <b>&', 1, [result('val', 2000, 0.8), result('test', 2000, 0.8)], learning_rate=0.08
    )
  ]
