"""Towers on two virtual CPU devices give the numbers of one device with the same episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import sessions
from hypertransformer.training import towers
from hypertransformer.training.setup import Setup

STEPS = 3
SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}


def run(built: Any, devices: int) -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
  """Trains a few steps; returns the metrics of each step, and the variables."""
  ops = built.ops
  with built.graph.as_default():
    config = sessions.config(built.graph)
    config.device_count['CPU'] = devices
    config.experimental.executor_type = ''
    rng = np.random.default_rng(5)
    variables = {v.op.name: v for v in tf.trainable_variables()}
    with tf.Session(config=config) as session:
      session.run(tf.global_variables_initializer())
      for name in sorted(variables):
        variables[name].load(0.3 * rng.normal(size=variables[name].shape), session)
      session.run(ops.train_stream.initializer, {ops.train_stream.first: 0})
      metrics = [
        session.run({**ops.metrics, 'loss': ops.loss, 'step': ops.step_done}) for _ in range(STEPS)
      ]
      return metrics, session.run(variables)


def two_devices(setup: Setup) -> Setup:
  return dataclasses.replace(setup, devices=('/cpu:0', '/cpu:1'))


@pytest.mark.parametrize(
  ('together', 'changes'),
  [
    (4, {'fe_dropout': 0.5, 'max_prob_remove_labeled': 0.5, 'gradient_norm_clip': 0.1}),
    (2, {**SHARED, 'shared_head_weight': 0.5, 'warmup_steps': 8, 'optimizer': 'momentum'}),
  ],
)
def test_two_devices_train_like_one(
  setup_of: Callable[..., Setup], build: Any, together: int, changes: dict[str, Any]
) -> None:
  setup = setup_of(**changes, episodes_per_step=together)
  expected, expected_variables = run(build(setup), 1)
  found, variables = run(build(two_devices(setup)), 2)
  assert [step['step'] for step in found] == [1, 2, 3]
  for ours, theirs in zip(found, expected, strict=True):
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
  assert set(variables) == set(expected_variables)
  for name, value in expected_variables.items():
    np.testing.assert_allclose(variables[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_every_device_computes_its_share(setup_of: Callable[..., Setup], build: Any) -> None:
  """Variables are where all devices find them."""
  graph = build(two_devices(setup_of(episodes_per_step=2))).graph
  products = {op.device for op in graph.get_operations() if op.type == 'MatMul'}
  assert {'/cpu:0', '/cpu:1'} <= products
  with graph.as_default():
    assert {v.device for v in tf.trainable_variables()} == {'/cpu:0'}


def test_episodes_must_be_shared_evenly(setup_of: Callable[..., Setup]) -> None:
  with pytest.raises(InputError, match=r'episodes_per_step=3 cannot be shared by num_gpus=2'):
    setup_of(episodes_per_step=3, num_gpus=2)
  with pytest.raises(InputError, match='num_gpus is -1; it must not be negative'):
    setup_of(num_gpus=-1)


def test_gpus_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: ['one GPU'])
  assert towers.gpus(0) == ()
  assert towers.gpus(1) == ('/gpu:0',)
  with pytest.raises(InputError, match='num_gpus is 2, but TensorFlow finds 1 GPUs'):
    towers.gpus(2)
