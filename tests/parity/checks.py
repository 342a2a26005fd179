"""Compares a file of numbers recorded from the original with what we compute.

There are four kinds of files: model cases (model_cases.py), augmentations (augmentation_cases.py),
permutations of labels, and schedules of the learning rate and of the warm-up.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import specs
from hypertransformer.errors import InputError
from hypertransformer.settings.config import OptimizerConfig
from hypertransformer.training import losses, optimizer
from tests.parity import augmentation_cases, model_cases
from tests.parity.tolerances import BAD_NPZ, Comparison

LEARNING_RATE = 1e-6  # allowed relative error of learning rates
WARMUP = 1e-6  # allowed absolute error of the weights of warm-up heads


def check(path: str, xla: bool = False) -> list[Comparison]:
  """Compares every entry of a recorded file with what we compute.

  Args:
    path: the file, .npz or .json; its content tells which kind it is.
    xla: whether model cases run with XLA.

  Returns:
    A comparison for each entry. An entry that is not known is a failure.

  Raises:
    InputError: the file is missing or damaged, or of none of the four kinds.
  """
  if not os.path.isfile(path):
    raise InputError(
      f'{path} is not there; expected a file of golden numbers (aNN.npz, augment.npz, '
      'label_shuffle.json or schedule.json).'
    )
  if path.endswith('.json'):
    return _check_json(path)
  if _is_augmentation(path):
    return [_augmentation(*result) for result in augmentation_cases.check_augment(path)]
  return model_cases.check_case(path, xla)


def _augmentation(key: str, difference: float, allowed: float, passed: bool) -> Comparison:
  """Turns a result of augmentation_cases into a Comparison with the same verdict.

  `passed` decides, not the difference: rotated images pass although a few of their pixels differ by
  more than is allowed.
  """
  if passed and not difference <= allowed:
    return Comparison(key, 0.0, allowed, 'a few rotated pixels differ, as they may')
  if not passed and not difference > allowed:
    return Comparison(key, np.inf, allowed, 'outside the tolerance')
  return Comparison(key, difference, allowed)


def line(path: str, results: list[Comparison]) -> str:
  """Makes the line that is printed for a file.

  It has the name of the file, whether it passes, and the worst error with its key. The worst is
  the one that is largest in relation to what is allowed.
  """
  worst = max(results, key=lambda result: result.severity)
  verdict = 'pass' if all(result.passed for result in results) else 'FAIL'
  return (
    f'{os.path.basename(path)}  {verdict}  worst {worst.error:.1e} of {worst.allowed:.0e} allowed '
    f'at {worst.key}  ({len(results)} entries)'
  )


def _is_augmentation(path: str) -> bool:
  try:
    with np.load(path, allow_pickle=False) as file:
      return 'index' in file.files and 'config' not in file.files
  except BAD_NPZ as error:
    raise InputError(f'{path} cannot be read as .npz: {error}') from error


def _check_json(path: str) -> list[Comparison]:
  try:
    content = json.loads(pathlib.Path(path).read_text())
  except ValueError as error:
    raise InputError(f'{path} cannot be read as JSON: {error}') from error
  if isinstance(content, dict) and {'learning_rate', 'warmup'} <= set(content):
    return [*_learning_rates(content['learning_rate']), *_warmup(content['warmup'])]
  if isinstance(content, dict) and any(key.startswith('seed=') for key in content):
    return [_shuffle(key, order) for key, order in content.items() if key != 'note']
  raise InputError(
    f'{path} is neither label_shuffle.json nor schedule.json: its entries are unknown.'
  )


def _shuffle(key: str, order: list[int]) -> Comparison:
  """Compares a permutation of classes; the key says of how many, and by which seed."""
  match = re.fullmatch(r'seed=(\d+),classes=(\d+)', key)
  if not match:
    return Comparison(key, np.inf, 0.0, 'not compared')
  ours = specs.shuffled_classes(int(match[2]), int(match[1]))
  return Comparison(
    key, 0.0 if list(ours) == order else np.inf, 0.0, '' if list(ours) == order else 'another order'
  )


def _learning_rates(recorded: Mapping[str, Any]) -> list[Comparison]:
  """Compares the recorded learning rates, given by step, with ours for the same settings."""
  steps = list(recorded['values'])
  config = OptimizerConfig(
    learning_rate=recorded['lr'],
    decay_steps=recorded['decay_steps'],
    decay_rate=recorded['decay_rate'],
  )
  with tf.Graph().as_default(), tf.Session() as session:
    ours = session.run(
      [optimizer.learning_rate(config, tf.constant(int(step), tf.int64)) for step in steps]
    )
  return [
    Comparison(
      f'learning_rate/{step}', abs(float(rate) / recorded['values'][step] - 1), LEARNING_RATE
    )
    for step, rate in zip(steps, ours, strict=True)
  ]


def _warmup(recorded: Mapping[str, Any]) -> list[Comparison]:
  """Compares the recorded weights of warm-up heads, given by step, with ours."""
  steps = list(recorded['values'])
  with tf.Graph().as_default(), tf.Session() as session:
    ours = session.run(
      [
        losses.warmup_weights(
          tf.constant(int(step), tf.int64), recorded['warmup_steps'], recorded['num_heads']
        )
        for step in steps
      ]
    )
  return [
    Comparison(
      f'warmup/{step}', float(np.abs(np.subtract(weights, recorded['values'][step])).max()), WARMUP
    )
    for step, weights in zip(steps, ours, strict=True)
  ]
