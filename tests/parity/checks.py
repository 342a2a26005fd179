"""Compares a file of numbers recorded from the original with what we compute.

There are four kinds of files: model cases (model_cases.py), augmentations (augmentation_cases.py),
permutations of labels, and schedules of the learning rate and of the warm-up.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import specs
from hypertransformer.errors import InputError
from hypertransformer.settings.config import OptimizerConfig
from hypertransformer.training import losses, optimizer
from tests.parity import augmentation_cases, model_cases
from tests.parity.tolerances import Comparison, largest_difference

LEARNING_RATE = 1e-6  # allowed relative error of learning rates
WARMUP = 1e-6  # allowed absolute error of the weights of warm-up heads


def check(path: str, xla: bool = False) -> list[Comparison]:
  """Compare every entry of a recorded file with what we compute.

  Args:
    path: the file, .npz or .json; its content tells which kind it is.
    xla: whether model cases run with XLA.

  Returns:
    A comparison for each entry.

  Raises:
    InputError: the file is missing or damaged, or of none of the four kinds.
  """
  try:
    if path.endswith('.json'):
      content = json.loads(pathlib.Path(path).read_text())
    else:
      with np.load(path, allow_pickle=False) as file:
        content = {key: file[key] for key in file.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise InputError(f'{path} cannot be read: {error}') from error
  if 'config' in content:
    return model_cases.check_case(content, xla)
  if 'index' in content:
    return augmentation_cases.check_augment(content)
  if {'learning_rate', 'warmup'} <= set(content):
    return [*_learning_rates(content['learning_rate']), *_warmup(content['warmup'])]
  orders = {key: order for key, order in content.items() if key.startswith('seed=')}
  if orders:
    return [_shuffle(key, order) for key, order in orders.items()]
  raise InputError(f'{path} is none of the known files of recorded numbers.')


def line(path: str, results: list[Comparison]) -> str:
  """Make the line that is printed for a file.

  It has the name of the file, whether it passes, and the worst error with its key. The worst is
  the one that is largest in relation to what is allowed.
  """
  worst = max(results, key=lambda result: result.severity)
  verdict = 'pass' if all(result.passed for result in results) else 'FAIL'
  return (
    f'{os.path.basename(path)}  {verdict}  worst {worst.error:.1e} of {worst.allowed:.0e} allowed '
    f'at {worst.key}  ({len(results)} entries)'
  )


def _shuffle(key: str, order: list[int]) -> Comparison:
  """Compare a permutation of classes; the key says of how many, and by which seed."""
  seed, classes = map(int, re.findall(r'\d+', key))
  same = list(specs.shuffled_classes(classes, seed)) == order
  return Comparison(key, 0.0 if same else np.inf, 0.0, '' if same else 'another order')


def _learning_rates(recorded: Mapping[str, Any]) -> list[Comparison]:
  """Compare the recorded learning rates, given by step, with ours for the same settings."""
  config = OptimizerConfig(
    learning_rate=recorded['lr'],
    decay_steps=recorded['decay_steps'],
    decay_rate=recorded['decay_rate'],
  )
  ours = _at_steps(recorded, lambda step: optimizer.learning_rate(config, step))
  return [
    Comparison(f'learning_rate/{step}', abs(rate / recorded['values'][step] - 1), LEARNING_RATE)
    for step, rate in ours.items()
  ]


def _warmup(recorded: Mapping[str, Any]) -> list[Comparison]:
  """Compare the recorded weights of warm-up heads, given by step, with ours."""
  ours = _at_steps(
    recorded,
    lambda step: losses.warmup_weights(step, recorded['warmup_steps'], recorded['num_heads']),
  )
  return [
    Comparison(
      f'warmup/{step}',
      largest_difference(np.asarray(weights), np.asarray(recorded['values'][step])),
      WARMUP,
    )
    for step, weights in ours.items()
  ]


def _at_steps(recorded: Mapping[str, Any], build: Callable[[tf.Tensor], Any]) -> dict[str, Any]:
  """Compute something at each step for which a value was recorded."""
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(
      {step: build(tf.constant(int(step), tf.int64)) for step in recorded['values']}
    )
