"""The evaluator of sequences, against NumPy.

The CNNs for NumPy are generated one task at a time, from the same draws.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.episodes.sequences import episode_config
from hypertransformer.errors import InputError
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings import flags
from hypertransformer.settings.config import ContinualConfig
from hypertransformer.settings.model_config import ModelConfig

WAYS, SHOTS, QUERIES, TASKS, SEQUENCES, SEED = 3, 2, 9, 3, 4, 11
DATASETS = {'val': 'tiny:20-29', 'all': 'tiny:0-29'}
Theta = dict[str, np.ndarray]
Scored = tuple[np.ndarray, np.ndarray]  # hits [Nq], whether the image is a support image [Nq]


@pytest.fixture(scope='module')
def presets(data_folder: pathlib.Path) -> list[Preset]:
  folder = DataFolder(str(data_folder))
  return [Preset(name, dataset, folder.open(dataset)) for name, dataset in DATASETS.items()]


@pytest.fixture(scope='module')
def values(make_values: Callable[..., Any]) -> dict[str, Any]:
  return make_values(num_task_evals=SEQUENCES, num_eval_batches=7, eval_batch_size=QUERIES)


@pytest.fixture(scope='module')
def model(values: dict[str, Any]) -> ModelConfig:
  # No dead units: two prototypes that are the same would be a tie, for rounding to decide.
  return dataclasses.replace(
    flags.settings_from(values).model, embedding_units=4, cnn_activation='lrelu'
  )


def make_evaluator(
  values: dict[str, Any], model: ModelConfig, presets: list[Preset], continual: ContinualConfig
) -> Evaluator:
  settings = flags.settings_from(values | {'seed': SEED})
  return Evaluator(dataclasses.replace(settings, model=model, continual=continual), presets)


class ByHand:
  """Does one step of the recursion at a time, in a graph of its own."""

  def __init__(self, config: ModelConfig) -> None:
    with tf.Graph().as_default():
      tf.set_random_seed(11)  # before the initial values are made: they are the same in every run
      model = HyperTransformer(config, (12, 12, 1))
      self._images = tf.placeholder(tf.float32, [WAYS * SHOTS, 12, 12, 1])
      self._labels = tf.placeholder(tf.int32, [WAYS * SHOTS])
      self._query = tf.placeholder(tf.float32, [None, 12, 12, 1])
      self._previous = {
        plan.name: tf.placeholder(tf.float32, [plan.layout.num_blocks, plan.layout.block_size])
        for plan in model.plans
        if plan.layout is not None
      }
      weights = model.generate(Support(self._images, self._labels), None, self._previous)
      self._blocks = {name: layer.blocks for name, layer in weights.layers.items()}
      self._outputs = model.classify(self._query, model.with_blocks(self._previous)).logits
      self._session = tf.Session()
      self._session.run([v.initializer for v in tf.global_variables()])
      # Far enough from where it begins that one task's weights are not another's.
      rng = np.random.default_rng(3)
      for variable in tf.global_variables():
        self._session.run(
          tf.assign_add(variable, rng.normal(0, 0.3, variable.shape.as_list()).astype(np.float32))
        )
      self._saver = tf.train.Saver()

  def save(self, folder: pathlib.Path) -> str:
    return self._saver.save(self._session, str(folder / 'model'))

  def learn(self, images: np.ndarray, labels: np.ndarray, before: Theta | None) -> Theta:
    """The weight blocks theta_t, from theta_(t-1) and the support set of task t."""
    if before is None:
      before = {name: np.zeros(shape.shape.as_list()) for name, shape in self._previous.items()}
    fed = {self._previous[name]: block for name, block in before.items()}
    return self._session.run(self._blocks, {**fed, self._images: images, self._labels: labels})

  def embed(self, images: np.ndarray, theta: Theta) -> np.ndarray:
    """The outputs f(x; theta) of the CNN for these images."""
    return self._session.run(
      self._outputs,
      {self._query: images} | {self._previous[name]: block for name, block in theta.items()},
    )


@dataclasses.dataclass(frozen=True)
class Task:
  """The images of one task, with labels 0..K-1.

  Attributes:
    support: the support images.
    labels: their labels.
    queries: the query images.
    answers: their labels.
    inside: whether a query image is a support image.
  """

  support: np.ndarray
  labels: np.ndarray
  queries: np.ndarray
  answers: np.ndarray
  inside: np.ndarray


def cut(preset: Preset, draw: Draw, pieces: bool) -> list[Task]:
  """Cuts an episode into tasks, or its support set into pieces, with plain loops.

  A piece has SHOTS images of each class, in the order in which they were drawn.
  """

  def images(rows: list[int]) -> np.ndarray:
    return preset.class_set.arrays.gather(np.array(rows)).astype(np.float32) / 128 - 1

  tasks = []
  for number in range(TASKS):
    own: list[tuple[int, int]] = []
    seen: dict[int, int] = {}
    for row, label in zip(draw.support_rows.tolist(), draw.support_labels.tolist(), strict=True):
      rank = seen[label] = seen.get(label, -1) + 1
      if (rank // SHOTS if pieces else label // WAYS) == number:
        own.append((row, label % WAYS))
    asked = [
      (row, label % WAYS)
      for row, label in zip(draw.query_rows.tolist(), draw.query_positions.tolist(), strict=True)
      if pieces or label // WAYS == number
    ]
    rows = [row for row, _ in asked]
    tasks.append(
      Task(
        images([row for row, _ in own]),
        np.array([label for _, label in own]),
        images(rows),
        np.array([label for _, label in asked]),
        np.isin(rows, draw.support_rows),
      )
    )
  return tasks


def scored(hand: ByHand, tasks: list[Task], scenario: str) -> dict[tuple[int, int], Scored]:
  """Classifies the queries by distances in NumPy; the results by (t, tau), counted from 0."""
  theta, kept, found = None, [], {}
  for t, task in enumerate(tasks):
    theta = hand.learn(task.support, task.labels, theta)
    outputs = hand.embed(task.support, theta)
    kept.append(np.stack([outputs[task.labels == k].mean(axis=0) for k in range(WAYS)]))
    for tau in range(1 if scenario == 'mini_batch' else t + 1):
      known, first = {
        'task_incremental': (kept[tau], 0),
        'class_incremental': (np.concatenate(kept), tau * WAYS),
        'mini_batch': (np.mean(kept, axis=0), 0),
      }[scenario]
      distances = ((hand.embed(tasks[tau].queries, theta)[:, None] - known[None]) ** 2).sum(-1)
      found[t, tau] = distances.argmin(axis=1) == tasks[tau].answers + first, tasks[tau].inside
  return found


@pytest.fixture(scope='module')
def hand(model: ModelConfig) -> ByHand:
  return ByHand(model)


@pytest.fixture(scope='module', params=['task_incremental', 'class_incremental', 'mini_batch'])
def both(
  request: pytest.FixtureRequest,
  values: dict[str, Any],
  model: ModelConfig,
  presets: list[Preset],
  hand: ByHand,
  tmp_path_factory: pytest.TempPathFactory,
) -> Any:
  """The scenario, the evaluator, and what `scored` gives for each sequence, by preset."""
  scenario = request.param
  continual = ContinualConfig(scenario, train_length=2, eval_length=TASKS)
  evaluator = make_evaluator(values, model, presets, continual)
  evaluator.restore(hand.save(tmp_path_factory.mktemp('checkpoint')))
  config = episode_config(
    dataclasses.replace(flags.settings_from(values).episodes, query_samples=QUERIES),
    continual,
    TASKS,
  )
  expected = {}
  for number, preset in enumerate(presets):
    sampler = EpisodeSampler(preset.class_set, config, SEED, 2 + number, evaluation=True)
    expected[preset.name] = [
      scored(hand, cut(preset, sampler.draw(index), scenario == 'mini_batch'), scenario)
      for index in range(SEQUENCES)
    ]
  yield scenario, evaluator, expected
  evaluator.close()


@pytest.mark.parametrize('preset', list(DATASETS))
def test_accuracies_are_those_by_hand(both: Any, preset: str) -> None:
  scenario, evaluator, expected = both
  found = evaluator.evaluate(preset)
  asked = 1 if scenario == 'mini_batch' else TASKS
  cells: np.ndarray = np.full((SEQUENCES, TASKS, asked), np.nan)
  disjoint = []
  for number, one in enumerate(expected[preset]):
    for place, (hits, _) in one.items():
      cells[number][place] = hits.mean()
    last = [one[TASKS - 1, tau] for tau in range(asked)]
    disjoint.append(
      np.mean([hits[~inside].mean() if not inside.all() else np.nan for hits, inside in last])
    )
  np.testing.assert_allclose(found.cells, cells, atol=1e-6)
  np.testing.assert_allclose(found.disjoint, disjoint, atol=1e-6)
  assert len(np.unique(cells[:, -1])) > 2
  assert any(inside.any() for one in expected[preset] for _, inside in one.values())


@pytest.mark.parametrize('scenario', ['task_incremental', 'class_incremental', 'mini_batch'])
def test_the_inductive_accuracy_is_that_with_support_statistics(
  scenario: str,
  values: dict[str, Any],
  model: ModelConfig,
  presets: list[Preset],
  hand: ByHand,
  tmp_path: pathlib.Path,
) -> None:
  """tests/learners compares such answers with those of a learner."""
  continual, prefix = ContinualConfig(scenario, eval_length=TASKS), hand.save(tmp_path)
  found = []
  for statistics in ('batch', 'support'):
    evaluator = make_evaluator(values | {'query_statistics': statistics}, model, presets, continual)
    evaluator.restore(prefix)
    found.append(evaluator.evaluate('all'))
    evaluator.close()
  batch, support = found
  np.testing.assert_allclose(batch.inductive, support.inductive, atol=1e-6)
  np.testing.assert_allclose(support.cells[:, -1].mean(axis=1), support.inductive, atol=1e-6)
  assert np.nanmax(np.abs(batch.cells - support.cells)) > 0.1


def test_the_same_sequences_at_every_call_and_progress_is_told(both: Any) -> None:
  _, evaluator, _ = both
  told: list[tuple[int, float]] = []
  first = evaluator.evaluate('val', lambda done, mean: told.append((done, mean)))
  evaluator.evaluate('all')
  np.testing.assert_array_equal(evaluator.evaluate('val').cells, first.cells)
  last = first.cells[:, -1].reshape(SEQUENCES, -1).mean(axis=1)
  assert [done for done, _ in told] == [1, 2, 3, 4]
  assert [mean for _, mean in told] == pytest.approx(
    [last[:done].mean() for done in range(1, 5)], abs=1e-6
  )
  assert evaluator.unit == 'sequences'


def test_what_is_shown_of_a_sequence_is_what_is_evaluated(both: Any) -> None:
  """The last task's answers have the accuracy of the last row of the matrix."""
  _, evaluator, _ = both
  found = evaluator.evaluate('val').cells[0].reshape(-1)
  (shown,) = evaluator._run('val', evaluator._shown, 1)
  np.testing.assert_allclose(shown['accuracies'].reshape(-1), found)
  last = np.atleast_2d(shown['accuracies'])[-1]
  assert (shown['predicted'] == shown['query_labels']).mean() == pytest.approx(last.mean())
  assert set(shown['support_labels']) == set(range(shown['num_classes']))
  assert set(shown['query_labels']) == set(range(shown['num_classes']))
  tags = {value.tag.split('/')[0] for value in evaluator.pictures('val').value}
  assert {'episode', 'confusion', 'kernels'} <= tags
  assert 'accuracy_matrix' not in tags, 'eval_matrix has the mean over all sequences'


def test_a_preset_with_too_few_classes_is_refused(
  values: dict[str, Any], model: ModelConfig, presets: list[Preset]
) -> None:
  with pytest.raises(InputError, match=r"'tiny' .*10 classes.* eval_num_tasks=4 .*num_labels=3"):
    make_evaluator(values, model, presets, ContinualConfig('class_incremental', eval_length=4))
