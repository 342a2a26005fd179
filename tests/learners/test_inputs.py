"""The images and labels that learners take, and those that they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner, inputs

IMAGES = np.zeros((6, 12, 12, 1), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None]
NAN = np.where(np.arange(6)[:, None, None, None] == 3, np.nan, IMAGES)


def test_labels_come_back_in_the_callers_terms(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(3)
  plain = learner.fit(task.support, task.labels).predict(task.queries)
  assert plain.dtype.kind == 'i'
  assert len(np.unique(plain)) > 1
  for given, kind in (
    ((task.labels * 10 - 5).astype(np.int8), 'i'),
    ([np.int16(y) for y in task.labels + 7], 'i'),
  ):
    found = learner.fit(task.support, given).predict(task.queries)
    assert found.dtype.kind == kind
    np.testing.assert_array_equal(learner.labels(), np.unique(given))
    np.testing.assert_array_equal(found, np.unique(given)[plain])  # whole numbers by size


def test_the_type_of_the_images_changes_nothing(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(9)
  expected = learner.fit(task.support, task.labels).scores(task.queries)
  for convert in (
    lambda x: x.astype(np.float64),
    lambda x: x[..., 0],
    lambda x: x.astype(np.int64),
    lambda x: x.astype(np.float32)[..., 0],
    lambda x: x.tolist(),
  ):
    learner.fit(convert(task.support), task.labels.tolist())
    np.testing.assert_array_equal(learner.scores(convert(task.queries)), expected)


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (
      np.zeros((6, 28, 28, 1), np.uint8),
      r'the shape \[6, 28, 28, 1\]; .* \[n, 12, 12, 1\]: resize images to 12 x 12',
    ),
    (
      np.zeros((6, 12, 12, 3), np.uint8),
      r'\[6, 12, 12, 3\].*: give images with 1 channels \(grey\)',
    ),
    (IMAGES[0], r'the shape \[12, 12, 1\].*: of a single image make a batch by image\[None\]'),
    (IMAGES[0, :, :, 0], r'the shape \[12, 12\].*image\[None\]'),
    (np.zeros((0, 12, 12, 1), np.uint8), 'are empty'),
    ([], r'the shape \[0\]'),
    (
      IMAGES / 255.0,
      r'are in 0\.\.0\.0196\d*, as if white were 1; expected 0..255: multiply them by 255',
    ),
    (IMAGES / 128.0 - 1, 'are in -1..-0.9.*; expected pixels in 0..255, not normalised'),
    (IMAGES.astype(np.int32) * 100, r'are in 0..500; expected pixels in 0..255'),
    (NAN, 'hold values that are no numbers'),
    (np.where(np.isnan(NAN), np.inf, NAN), 'hold values that are no numbers'),
    (IMAGES // 3, r'are in 0\.\.1, as if white were 1; expected 0..255: multiply them by 255'),
    (
      np.where(IMAGES == 5, 1 + 1e-7, 0),
      r'are in 0\.\.1\.0000001, as if white were 1; .*multiply them by 255',
    ),
    (IMAGES.astype(np.int64) // 2, r'are in 0\.\.2, as if white were 1'),
    (
      np.moveaxis(IMAGES, -1, 1),
      r'\[6, 1, 12, 12\].*: the axes are .* np\.moveaxis\(images, 1, -1\)',
    ),
    (np.moveaxis(IMAGES, -1, 2), r'\[6, 12, 1, 12\].*give np\.moveaxis\(images, 2, -1\)\.$'),
    (np.moveaxis(IMAGES, 0, -1), r'\[12, 12, 1, 6\].*give np\.moveaxis\(images, 3, 0\)\.$'),
    (np.moveaxis(IMAGES, -1, 0), r'\[1, 6, 12, 12\].*give np\.moveaxis\(images, 0, -1\)\.$'),
    (np.moveaxis(IMAGES[..., 0], 0, -1), r'\[12, 12, 6\].*give np\.moveaxis\(images, 2, 0\)\.$'),
    (
      np.zeros((6, 1, 28, 28), np.uint8),
      r'give np\.moveaxis\(images, 1, -1\), resized to 12 x 12 pixels\.$',
    ),
    (IMAGES > 2, 'are bool; expected numbers 0..255, such as uint8: multiply them by 255'),
    (IMAGES.astype(str), 'expected numbers 0..255'),
    (IMAGES.astype(complex), 'are complex128; expected numbers 0..255'),
    (IMAGES.astype(object), 'are object; expected numbers 0..255'),
    ([IMAGES[0], IMAGES[1, :5]], 'have images of different shapes'),
    (None, 'are object; expected numbers'),
  ],
)
def test_unfit_images_are_refused(
  learner: FewShotLearner, make_task: Any, images: Any, message: str
) -> None:
  with pytest.raises(InputError, match=f'^support images .*{message}'):
    learner.fit(images, [0, 0, 1, 1, 2, 2])
  task = make_task(0)
  learner.fit(task.support, task.labels)
  with pytest.raises(InputError, match=f'^query images .*{message}'):
    learner.predict(images)


def test_the_axes_of_a_single_colour_image_are_named() -> None:
  images = np.zeros((3, 12, 12), np.uint8)
  with pytest.raises(InputError, match=r'give np\.moveaxis\(images, 0, -1\)\[None\]\.$'):
    inputs.pixels(images, (12, 12, 3), 'query images', may_be_black=True)
  images = np.moveaxis(images, 0, -1)[None]
  assert inputs.pixels(images, (12, 12, 3), 'x', may_be_black=True).shape == (1, 12, 12, 3)


def test_what_was_refused_is_taken_when_it_is_multiplied() -> None:
  images = IMAGES / 5 * 1.0000001
  with pytest.raises(InputError, match='multiply them by 255'):
    inputs.pixels(images, (12, 12, 1), 'x', may_be_black=False)
  assert inputs.pixels(images * 255, (12, 12, 1), 'x', may_be_black=False).max() < 255.01


def test_a_black_image_is_predicted_but_not_learned_from(
  learner: FewShotLearner, make_task: Any
) -> None:
  task = make_task(0)
  learner.fit(task.support, task.labels)
  black = np.zeros((1, 12, 12, 1), np.uint8)
  for image in (black, black.astype(np.float32)):
    assert learner.predict(image).shape == (1,)
  with pytest.raises(InputError, match=r'support images are all black \(0\); expected pixels in'):
    learner.fit(np.zeros_like(task.support), task.labels)


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ([0, 0, 0, 0, 0, 0], r'of 1 classes \(0\); this model tells 2 to 3 apart'),
    ([0, 1, 2, 3, 4, 5], r'of 6 classes \(0, 1, 2, 3, 4, \.\.\.\); this model tells 2 to 3 apart'),
    ([0, 0, 1, 1, 2], 'there are 5 labels for 6 images'),
    ([], 'there are 0 labels for 6 images'),
    (
      np.eye(3)[[0, 0, 1, 1, 2, 2]],
      r'labels have the shape \[6, 3\]; expected one label per image, \[6\]',
    ),
    ('aabbcc', "labels are 'aabbcc'; expected a list"),
    (3, 'labels are 3; expected a list'),
    (None, 'labels are None; expected a list'),
    ([0, 0, 1, 1, 2, [2]], r'label 5 is \[2\]; expected something that can be told apart'),
    ([0, 0, 1, 1, 2, None], 'label 5 is None; every image needs a label'),
    (np.array([0, 0, 1, 1, 2, np.nan]), 'label 5 is nan; every image needs a label'),
  ],
)
def test_unfit_labels_are_refused(learner: FewShotLearner, labels: Any, message: str) -> None:
  with pytest.raises(InputError, match=message):
    learner.fit(IMAGES, labels)
