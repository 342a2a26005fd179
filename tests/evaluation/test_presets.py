"""Presets by flags, what is measured on them, and the baseline of nearest pixels."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation.presets import Preset, measured_on, nearest_pixels, presets_from
from hypertransformer.settings import flags
from hypertransformer.settings.config import EpisodeConfig


@pytest.mark.parametrize(
  ('changes', 'expected'),
  [
    (
      {'train_dataset': 'tiny', 'use_labels': 4},
      [('train', 'tiny', [0, 1, 2, 3]), ('test', 'tiny:20-29', list(range(20, 30)))],
    ),
    (
      {'eval_datasets': 'test=tiny:20-29,mine=tiny:1,3,5-6'},
      [('test', 'tiny:20-29', list(range(20, 30))), ('mine', 'tiny:1,3,5-6', [1, 3, 5, 6])],
    ),
  ],
)
def test_presets_are_those_of_the_flags(
  make_values: Callable[..., Any], changes: dict[str, Any], expected: list[Any]
) -> None:
  """Shuffled or not, they share one copy of the data."""
  found = presets_from(flags.settings_from(make_values(**changes)).data)
  assert [(each.name, each.dataset, each.class_set.classes.tolist()) for each in found] == expected
  assert found[0].class_set.arrays is found[1].class_set.arrays


@pytest.mark.parametrize('datasets', ['test=tiny:20-30', 'tiny', 'omniglot'])
def test_presets_of_classes_that_do_not_exist_are_refused(
  make_values: Callable[..., Any], datasets: str
) -> None:
  with pytest.raises(InputError, match=f"'{datasets.removeprefix('test=').partition(':')[0]}'"):
    presets_from(flags.settings_from(make_values(eval_datasets=datasets)).data)


# What was measured.

SETTINGS = {'train_log_dir': 'logs', 'num_labels': 5, 'samples_transformer': 5}
CHANGES: list[dict[str, Any]] = [
  {},
  {'dataset': 'tiny:0-8'},
  {'dataset': 'tiny', 'split': 'test'},
  {'dataset': 'tiny', 'use_labels': 3},
  {'name': 'train'},  # has the augmentation of training
  {'num_labels': 4, 'samples_transformer': 5},
  {'samples_transformer': 25},
  {'samples_transformer': 25, 'balanced_batches': True},
  {'samples_transformer': 25, 'balanced_batches': True, 'unlabeled_samples_per_class': 1},
  {'disjoint_query': True},
  {'num_task_evals': 9},
  {'num_eval_batches': 8, 'eval_batch_size': 200},
  {'num_eval_batches': 8, 'eval_batch_size': 400},  # as many query images as by default
  {'query_statistics': 'support'},
  {'seed': 1},
  {'seed': 2},
  {'seed': 2, 'stream': 3},
  {'test_rotation_probability': 0.5},
  {'test_rotation_probability': 0.5, 'test_angle_range': 20.0},
  {'test_random_rotate_by_90': True},
  {'test_random_rotate_by_90': True, 'test_per_label_augmentation': True},
  {'shuffle_labels_seed': 7},
  {'image_size': 14},
  {'continual_scenario': 'class_incremental'},
  {'continual_scenario': 'class_incremental', 'mixed_queries': True},
  {'continual_scenario': 'class_incremental', 'eval_num_tasks': 3},
  {'continual_scenario': 'task_incremental'},
]


def on(
  dataset: str = 'tiny:0-9', split: str = '', stream: int = 2, name: str = 'val', **values: Any
) -> dict[str, Any]:
  quiet = {'test_smooth_probability': 0.0, 'test_contrast_probability': 0.0}
  settings = flags.settings_from(flags.defaults() | SETTINGS | quiet | values)
  return measured_on(settings, Preset(name, dataset, None, split), stream)  # type: ignore[arg-type]


def test_what_changes_the_number_tells_results_apart() -> None:
  texts = [json.dumps(on(**changes)) for changes in CHANGES]
  assert len(set(texts)) == len(texts)
  assert [json.loads(text) for text in texts] == [on(**changes) for changes in CHANGES]


@pytest.mark.parametrize(
  'changes',
  [
    {'learning_rate': 9.0},
    {'samples_cnn': 64},
    {'data_numpy_dir': '/elsewhere'},
    {'use_labels': 3},  # the spec names classes
    {'stream': 5},  # without a seed, tasks are sampled at random at every start
    {'test_angle_range': 20.0},  # nothing is rotated
    {'test_per_label_augmentation': True},  # nothing is augmented
    {'num_tasks': 9},
    {'apply_image_augmentations': True},  # in training only
  ],
  ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_change_the_number_tells_nothing_apart(changes: dict[str, Any]) -> None:
  assert on(**changes) == on()


def test_measured_has_plain_names() -> None:
  assert on(
    seed=3, test_rotation_probability=0.5, continual_scenario='class_incremental',
  ) == {
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
    'query_images': 200,  # a task of a sequence has one query batch
    'query_batch_size': 200,
    'query_statistics': 'batch',
    'tasks': 512,
    'seed': 3,
    'stream': 2,
    'sequence': {'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 5},
  }  # fmt: skip


# The baseline.


@pytest.mark.parametrize('unlabeled', [0, 1])
def test_nearest_pixels_are_those_of_a_plain_loop(
  data_folder: pathlib.Path, tiny: np.ndarray, unlabeled: int
) -> None:
  """Support images without a label are ignored, and so are queries that are support images."""
  config = EpisodeConfig(
    num_labels=5, support_samples=10, query_samples=20, balanced=True, unlabeled_per_class=unlabeled
  )
  sampler = EpisodeSampler(DataFolder(str(data_folder)).open('tiny:0-29'), config, seed=2, stream=0)
  pixels: np.ndarray = tiny.reshape(-1, 144).astype(int)
  expected = []
  for index in range(6):
    draw = sampler.draw(index)
    neighbours = [
      (row, label)
      for row, label in zip(draw.support_rows, draw.support_labels, strict=True)
      if label < 5
    ]
    right = []
    for row, position in zip(draw.query_rows, draw.query_positions, strict=True):
      if row not in draw.support_rows:
        distances = [((pixels[row] - pixels[other]) ** 2).sum() for other, _ in neighbours]
        right.append(neighbours[int(np.argmin(distances))][1] == position)
    expected.append(np.mean(right))
  found = nearest_pixels(sampler, 6)
  np.testing.assert_allclose(found, expected)
  assert found.mean() > 0.2


def test_tasks_without_other_query_images_are_left_out(tiny: np.ndarray, tmp_path: Any) -> None:
  np.save(tmp_path / 'pairs.npy', tiny[:, :2])
  config = EpisodeConfig(num_labels=5, support_samples=10, query_samples=10, balanced=True)
  sampler = EpisodeSampler(DataFolder(str(tmp_path)).open('pairs:0-9'), config, seed=2, stream=0)
  assert len(nearest_pixels(sampler, 3)) == 0
