"""Tiny trained checkpoints of each kind, learners made from them, and tasks to learn."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hypertransformer.learners import ContinualLearner, FewShotLearner
from hypertransformer.settings.config import CONTINUAL_SCENARIOS

WAYS = 3
TASK, CLASS, PIECES = CONTINUAL_SCENARIOS
KINDS = {
  'task incremental': (TASK, {}),
  'class incremental': (CLASS, {}),
  'pieces': (PIECES, {}),
  'logits': (PIECES, {'continual_loss': 'cross_entropy'}),
  'protonet': (CLASS, {'continual_method': 'constant_protonet'}),
}


@dataclasses.dataclass(frozen=True)
class Run:
  """The folder and the flag values of a finished run.

  The folder must be copied before anything in it is changed.
  """

  folder: pathlib.Path
  values: dict[str, Any]


@pytest.fixture(scope='session')
def continual_run(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
) -> Callable[..., Run]:
  """continual_run(scenario, **changes) trains for 3 steps on sequences of 2 tasks.

  Calls with the same arguments give the same run.
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


@pytest.fixture
def open_learner(continual_run: Any) -> Iterator[Callable[..., ContinualLearner]]:
  """open_learner(scenario, **changes) opens a new learner, which is closed after the test."""
  opened = []

  def make(scenario: str, batch_statistics: str = 'support', **changes: Any) -> ContinualLearner:
    opened.append(ContinualLearner(continual_run(scenario, **changes).folder, batch_statistics))
    return opened[-1]

  yield make
  for learner in opened:
    learner.close()


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
  """Each kind of continual model: its scenario and its other flags, for `open_learner`."""
  return request.param


@pytest.fixture(scope='session')
def few_shot_run(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
) -> Run:
  """A run of single tasks, with all that makes the support pass differ from the query pass."""
  folder = tmp_path_factory.mktemp('few shot')
  values = make_values(
    train_log_dir=str(folder),
    train_steps=30,
    steps_between_saves=20,
    seed=1,
    warmup_steps=4,
    add_trainable_weights=True,
    separate_evaluation_bn_vars=True,
    cnn_activation='lrelu',
    shared_feature_extractor='2-layer',
    shared_features_dim=4,
  )
  run_training(values)
  return Run(folder, values)


@pytest.fixture(scope='module')
def learner(few_shot_run: Run) -> Any:
  """A learner of the newest checkpoint. Tests share it, so each calls `fit` first."""
  with FewShotLearner(few_shot_run.folder) as opened:
    yield opened


@dataclasses.dataclass(frozen=True)
class Task:
  """A task to learn, with labels 0..2 in mixed order.

  Attributes:
    support: the support images, uint8 [n, 12, 12, 1].
    labels: their labels, int [n].
    queries: the query images.
    answers: their labels.
  """

  support: np.ndarray
  labels: np.ndarray
  queries: np.ndarray
  answers: np.ndarray

  def support_set(self, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The support images, and their labels as numbers from `first` on."""
    return self.support, self.labels + first


@pytest.fixture(scope='session')
def make_task(tiny: np.ndarray) -> Callable[..., Task]:
  """make_task(first, seed=3) makes a task of the classes first, first + 1 and first + 2.

  Each class has 2 support images and 3 query images.
  """

  def make(first: int, seed: int = 3) -> Task:
    rng = np.random.default_rng([seed, first])
    samples = np.stack([rng.permutation(images)[:5] for images in tiny[first : first + WAYS]])
    parts = []
    for images in (samples[:, :2], samples[:, 2:]):
      order = rng.permutation(WAYS * images.shape[1])
      labels = np.repeat(np.arange(WAYS), images.shape[1])
      parts += [np.concatenate(images)[order], labels[order]]
    return Task(*parts)

  return make
