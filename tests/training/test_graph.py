"""The training graph: what it measures, and under which tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import pipeline
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.training import optimizer
from hypertransformer.training.setup import Setup

SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}

# The tags of the original (shared/golden/summary_tags.json), without test_accuracy. There the CNN
# has three warm-up heads; here it has three convolutions, and so two heads.
PLAIN = ['loss/loss/ce', 'accuracy/accuracy', 'loss/loss']
WARMUP = [
  'loss/loss/ce',
  'accuracy/head-1',
  'accuracy/head-2',
  'warmup_weights/head-1',
  'warmup_weights/head-2',
  'warmup_weights/main',
  'accuracy/accuracy',
  'loss/loss',
]
REGULARISED = ['loss/loss/regularization', *PLAIN]
SHARED_HEAD = [
  'loss/loss/ce',
  'loss/shared_head_loss',
  'loss/weighted_shared_head_loss',
  'accuracy/shared_head_accuracy',
  'accuracy/accuracy',
  'loss/loss',
]
PRETRAINING = ['loss/shared_head_loss', 'accuracy/shared_head_accuracy']


@pytest.fixture(scope='module')
def everything(setup_of: Callable[..., Setup], build: Any) -> Any:
  """A graph with all parts of the loss at once."""
  return build(
    setup_of(
      **SHARED,
      shared_head_weight=0.5,
      l2_reg_weight=0.01,
      warmup_steps=8,
      number_of_trained_cnn_layers=1,
      learning_rate=0.1,
      learning_rate_decay_rate=0.5,
      learning_rate_decay_steps=2.0,
      label_smoothing=0.1,
    )
  )


@pytest.fixture(scope='module')
def steps(everything: Any) -> list[dict[str, float]]:
  """The metrics of 4 steps, with the number of updates then done under 'step'."""
  ops = everything.ops
  assert ops.test_stream is not None
  with everything.graph.as_default(), tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for stream in (ops.train_stream, ops.test_stream):
      session.run(stream.initializer, {stream.first: 0})
    fetches = {**ops.metrics, 'step': ops.step_done, 'total': ops.loss}
    found = [session.run(fetches) for _ in range(4)]
    found[-1] |= session.run(ops.test_metrics, {ops.testing: True})
  return found


@pytest.mark.parametrize(
  ('changes', 'tags'),
  [
    ({'warmup_steps': 4}, WARMUP),
    ({'l2_reg_weight': 0.1}, REGULARISED),
    ({**SHARED, 'shared_head_weight': 0.5}, SHARED_HEAD),
    (SHARED, PLAIN),
    ({**SHARED, 'pretrain_shared_feature': True}, PRETRAINING),
  ],
  ids=['warmup', 'regularised', 'shared head', 'shared features alone', 'pretraining'],
)
def test_tags_are_those_of_the_original_and_the_learning_rate(
  setup_of: Callable[..., Setup],
  build: Any,
  changes: dict[str, Any],
  tags: list[str],
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """No gradients are built, which take most of the time. test_loop looks at the plain case."""
  monkeypatch.setattr(
    optimizer, 'minimize', lambda loss, config, step: (tf.no_op(), tf.constant(0.5))
  )
  ops = build(setup_of(**changes)).ops
  assert sorted(ops.metrics) == sorted([*tags, 'learning_rate'])
  assert list(ops.test_metrics) == ([] if tags is PRETRAINING else ['accuracy/test_accuracy'])


def test_tags_of_everything_at_once(everything: Any) -> None:
  assert sorted(everything.ops.metrics) == sorted(
    {*WARMUP, *REGULARISED, *SHARED_HEAD, 'learning_rate'}
  )


def test_the_loss_is_the_sum_of_its_parts(steps: list[dict[str, float]]) -> None:
  for found in steps:
    assert found['loss/weighted_shared_head_loss'] == pytest.approx(
      0.5 * found['loss/shared_head_loss']
    )
    assert found['loss/loss'] == pytest.approx(
      found['loss/loss/ce']
      + found['loss/loss/regularization']
      + found['loss/weighted_shared_head_loss'],
      rel=1e-5,
    )
    assert found['total'] == found['loss/loss']


def test_warmup_weights_move_from_head_to_head(steps: list[dict[str, float]]) -> None:
  """A stage has 8 / 2 steps: in the first one, head 1 fades and head 2 grows."""
  for number, found in enumerate(steps):
    assert found['warmup_weights/head-1'] == pytest.approx(1 - number / 4)
    assert found['warmup_weights/head-2'] == pytest.approx(number / 4)
    assert found['warmup_weights/main'] == 0.0


def test_the_learning_rate_is_that_of_the_step(steps: list[dict[str, float]]) -> None:
  for number, found in enumerate(steps):
    assert found['learning_rate'] == pytest.approx(0.1 * 0.5 ** (number / 2))


def test_one_session_run_is_one_update(steps: list[dict[str, float]]) -> None:
  assert [found['step'] for found in steps] == [1, 2, 3, 4]


def test_a_test_episode_is_of_the_test_set_and_without_dropout(
  setup_of: Callable[..., Setup], build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """From one support set and two seeds, only a test episode generates the same tensors."""
  taken: list[Episode] = []
  either = pipeline.either
  monkeypatch.setattr(
    pipeline, 'either', lambda *streams: taken.append(either(*streams)) or taken[0]
  )
  monkeypatch.setattr(
    optimizer, 'minimize', lambda loss, config, step: (tf.no_op(), tf.constant(0.5))
  )
  built = build(setup_of(train_dataset='tiny:0-9', test_dataset='tiny:10-19', fe_dropout=0.5))
  ops, episode = built.ops, taken[0]
  assert ops.test_stream is not None
  with built.graph.as_default(), tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for stream in (ops.train_stream, ops.test_stream):
      session.run(stream.initializer, {stream.first: 0})
    fixed = {x: session.run(x) for x in (episode.support_images, episode.support_labels)}
    for testing, classes in ((False, range(10)), (True, range(10, 20))):
      assert set(session.run(episode.query_classes, {ops.testing: testing})) <= set(classes)
      one, other = (
        session.run(ops.weights, {**fixed, ops.testing: testing, episode.seed: [1, number]})
        for number in range(2)
      )
      assert all(np.array_equal(one[tag], other[tag]) for tag in one) == testing


def test_accuracies_are_fractions_of_the_samples(steps: list[dict[str, float]]) -> None:
  """There are 9 query images, and 6 support images for the real classes."""
  for found in steps:
    for tag, value in found.items():
      if tag.startswith('accuracy/'):
        samples = 6 if 'shared_head' in tag else 9
        assert value * samples == pytest.approx(round(value * samples), abs=1e-5), tag
  assert 0.0 <= steps[-1]['accuracy/test_accuracy'] <= 1.0


def test_every_trained_variable_is_reached_by_the_loss(everything: Any) -> None:
  """So are those of the final logits, though their weight in the loss is 0 at first."""
  with everything.graph.as_default():
    variables = tf.trainable_variables()
    gradients = tf.gradients(everything.ops.loss, variables)
  assert [v.op.name for v, g in zip(variables, gradients, strict=True) if g is None] == []


def test_histograms_are_of_what_is_generated(everything: Any) -> None:
  layers = [('layer_2', 'conv/kernel', [2, 2, 2, 2]), ('layer_3', 'conv/kernel', [2, 2, 2, 2])]
  for name, inputs in (('layer_4', 2), ('head_1', 2), ('head_2', 2)):
    layers += [(name, 'logits/kernel', [inputs, 3]), (name, 'logits/bias', [3])]
  expected = {f'generated_weights/{layer}/{variable}': shape for layer, variable, shape in layers}
  assert {tag: x.shape.as_list() for tag, x in everything.ops.weights.items()} == expected


def test_pretraining_builds_no_cnn(setup_of: Callable[..., Setup], build: Any) -> None:
  built = build(setup_of(**SHARED, pretrain_shared_feature=True))
  with built.graph.as_default():
    names = {v.op.name.split('/')[1] for v in tf.trainable_variables()}
  assert names == {'shared_features', 'shared_head'}
  assert built.ops.rows == []
  assert built.ops.test_stream is None
