"""What is watched beside training costs nothing at other steps, and is what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.training import loop, optimizer
from hypertransformer.training.episode_watch import EpisodeWatch, rhythm


@pytest.mark.parametrize(
  ('train_steps', 'every'),
  [(10, 2000), (6000, 2000), (200_000, 2000), (200_001, 4000), (4_000_000, 40_000)],
)
def test_pictures_come_at_most_a_hundred_times(train_steps: int, every: int) -> None:
  assert rhythm(train_steps, 2000) == every


def test_gradients_are_joined_by_the_part_of_the_model() -> None:
  with tf.Graph().as_default(), tf.Session() as session:
    names = ('model/generator_1/a', 'model/generator_1/b/kernel', 'model/cnn/layer_1/gamma')
    x, y, z, unused = (
      tf.get_variable(name, initializer=np.float32([1, 2])) for name in (*names, 'model/cnn/q/r')
    )
    loss = tf.reduce_sum(2 * x + y**2) + tf.reduce_sum(z)
    rule = tf.train.GradientDescentOptimizer(1.0)
    found = optimizer.by_layer(optimizer.gradients(rule, loss, [x, y, z, unused]))
    session.run(tf.global_variables_initializer())
    values = session.run(found)
  assert {tag: value.tolist() for tag, value in values.items()} == {
    'gradients/generator_1': [2, 2, 2, 4],
    'gradients/cnn/layer_1': [1, 1],
  }


@pytest.mark.parametrize(
  'changes', [{}, {'episodes_per_step': 2}, {'continual_scenario': 'class_incremental'}]
)
def test_other_steps_run_nothing_of_it(
  setup_of: Callable[..., Any], build: Any, changes: dict[str, Any]
) -> None:
  """The ops of an ordinary step are those of a graph in which nothing is watched."""
  built = build(setup_of(**changes))
  with built.graph.as_default():
    before = len(built.graph.get_operations())
    watch = EpisodeWatch(built.ops, 2)
    added = built.graph.get_operations()[before:]
    wanted = [built.ops.step_done, *built.ops.metrics.values(), built.ops.loss]
    needed = {node.name for node in _needed(built.graph, wanted)}
    assert added
    assert needed.isdisjoint(op.name for op in added)
    shown = [watch.test_fetches[name] for name in ('predicted', 'kernels', 'attention')]
    only_shown = {x.op.name for x in tf.nest.flatten(shown)}
    assert only_shown
    assert needed.isdisjoint(only_shown)


def _needed(graph: tf.Graph, tensors: list[tf.Tensor]) -> Any:
  """The nodes that TensorFlow runs for these tensors."""
  names = [tensor.op.name for tensor in tensors]
  return tf.graph_util.extract_sub_graph(graph.as_graph_def(), names).node


@pytest.mark.parametrize(
  'changes',
  [
    {'episodes_per_step': 2},
    {'continual_scenario': 'class_incremental'},
    {'continual_scenario': 'task_incremental', 'num_tasks': 2, 'continual_loss_terms': 'last'},
    {'continual_scenario': 'mini_batch'},
    {'continual_scenario': 'class_incremental', 'continual_method': 'constant_protonet'},
    {'warmup_steps': 2, 'unlabeled_samples_per_class': 1, 'layerwise_generator': 'separate'},
  ],
  ids=str,
)
def test_every_kind_of_episode_is_drawn(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  read_events: Callable[[Any], Any],
  tmp_path: Any,
  monkeypatch: pytest.MonkeyPatch,
  changes: dict[str, Any],
) -> None:
  for name in ('STEPS_PER_SUMMARY', 'STEPS_PER_HISTOGRAM', 'STEPS_PER_PICTURE'):
    monkeypatch.setattr(loop, name, 2)
  run_training(make_values(train_log_dir=str(tmp_path), train_steps=2, seed=1, **changes))
  pictures = read_events(tmp_path / 'train').pictures
  assert {'episode/test_episode', 'confusion/test_episode'} <= set(pictures)
  assert ('accuracy_matrix/test_episode' in pictures) == ('continual_scenario' in changes)
  with_kernels = changes.get('continual_method') != 'constant_protonet'
  assert ('kernels/test_episode/layer_4' in pictures) == with_kernels
  assert all(steps == [2] for steps in pictures.values())


def test_pretraining_has_gradients_and_no_pictures(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  read_events: Callable[[Any], Any],
  tmp_path: Any,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  for name in ('STEPS_PER_SUMMARY', 'STEPS_PER_HISTOGRAM', 'STEPS_PER_PICTURE'):
    monkeypatch.setattr(loop, name, 2)
  changes = {
    'pretrain_shared_feature': True,
    'shared_feature_extractor': '2-layer',
    'shared_features_dim': 4,
  }
  run_training(make_values(train_log_dir=str(tmp_path), train_steps=2, seed=1, **changes))
  events = read_events(tmp_path / 'train')
  assert events.pictures == {}
  assert {'gradients/shared_features', 'gradients/shared_head'} & set(events.histograms)
