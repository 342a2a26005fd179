"""The images and labels that learners take, and those that they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner

IMAGES = np.zeros((6, 12, 12, 1), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None]


def test_labels_come_back_in_the_callers_terms(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(3)
  plain = learner.fit(task.support, task.labels).predict(task.queries)
  assert plain.dtype.kind == 'i'
  assert len(np.unique(plain)) > 1
  for given in ((task.labels * 10 - 5).astype(np.int8), [np.int16(y) for y in task.labels + 7]):
    found = learner.fit(task.support, given).predict(task.queries)
    assert found.dtype.kind == 'i'
    np.testing.assert_array_equal(learner.labels(), np.unique(given))
    np.testing.assert_array_equal(found, np.unique(given)[plain])  # whole numbers by size


def test_the_type_of_the_images_changes_nothing(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(9)
  expected = learner.fit(task.support, task.labels).scores(task.queries)
  for convert in (
    lambda x: x.astype(np.float64),
    lambda x: x.astype(np.int64)[..., 0],
    lambda x: x.tolist(),
  ):
    learner.fit(convert(task.support), task.labels.tolist())
    np.testing.assert_array_equal(learner.scores(convert(task.queries)), expected)


@pytest.mark.parametrize(
  ('images', 'found'),
  [
    (np.zeros((6, 28, 28, 1), np.uint8), r'\[6, 28, 28, 1\].*\[n, 12, 12, 1\]'),
    (np.moveaxis(IMAGES, -1, 1), r'\[6, 1, 12, 12\].*moveaxis'),
    (IMAGES[0], r'\[12, 12, 1\].*image\[None\]'),
    (np.zeros((0, 12, 12, 1), np.uint8), r'\[0, 12, 12, 1\]'),
    (IMAGES / 255.0, r'to 0\.0196.*255'),
    (IMAGES / 128.0 - 1, r'from -1 to -0\.9'),
    (IMAGES.astype(np.int32) * 100, 'to 500;'),
    (np.where(IMAGES == 3, np.nan, IMAGES), 'nan'),
    (IMAGES.astype(str), '<U'),
    ([IMAGES[0], IMAGES[1, :5]], r'\[n, 12, 12, 1\]'),
    (None, 'object'),
  ],
)
def test_invalid_images_are_refused(
  learner: FewShotLearner, make_task: Any, images: Any, found: str
) -> None:
  task = make_task(0)
  learner.fit(task.support, task.labels)
  before = learner.weights()['layer_3/conv/kernel']
  with pytest.raises(InputError, match=f'support images .*{found}'):
    learner.fit(images, [0, 0, 1, 1, 2, 2])
  np.testing.assert_array_equal(learner.weights()['layer_3/conv/kernel'], before)
  with pytest.raises(InputError, match=f'query images .*{found}'):
    learner.predict(images)


def test_a_black_image_is_predicted_but_not_learned_from(
  learner: FewShotLearner, make_task: Any
) -> None:
  task = make_task(0)
  learner.fit(task.support, task.labels)
  assert learner.predict(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1,)
  with pytest.raises(InputError, match=r'support images .*to 0;'):
    learner.fit(np.zeros_like(task.support), task.labels)


@pytest.mark.parametrize(
  ('labels', 'found'),
  [
    ([0, 0, 0, 0, 0, 0], r'1 classes \(0\).*2 to 3'),
    ([0, 1, 2, 3, 4, 5], r'6 classes \(0, 1, 2, 3, 4, \.\.\.\)'),
    ([0, 0, 1, 1, 2], '5 labels for 6 images'),
    (np.eye(3)[[0, 0, 1, 1, 2, 2]], 'Label 0'),
    ('aabbcc', 'aabbcc'),
    ([0, 0, 1, 1, 2, None], 'Label 5 is None'),
    (np.array([0, 0, 1, 1, 2, np.nan]), 'Label 5 is nan'),
  ],
)
def test_invalid_labels_are_refused(learner: FewShotLearner, labels: Any, found: str) -> None:
  with pytest.raises(InputError, match=found):
    learner.fit(IMAGES, labels)
