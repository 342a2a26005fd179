"""A training step on several episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.training.setup import Setup

SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'fe_dropout': 0.5, 'max_prob_remove_labeled': 0.5},
    {**SHARED, 'shared_head_weight': 0.5, 'warmup_steps': 8},
  ],
)
def test_several_episodes_a_step_are_the_mean_of_single_ones(
  setup_of: Callable[..., Setup], build: Any, changes: dict[str, Any]
) -> None:
  """Episodes and variables are the same. Metrics, loss and gradients are compared."""
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
