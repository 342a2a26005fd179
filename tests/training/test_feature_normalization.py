"""--feature_normalization=support in whole runs: meta-batches, sequences of tasks, evaluation."""

from __future__ import annotations

import json

import pytest

from hypertransformer import evaluate_model
from hypertransformer.settings import flags


@pytest.mark.parametrize(
  'changes',
  [
    {'episodes_per_step': 2},
    {'unlabeled_samples_per_class': 1, 'max_prob_remove_unlabeled': 0.5},
    {'continual_scenario': 'class_incremental', 'num_tasks': 2, 'eval_num_tasks': 2},
  ],
  ids=['meta-batch', 'unlabelled', 'sequence'],
)
def test_a_run_trains_and_is_evaluated(make_values, run_training, tmp_path, changes):
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
