"""The training graph: its inputs, what a step gives, and devices that share the episodes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import pipeline
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions
from hypertransformer.training import graph as graph_lib

SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}
SEQUENCE = {'continual_scenario': 'class_incremental'}


# Inputs.


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'train_dataset': 'tiny:0-1'}, "'tiny' is used with 2 classes"),
    ({'test_dataset': 'tiny:0-1'}, "'tiny' is used with 2 classes"),
    ({'samples_cnn': 27}, 'tiny:0-19 have too few images, at least 8.* needs 9 .*--samples_cnn'),
    ({'image_size': 4, 'kernel_size': 3}, 'image_size'),
    ({'number_of_trained_cnn_layers': 4}, 'number_of_trained_cnn_layers=4'),
    ({**SEQUENCE, 'num_tasks': 4}, 'num_tasks=4.* needs 12'),
    ({**SEQUENCE, 'balanced_batches': False}, 'balanced_batches'),
    ({**SEQUENCE, 'samples_transformer': 7}, 'samples_transformer=7.*num_labels=3'),
    ({'continual_scenario': 'mini_batch', 'num_tasks': 5}, 'tiny:0-19 have too few images'),
  ],
)
def test_what_does_not_fit_together_is_refused_before_a_graph_is_built(
  settings_of, changes, message
):
  with tf.Graph().as_default() as graph:
    with pytest.raises(InputError, match=message):
      graph_lib.open_inputs(settings_of(**changes), seed=1)
    assert graph.get_operations() == []


def test_train_and_test_set_must_have_the_same_channels(settings_of, tmp_path, tiny):
  np.save(tmp_path / 'tiny.npy', tiny)
  np.save(tmp_path / 'coloured.npy', np.repeat(tiny, 3, axis=-1))
  settings = settings_of(data_numpy_dir=str(tmp_path), test_dataset='coloured:0-9')
  with pytest.raises(InputError, match=r"train_dataset 'tiny' has 1 .*test_dataset 'coloured' has"):
    graph_lib.open_inputs(settings, seed=1)


def test_datasets_are_those_of_the_flags_and_read_once(settings_of, tiny):
  inputs = graph_lib.open_inputs(settings_of(shuffle_labels_seed=3), seed=1)
  train, test = inputs.train.class_set, inputs.test.class_set
  assert train.classes.tolist() == list(range(20))
  assert test.classes.tolist() == list(range(20, 30))
  assert train.arrays is test.arrays
  first = train.arrays.gather(train.arrays.rows(0, range(8)))
  assert not np.array_equal(first, tiny[0]), 'classes are shuffled'


# Steps.


@pytest.fixture(scope='module')
def everything(settings_of, build):
  """A graph with all parts of the loss at once."""
  return build(
    settings_of(
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
def steps(everything):
  """The metrics of 4 steps, with the number of updates then done under 'step'."""
  ops = everything.ops
  with everything.graph.as_default(), tf.Session() as session:
    everything.start(session)
    fetches = {**ops.metrics, 'step': ops.step_done, 'total': ops.objective.loss}
    found = [session.run(fetches) for _ in range(4)]
    found[-1] |= session.run(ops.test_metrics, {ops.testing: True})
  return found


def test_the_loss_is_the_sum_of_its_parts(steps):
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


def test_schedules_follow_the_step(steps):
  """A warm-up stage has 8 / 2 steps: in the first one, head 1 fades and head 2 grows."""
  assert [found['step'] for found in steps] == [1, 2, 3, 4]
  for number, found in enumerate(steps):
    assert found['warmup_weights/head-1'] == pytest.approx(1 - number / 4)
    assert found['warmup_weights/head-2'] == pytest.approx(number / 4)
    assert found['warmup_weights/main'] == 0.0
    assert found['learning_rate'] == pytest.approx(0.1 * 0.5 ** (number / 2))


def test_every_trained_variable_is_reached_by_the_loss(everything):
  """So are those of the final logits, though their weight in the loss is 0 at first."""
  assert [v.op.name for gradient, v in everything.ops.gradients if gradient is None] == []


def test_histograms_are_of_what_is_generated(everything, settings_of, build):
  """Those of a sequence are of the weights after the last task."""
  layers = [('layer_2', 'conv/kernel', [2, 2, 2, 2]), ('layer_3', 'conv/kernel', [2, 2, 2, 2])]
  for name, inputs in (('layer_4', 2), ('head_1', 2), ('head_2', 2)):
    layers += [(name, 'logits/kernel', [inputs, 3]), (name, 'logits/bias', [3])]
  expected = {f'generated_weights/{layer}/{variable}': shape for layer, variable, shape in layers}
  weights = everything.ops.objective.weights
  assert {tag: x.shape.as_list() for tag, x in weights.items()} == expected
  weights = build(settings_of(**SEQUENCE)).ops.objective.weights
  assert {tag: x.shape.as_list() for tag, x in weights.items()} == {
    'generated_weights/layer_3/conv/kernel': [2, 2, 2, 2],
    'generated_weights/layer_4/logits/kernel': [2, 32],
    'generated_weights/layer_4/logits/bias': [32],
  }


def test_a_test_episode_is_of_the_test_set_and_without_dropout(settings_of, build, monkeypatch):
  """From one support set and two seeds, only a test episode generates the same tensors."""
  taken: list[Episode] = []
  either = pipeline.either
  monkeypatch.setattr(
    pipeline, 'either', lambda *streams: taken.append(either(*streams)) or taken[0]
  )
  built = build(settings_of(train_dataset='tiny:0-9', test_dataset='tiny:10-19', fe_dropout=0.5))
  ops, episode = built.ops, taken[0]
  with built.graph.as_default(), tf.Session() as session:
    built.start(session)
    fixed = {x: session.run(x) for x in (episode.support_images, episode.support_labels)}
    for testing, classes in ((False, range(10)), (True, range(10, 20))):
      assert set(session.run(episode.query_classes, {ops.testing: testing})) <= set(classes)
      one, other = (
        session.run(
          ops.objective.weights, {**fixed, ops.testing: testing, episode.seed: [1, number]}
        )
        for number in range(2)
      )
      assert all(np.array_equal(one[tag], other[tag]) for tag in one) == testing


# Devices.


def run(built, devices):
  """Trains 3 steps; returns the metrics of each step, and the variables."""
  ops = built.ops
  with built.graph.as_default():
    config = sessions.config(built.graph)
    config.device_count['CPU'] = devices
    config.experimental.executor_type = ''
    rng = np.random.default_rng(5)
    variables = {v.op.name: v for v in tf.trainable_variables()}
    with tf.Session(config=config) as session:
      built.start(session)
      for name in sorted(variables):
        variables[name].load(0.3 * rng.normal(size=variables[name].shape), session)
      fetches = {**ops.metrics, 'loss': ops.objective.loss, 'step': ops.step_done}
      return [session.run(fetches) for _ in range(3)], session.run(variables)


@pytest.mark.parametrize(
  ('together', 'changes'),
  [
    (4, {'fe_dropout': 0.5, 'max_prob_remove_labeled': 0.5, 'gradient_norm_clip': 0.1}),
    (2, {**SHARED, 'shared_head_weight': 0.5, 'warmup_steps': 8, 'optimizer': 'momentum'}),
  ],
)
def test_two_devices_train_like_one(settings_of, build, together, changes):
  """Each computes its share; variables are where all devices find them."""
  settings = settings_of(**changes, episodes_per_step=together)
  expected, expected_variables = run(build(settings), 1)
  built = build(settings, ('/cpu:0', '/cpu:1'))
  products = {op.device for op in built.graph.get_operations() if op.type == 'MatMul'}
  assert {'/cpu:0', '/cpu:1'} <= products
  found, variables = run(built, 2)
  with built.graph.as_default():
    assert {v.device for v in tf.trainable_variables()} == {'/cpu:0'}
  assert [step['step'] for step in found] == [1, 2, 3]
  for ours, theirs in zip(found, expected, strict=True):
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
  assert set(variables) == set(expected_variables)
  for name, value in expected_variables.items():
    np.testing.assert_allclose(variables[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_gpus_that_are_not_there_are_refused(monkeypatch):
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: ['one GPU'])
  assert graph_lib.gpus(0) == ()
  assert graph_lib.gpus(1) == ('/gpu:0',)
  with pytest.raises(InputError, match='num_gpus is 2'):
    graph_lib.gpus(2)
