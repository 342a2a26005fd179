"""The training graph: what it measures, under which tags, and what is refused before it is built."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import pipeline
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import InputError
from hypertransformer.settings import from_flags
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import optimizer
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup, check, setup_from

SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}

# Tags that the original writes (golden/summary_tags.json), test_accuracy aside. A head less than
# there: a CNN of three convolutions has two.
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


@dataclasses.dataclass
class Built:
  """A built graph: its ops, and itself."""

  ops: TrainGraph
  graph: tf.Graph


@pytest.fixture(scope='module')
def setup_of(make_values: Callable[..., Any]) -> Callable[..., Setup]:
  return lambda **changes: setup_from(from_flags.settings_from(make_values(**changes)))


def build(setup: Setup) -> Built:
  with tf.Graph().as_default() as graph:
    tf.set_random_seed(1)
    return Built(graph_lib.build(setup, seed=1), graph)


@pytest.fixture(scope='module')
def everything(setup_of: Callable[..., Setup]) -> Built:
  """All parts of the loss at once."""
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
def steps(everything: Built) -> list[dict[str, float]]:
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
def test_tags_are_the_originals_and_the_learning_rate(
  setup_of: Callable[..., Setup],
  changes: dict[str, Any],
  tags: list[str],
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  """Without gradients, which take most of the time. (Of the plain case test_loop reads the events.)"""
  monkeypatch.setattr(
    optimizer, 'minimize', lambda loss, config, step: (tf.no_op(), tf.constant(0.5))
  )
  ops = build(setup_of(**changes)).ops
  assert sorted(ops.metrics) == sorted([*tags, 'learning_rate'])
  assert list(ops.test_metrics) == ([] if tags is PRETRAINING else ['accuracy/test_accuracy'])


def test_tags_of_everything_at_once(everything: Built) -> None:
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


def test_warmup_weights_slide(steps: list[dict[str, float]]) -> None:
  """Stages of 8 / 2 steps: head 1 fades, head 2 grows."""
  for number, found in enumerate(steps):
    assert found['warmup_weights/head-1'] == pytest.approx(1 - number / 4)
    assert found['warmup_weights/head-2'] == pytest.approx(number / 4)
    assert found['warmup_weights/main'] == 0.0


def test_the_learning_rate_is_that_of_the_step(steps: list[dict[str, float]]) -> None:
  for number, found in enumerate(steps):
    assert found['learning_rate'] == pytest.approx(0.1 * 0.5 ** (number / 2))


def test_a_run_is_one_update(steps: list[dict[str, float]]) -> None:
  assert [found['step'] for found in steps] == [1, 2, 3, 4]


def test_a_test_episode_is_of_the_test_set_and_without_dropout(
  setup_of: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
  """Fed with one support set and two seeds, the same tensors are generated in a test episode only."""
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


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'fe_dropout': 0.5, 'max_prob_remove_labeled': 0.5},
    {**SHARED, 'shared_head_weight': 0.5, 'warmup_steps': 8},
  ],
)
def test_several_episodes_a_step_are_the_mean_of_single_ones(
  setup_of: Callable[..., Setup], changes: dict[str, Any]
) -> None:
  """The same three episodes and variables: metrics, loss and gradients, with dropout and hidden
  samples too.
  """
  found = []
  for together in (1, 3):
    built = build(setup_of(**changes, episodes_per_step=together))
    ops = built.ops
    with built.graph.as_default(), tf.Session() as session:
      variables = {v.op.name: v for v in tf.trainable_variables()}
      gradients = dict(
        zip(
          variables,
          map(tf.convert_to_tensor, tf.gradients(ops.loss, list(variables.values()))),
          strict=True,
        )
      )
      rng = np.random.default_rng(5)
      session.run(
        [variables[name].initializer for name in sorted(variables)],
        {
          variables[name].initializer.inputs[1]: 0.3 * rng.normal(size=variables[name].shape)
          for name in sorted(variables)
        },
      )
      session.run(ops.global_step.initializer)
      session.run(ops.train_stream.initializer, {ops.train_stream.first: 0})
      runs = [session.run({**ops.metrics, **gradients}) for _ in range(3 // together)]
    found.append({name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]})
  single, several = found
  assert set(single) == set(several)
  for name, expected in single.items():
    np.testing.assert_allclose(
      several[name], expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()), err_msg=name
    )


def test_several_episodes_of_a_sequence_of_tasks_are_refused(
  setup_of: Callable[..., Setup],
) -> None:
  with pytest.raises(InputError, match='episodes_per_step=2 does not go with --continual_scenario'):
    setup_of(episodes_per_step=2, continual_scenario='task_incremental', balanced_batches=True)
  with pytest.raises(InputError, match='episodes_per_step is 0; it must be positive'):
    setup_of(episodes_per_step=0)


def test_accuracies_are_fractions_of_the_samples(steps: list[dict[str, float]]) -> None:
  """9 query images; 6 support images for the real classes."""
  for found in steps:
    for tag, value in found.items():
      if tag.startswith('accuracy/'):
        samples = 6 if 'shared_head' in tag else 9
        assert value * samples == pytest.approx(round(value * samples), abs=1e-5), tag
  assert 0.0 <= steps[-1]['accuracy/test_accuracy'] <= 1.0


def test_every_trained_variable_is_reached_by_the_loss(everything: Built) -> None:
  """Those of the final logits too, though their weight in the loss is 0 at first."""
  with everything.graph.as_default():
    variables = tf.trainable_variables()
    gradients = tf.gradients(everything.ops.loss, variables)
  assert [v.op.name for v, g in zip(variables, gradients, strict=True) if g is None] == []


def test_histograms_are_of_what_is_generated(everything: Built) -> None:
  layers = [('layer_2', 'conv/kernel', [2, 2, 2, 2]), ('layer_3', 'conv/kernel', [2, 2, 2, 2])]
  for name, inputs in (('layer_4', 2), ('head_1', 2), ('head_2', 2)):
    layers += [(name, 'logits/kernel', [inputs, 3]), (name, 'logits/bias', [3])]
  expected = {f'generated_weights/{layer}/{variable}': shape for layer, variable, shape in layers}
  assert {tag: x.shape.as_list() for tag, x in everything.ops.weights.items()} == expected


def test_pretraining_builds_no_cnn(setup_of: Callable[..., Setup]) -> None:
  built = build(setup_of(**SHARED, pretrain_shared_feature=True))
  with built.graph.as_default():
    names = {v.op.name.split('/')[1] for v in tf.trainable_variables()}
  assert names == {'shared_features', 'shared_head'}
  assert built.ops.rows == []
  assert built.ops.test_stream is None


def no_graph(setup: Setup, seed: int = 1) -> None:
  """Checks a setup in an empty graph, which must stay empty."""
  with tf.Graph().as_default() as graph:
    try:
      check(setup, seed)
    finally:
      assert graph.get_operations() == []


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'train_dataset': 'tiny:0-1'},
      r"dataset 'tiny' is used with 2 classes, but an episode needs num_labels=3",
    ),
    (
      {'test_dataset': 'tiny:0-1'},
      r"dataset 'tiny' is used with 2 classes, but an episode needs num_labels=3",
    ),
    ({'samples_cnn': 27}, r'class 0 has 8 samples, but an episode needs 9 per class'),
    ({'image_size': 4, 'kernel_size': 3}, r'image_size is too small for cnn_model_name=3-layer'),
    (
      {'number_of_trained_cnn_layers': 4},
      r'number_of_trained_cnn_layers is 4, but the CNN has 3 convolutions',
    ),
  ],
)
def test_refused_before_a_graph_is_built(
  setup_of: Callable[..., Setup], changes: dict[str, Any], message: str
) -> None:
  with pytest.raises(InputError, match=message):
    no_graph(setup_of(**changes))


def test_a_negative_seed_is_refused(setup_of: Callable[..., Setup]) -> None:
  with pytest.raises(InputError, match='seed is -5; it must be 0 or more'):
    no_graph(setup_of(), seed=-5)


def test_train_and_test_set_must_have_the_same_channels(
  make_values: Callable[..., Any], tmp_path: pathlib.Path, tiny: np.ndarray
) -> None:
  np.save(tmp_path / 'tiny.npy', tiny)
  np.save(tmp_path / 'coloured.npy', np.repeat(tiny, 3, axis=-1))
  setup = setup_from(
    from_flags.settings_from(make_values(data_numpy_dir=str(tmp_path), test_dataset='coloured:0-9'))
  )
  with pytest.raises(
    InputError, match=r"train_dataset 'tiny' has 1 channels, test_dataset 'coloured' has 3"
  ):
    no_graph(setup)
