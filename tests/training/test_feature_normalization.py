"""--feature_normalization=support in whole runs: meta-batches, sequences of tasks, evaluation and
learners.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer import evaluate_model
from hypertransformer.learners import ContinualLearner, FewShotLearner
from hypertransformer.settings import flags
from hypertransformer.settings.config import CONTINUAL_METHODS

CONTINUAL = {'continual_scenario': 'class_incremental', 'num_tasks': 2, 'eval_num_tasks': 2}


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'episodes_per_step': 2},
    {'unlabeled_samples_per_class': 1, 'max_prob_remove_unlabeled': 0.5},
    *({**CONTINUAL, 'continual_method': method} for method in CONTINUAL_METHODS),
  ],
  ids=['single', 'meta-batch', 'unlabelled', *CONTINUAL_METHODS],
)
def test_a_run_trains_and_is_evaluated(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  tmp_path: pathlib.Path,
  changes: dict[str, Any],
) -> None:
  values = make_values(
    feature_normalization='support',
    train_log_dir=str(tmp_path),
    train_steps=2,
    seed=1,
    eval_once=True,
    **changes,
  )
  assert run_training(values) == 2
  evaluate_model.main(flags.settings_from(values))
  lines = (tmp_path / 'eval' / 'results.jsonl').read_text().splitlines()
  assert all(0 <= json.loads(line)['accuracy'] <= 1 for line in lines)


def test_learners_normalise_over_the_support_set_they_are_given(
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
  tiny: np.ndarray,
  tmp_path: pathlib.Path,
) -> None:
  """One sample moved changes the weights; the queries do not."""
  run_training(make_values(feature_normalization='support', train_log_dir=str(tmp_path / 'one')))
  images, names = np.concatenate(tiny[:3, :2]), np.repeat([1, 2, 3], 2)
  with FewShotLearner(tmp_path / 'one') as learner:
    before = learner.fit(images, names).weights()['layer_3/conv/kernel']
    learner.predict(tiny[5, :4])
    np.testing.assert_array_equal(before, learner.weights()['layer_3/conv/kernel'])
    moved = learner.fit(255 - images, names).weights()['layer_3/conv/kernel']
    assert np.isfinite(moved).all()
    assert (before != moved).any()
  run_training(
    make_values(feature_normalization='support', train_log_dir=str(tmp_path / 'two'), **CONTINUAL)
  )
  with ContinualLearner(tmp_path / 'two') as learner:
    for task in (0, 1):
      learner.learn(tiny[3 * task : 3 * task + 3, 0], np.arange(3 * task, 3 * task + 3))
    assert set(learner.predict(tiny[:6, 1])) <= set(range(6))
