"""Tiny trained checkpoints of each kind, and tasks to learn."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

WAYS = 3


@dataclasses.dataclass(frozen=True)
class Run:
  """A finished run: its folder and flag values. Copy the folder before changing anything in it."""

  folder: pathlib.Path
  values: dict[str, Any]


@pytest.fixture(scope='session')
def continual_run(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
) -> Callable[..., Run]:
  """continual_run(scenario, **changes): 3 steps on sequences of 2 tasks; the same run for the same
  arguments.
  """
  runs: dict[Any, Run] = {}

  def run(scenario: str, **changes: Any) -> Run:
    key = scenario, *sorted(changes.items())
    if key not in runs:
      folder = tmp_path_factory.mktemp('continual')
      prototypes = changes.get('continual_loss') != 'cross_entropy'
      values = make_values(
        train_log_dir=str(folder),
        continual_scenario=scenario,
        num_tasks=2,
        seed=1,
        num_labels=WAYS,
        embedding_units=4 if prototypes else 0,
        cnn_activation='lrelu',
        add_trainable_weights=True,
        generated_weight_scale=0.5,
        **changes,
      )
      run_training(values)
      runs[key] = Run(folder, values)
    return runs[key]

  return run


@dataclasses.dataclass(frozen=True)
class Task:
  """support, queries uint8 [n, 12, 12, 1]; labels, answers int [n] in 0..2, not in order."""

  support: np.ndarray
  labels: np.ndarray
  queries: np.ndarray
  answers: np.ndarray


def cut(tiny: np.ndarray, first: int, seed: int = 3) -> Task:
  """2 support and 3 query images of each of the classes first, first + 1, first + 2."""
  rng = np.random.default_rng([seed, first])
  samples = np.stack([rng.permutation(images)[:5] for images in tiny[first : first + WAYS]])

  def shuffled(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(WAYS * images.shape[1])
    return np.concatenate(images)[order], np.repeat(np.arange(WAYS), images.shape[1])[order]

  return Task(*shuffled(samples[:, :2]), *shuffled(samples[:, 2:]))


@pytest.fixture(scope='session')
def make_task(tiny: np.ndarray) -> Callable[..., Task]:
  """make_task(first, seed=...): see cut."""
  return lambda first, seed=3: cut(tiny, first, seed)
