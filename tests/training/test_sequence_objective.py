"""Training on sequences of tasks: the loss and what is measured, the graph, and whole runs."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import continual as model_continual
from hypertransformer.model.continual import Outcome, TaskSequence
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags
from hypertransformer.settings.config import (
  CONTINUAL_METHODS,
  CONTINUAL_SCENARIOS,
  ContinualConfig,
  LossConfig,
)
from hypertransformer.settings.model_config import ModelConfig
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import loop, sequence_objective
from hypertransformer.training.setup import check, setup_from

CHT, PROTONET, MERGED = CONTINUAL_METHODS
TASK, CLASS, PIECES = CONTINUAL_SCENARIOS
PAIRS = [(0, 0), (1, 0), (1, 1)]
COMBINATIONS = [
  (scenario, method, 'prototypical')
  for scenario in CONTINUAL_SCENARIOS
  for method in CONTINUAL_METHODS
]


def objective(
  monkeypatch: pytest.MonkeyPatch, logits: np.ndarray, labels: np.ndarray, **settings: Any
) -> Any:
  """Loss, accuracy and accuracy_after if the pairs have these logits [3, n, classes]."""

  def outcome(*given: Any, last_only: bool) -> Outcome:
    kept = slice(1 if last_only else 0, None)
    return Outcome(
      PAIRS[kept], tf.constant(logits[kept], tf.float32), tf.constant(labels[kept]), {}, None, []
    )

  monkeypatch.setattr(model_continual, 'learn_sequence', outcome)
  unused = TaskSequence(*[tf.zeros([])] * 4)
  ours = sequence_objective.build(
    HyperTransformer(ModelConfig(), (28, 28, 1)),
    unused,
    ContinualConfig(CLASS, **settings),
    LossConfig(),
  )
  with tf.Session() as session:
    return session.run((ours.loss, ours.accuracy, ours.accuracy_after))


@pytest.mark.parametrize(('terms', 'counted'), [('all', [0, 1, 2]), ('last', [1, 2])])
def test_the_loss_is_a_mean_over_pairs(
  monkeypatch: pytest.MonkeyPatch, terms: str, counted: list[int]
) -> None:
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(3, 5, 4)), rng.integers(0, 4, (3, 5)).astype(np.int32)
  with tf.Graph().as_default():
    loss, accuracy, after = objective(monkeypatch, logits, labels, loss_terms=terms)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  of_pair = [
    -np.mean([np.log(q[label]) for q, label in zip(p[i], labels[i], strict=True)]) for i in range(3)
  ]
  right = (logits.argmax(-1) == labels).mean(1)
  assert loss == pytest.approx(np.mean([of_pair[i] for i in counted]), rel=1e-5)
  assert accuracy == pytest.approx(right[counted].mean())
  assert after == pytest.approx(
    {1: right[0], 2: right[1:].mean()} if terms == 'all' else {2: right[1:].mean()}
  )


# The graph.


def test_tags_and_histograms_are_those_of_sequences(make_values: Callable[..., Any]) -> None:
  """Histograms are of the weights after the last task."""
  setup = setup_from(
    flags.settings_from(make_values(continual_scenario=CLASS, label_smoothing=0.1))
  )
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(1)
    ops = graph_lib.build(setup, seed=1)
    assert ops.test_stream is not None
    session.run(tf.global_variables_initializer())
    for stream in (ops.train_stream, ops.test_stream):
      session.run(stream.initializer, {stream.first: 0})
    found = session.run(ops.metrics)
    assert list(session.run(ops.test_metrics, {ops.testing: True})) == ['accuracy/test_accuracy']
  assert set(found) == {
    'loss/loss',
    'loss/loss/ce',
    'accuracy/accuracy',
    'accuracy/after_1',
    'accuracy/after_2',
    'accuracy/after_3',
    'learning_rate',
  }
  assert found['loss/loss'] < 1e3, 'smoothing does not reach classes to come'
  after = [found[f'accuracy/after_{number}'] for number in (1, 2, 3)]
  assert found['accuracy/accuracy'] == pytest.approx(np.average(after, weights=[1, 2, 3]), abs=1e-6)
  assert {tag: x.shape.as_list() for tag, x in ops.weights.items()} == {
    'generated_weights/layer_3/conv/kernel': [2, 2, 2, 2],
    'generated_weights/layer_4/logits/kernel': [2, 32],
    'generated_weights/layer_4/logits/bias': [32],
  }


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'num_tasks': 4},
      "dataset 'tiny' is used with 10 classes, but a sequence of num_tasks=4 tasks of num_labels=3 "
      'classes needs 12',
    ),
    ({'balanced_batches': False}, 'set --balanced_batches'),
    ({'samples_transformer': 7}, 'samples_transformer=7 is not divisible by num_labels=3'),
    (
      {'continual_scenario': PIECES, 'num_tasks': 5},
      'class 0 has 8 samples, but an episode needs 10 per class',
    ),
  ],
)
def test_what_does_not_go_together_is_refused_before_a_graph_is_built(
  make_values: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
  setup = setup_from(flags.settings_from(make_values(**{'continual_scenario': CLASS, **changes})))
  with tf.Graph().as_default() as graph, pytest.raises(InputError, match=message):
    check(setup, 1)
  assert graph.get_operations() == []


# Whole runs.


@pytest.mark.slow
@pytest.mark.parametrize(
  ('scenario', 'method', 'loss'),
  [*COMBINATIONS, (PIECES, CHT, 'cross_entropy'), (PIECES, MERGED, 'cross_entropy')],
)
def test_a_run_trains_what_its_method_has_and_can_be_resumed(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  scenario: str,
  method: str,
  loss: str,
  read_variables: Callable[[str], Any],
  tmp_path: pathlib.Path,
) -> None:
  values = make_values(
    continual_scenario=scenario,
    continual_method=method,
    continual_loss=loss,
    num_tasks=2,
    seed=1,
    train_log_dir=str(tmp_path),
    train_steps=2,
    gradient_norm_clip=10.0,
  )
  assert run_training(values) == 2
  assert run_training(values | {'train_steps': 3}) == 3
  assert list(checkpoints.find(str(tmp_path))) == [0, 2, 3]
  second, third = (read_variables(str(tmp_path / f'model-{step}')) for step in (2, 3))
  changed = {
    name.split('/')[1]
    for name in second
    if not np.array_equal(second[name], third[name]) and '/' in name
  }
  generators = set() if method == PROTONET else {'generator_3', 'generator_4'}
  assert changed == {'cnn', *generators}
  assert json.loads((tmp_path / 'flags.json').read_text())['continual_method'] == method


@pytest.mark.slow
@pytest.mark.parametrize('method', [CHT, PROTONET])
def test_a_run_in_two_parts_is_the_same_to_the_bit(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  read_variables: Callable[[str], Any],
  method: str,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """There is dropout, whose noise differs from task to task, and loops in the graph."""
  monkeypatch.setattr(model_continual, 'UNROLLED_SCAN', 0)
  monkeypatch.setattr(model_continual, 'UNROLLED_MAP', 0)
  values = make_values(
    continual_scenario=CLASS,
    continual_method=method,
    seed=1,
    dropout_rate=0.2,
    cnn_dropout_rate=0.2,
    add_trainable_weights=True,
    generated_weight_scale=0.1,
  )
  for folder, parts in (('whole', [4]), ('parts', [2, 4])):
    for steps in parts:
      run_training(values | {'train_log_dir': str(tmp_path / folder), 'train_steps': steps})
  whole, parts = (
    read_variables(str(tmp_path / folder / 'model-4')) for folder in ('whole', 'parts')
  )
  assert whole.keys() == parts.keys()
  for name, value in whole.items():
    np.testing.assert_array_equal(value, parts[name], err_msg=name)


@pytest.mark.slow
def test_a_run_learns_noisy_patterns(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  tmp_path: pathlib.Path,
  read_events: Callable[[pathlib.Path], Any],
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """There are two tasks of three classes, so chance is between 1/3 and 1/6."""
  monkeypatch.setattr(loop, 'STEPS_PER_SUMMARY', 50)
  values = make_values(
    continual_scenario=CLASS,
    num_tasks=2,
    seed=1,
    train_log_dir=str(tmp_path),
    train_steps=200,
    gradient_norm_clip=10.0,
    default_num_channels=4,
    embedding_units=8,
  )
  assert run_training(values) == 200
  scalars = read_events(tmp_path / 'train').scalars
  assert scalars['loss/loss'][200] < 0.7 * scalars['loss/loss'][50]
  assert scalars['accuracy/accuracy'][200] > 0.5
