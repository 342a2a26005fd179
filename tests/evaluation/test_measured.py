"""What a result was measured on: made of settings, written, read, and told apart."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import UNKNOWN, Measured, SequenceKind
from hypertransformer.settings import flags

SETTINGS = {'train_log_dir': 'logs', 'num_labels': 5, 'samples_transformer': 5}


def on(dataset: str = 'tiny:0-9', split: str = '', stream: int = 2, **values: Any) -> Measured:
  settings = flags.settings_from(flags.defaults() | SETTINGS | values)
  return measured.measured_on(settings, dataset, split, stream)


def line(of: Measured) -> dict[str, Any]:
  """A line of results.jsonl about this, as it is read."""
  fields = {'dataset': of.dataset, 'num_tasks': of.tasks, 'num_queries': of.query_images}
  return json.loads(json.dumps({**fields, 'measured': of.json()}))


@pytest.mark.parametrize(
  'changes',
  [
    {'dataset': 'tiny:0-8'},
    {'dataset': 'tiny', 'split': 'test'},
    {'num_labels': 4, 'samples_transformer': 5},
    {'samples_transformer': 25},
    {'samples_transformer': 25, 'balanced_batches': True},
    {'samples_transformer': 25, 'balanced_batches': True, 'unlabeled_samples_per_class': 1},
    {'disjoint_query': True},
    {'num_task_evals': 9},
    {'num_eval_batches': 8, 'eval_batch_size': 200},
    {'num_eval_batches': 8, 'eval_batch_size': 400},  # as many query images as by default
    {'seed': 1},
    {'seed': 2},
    {'seed': 2, 'stream': 3},
    {'test_rotation_probability': 0.5},
    {'test_rotation_probability': 0.5, 'test_angle_range': 20.0},
    {'rotation_probability': 0.25},
    {'test_random_rotate_by_90': True},
    {'test_random_rotate_by_90': True, 'test_per_label_augmentation': True},
    {'shuffle_labels_seed': 7},
    {'image_size': 14},
    {'continual_scenario': 'class_incremental'},
    {'continual_scenario': 'class_incremental', 'mixed_queries': True},
    {'continual_scenario': 'class_incremental', 'eval_num_tasks': 3},
    {'continual_scenario': 'task_incremental'},
  ],
)
def test_what_changes_the_number_tells_results_apart(changes: dict[str, Any]) -> None:
  """From the default, and from all of the list; and it is the same after writing and reading."""
  here = on(**changes)
  assert here != on()
  assert measured.of_line(line(here)) == here
  assert json.loads(json.dumps(here.json())) == here.json()


def test_the_changes_of_the_list_above_are_all_different() -> None:
  (mark,) = test_what_changes_the_number_tells_results_apart.pytestmark  # type: ignore[attr-defined]
  cases = mark.args[1]
  assert len({on(**changes) for changes in cases}) == len(cases)


@pytest.mark.parametrize(
  'changes',
  [
    {'learning_rate': 9.0},
    {'train_steps': 7},
    {'samples_cnn': 64},
    {'data_numpy_dir': '/elsewhere'},
    {'use_labels': 3},  # the spec names classes
    {'stream': 5},  # tasks are drawn anew at every start
    {'test_angle_range': 20.0},  # nothing is rotated
    {'test_per_label_augmentation': True},  # nothing is changed
    {'num_sample_repeats': 3},
    {'num_tasks': 9},
    {'apply_image_augmentations': True},  # in training only
  ],
)
def test_what_does_not_change_the_number_tells_nothing_apart(changes: dict[str, Any]) -> None:
  quiet = {'smooth_probability': 0.0, 'contrast_probability': 0.0}
  assert on(**quiet, **changes) == on(**quiet)


def test_the_number_of_used_labels_matters_for_a_dataset_without_classes() -> None:
  assert on('tiny', use_labels=3) != on('tiny', use_labels=4)


def test_the_json_has_plain_names() -> None:
  found = on(
    seed=3, test_rotation_probability=0.5, smooth_probability=0.0, contrast_probability=0.0,
    continual_scenario='class_incremental', num_eval_batches=1,
  ).json()  # fmt: skip
  assert found == {
    'dataset': 'tiny:0-9',
    'split': '',
    'use_labels': None,
    'shuffle_labels_seed': 0,
    'image_size': 28,
    'augmentation': {'angle_range': 180.0, 'rotation_probability': 0.5},
    'ways': 5,
    'support_images': 5,
    'unlabeled_per_class': 0,
    'balanced': False,
    'disjoint_query': False,
    'query_images': 200,
    'query_batch_size': 200,
    'tasks': 512,
    'seed': 3,
    'stream': 2,
    'sequence': {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 5},
  }


OLD = {'dataset': 'tiny:0-9', 'num_tasks': 512, 'num_queries': 3200}


def test_a_line_of_an_older_version_is_equal_to_its_like_only() -> None:
  old = measured.of_line(OLD)
  assert old == measured.of_line(dict(OLD))
  assert old != on()
  assert (old.dataset, old.tasks, old.query_images, old.sequence) == ('tiny:0-9', 512, 3200, None)
  assert old.ways == UNKNOWN
  assert old.episodes() is None
  assert old.task() == 'number of support images unknown'
  others = [{'dataset': 'tiny:0-8'}, {'num_tasks': 5}, {'num_queries': 5}]
  kind = {'scenario': 'task_incremental', 'num_tasks': 5}  # as it was before --mixed_queries
  assert all(measured.of_line({**OLD, **each}) != old for each in [*others, {'continual': kind}])
  found = measured.of_line({**OLD, 'continual': kind})
  assert found.sequence == SequenceKind('task_incremental', False, 5)


def test_texts_for_a_person() -> None:
  assert on().task() == '5-way 1-shot'
  assert on(samples_transformer=7).task() == '5-way, 7 support images'
  hidden = on(samples_transformer=15, balanced_batches=True, unlabeled_samples_per_class=1)
  assert hidden.task() == '5-way 2-shot, 1 more per class without label'
  several = [on(), on(seed=1), on(seed=1, eval_batch_size=100)]
  assert measured.differences(several) == [
    'query_images=3200, query_batch_size=200, seed=none, stream=none',
    'query_images=3200, query_batch_size=200, seed=1, stream=2',
    'query_images=1600, query_batch_size=100, seed=1, stream=2',
  ]
  assert measured.differences([on(), on(samples_transformer=25)]) == ['', '']
  assert measured.compared(on(), on(samples_transformer=25)) == (
    'support_images=5', 'support_images=25',
  )  # fmt: skip


def test_the_episodes_are_those_that_were_drawn() -> None:
  values = SETTINGS | {'samples_transformer': 15, 'balanced_batches': True, 'disjoint_query': True}
  wanted = flags.settings_from(flags.defaults() | values).episodes
  found = on(**values, eval_batch_size=50).episodes()
  assert found == dataclasses.replace(wanted, query_samples=50)
