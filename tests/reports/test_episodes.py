"""An episode before and after augmentation."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import episode_figure, episodes
from hypertransformer.settings import flags

Values = Callable[..., dict[str, Any]]


def drawn(values: dict[str, Any], split: str = 'train', number: int = 0) -> episodes.DrawnEpisode:
  return episodes.draw(flags.settings_from(values), split, number)


def test_without_augmentation_the_model_sees_what_is_stored(
  make_values: Values, tiny: np.ndarray
) -> None:
  found = drawn(make_values(), 'test')
  assert found.dataset == 'tiny:20-29'
  assert set(found.classes) <= set(range(20, 30))
  for stage in (found.before, found.after):
    assert stage.support.shape == (6, 12, 12, 1)
    assert stage.query.shape == (9, 12, 12, 1)
  np.testing.assert_allclose(found.after.support, found.before.support, atol=1e-6)
  np.testing.assert_allclose(found.after.query, found.before.query, atol=1e-6)
  for image, position in zip(found.before.support, found.support_positions, strict=True):
    pixels = np.round(255 * image)
    assert any(np.array_equal(pixels, each) for each in tiny[found.classes[position]])


def test_augmentation_is_that_of_the_split(make_values: Values) -> None:
  values = make_values(negate_probability=1.0, test_negate_probability=0.0)
  train, test = drawn(values), drawn(values, 'test')
  np.testing.assert_allclose(train.after.query, 1 - train.before.query, atol=1e-6)
  np.testing.assert_allclose(test.after.query, test.before.query, atol=1e-6)


def test_the_number_and_the_seed_choose_the_episode(make_values: Values) -> None:
  first = drawn(make_values(seed=1)).before.support
  np.testing.assert_array_equal(first, drawn(make_values(seed=1)).before.support)
  assert not np.array_equal(first, drawn(make_values(seed=1), number=1).before.support)
  assert not np.array_equal(first, drawn(make_values(seed=2)).before.support)


def test_the_figure_has_both_stages_of_the_same_images(make_values: Values) -> None:
  values = make_values(negate_probability=1.0, samples_transformer=9, unlabeled_samples_per_class=1)
  found = drawn(values)
  assert found.hidden.sum() == 3
  figure = episode_figure.figure(found)
  left, right = figure.axes
  assert (left.get_title(), right.get_title()) == ('as stored', 'as the model sees it')
  assert len(left.images) == len(right.images) == 3 * (3 + 3)
  for before, after in zip(left.images, right.images, strict=True):
    np.testing.assert_allclose(before.get_array(), 1 - after.get_array(), atol=1e-6)
    assert before.get_extent() == after.get_extent()
  assert len(left.lines) == 3
  title = figure.get_suptitle()
  assert title.startswith('One episode of tiny:0-19: 3 classes, 3 support and 3 query images')
  assert title.endswith('framed: its label is hidden')


def test_of_many_classes_and_images_the_first_are_shown(make_values: Values) -> None:
  values = make_values(num_labels=10, samples_transformer=40, samples_cnn=60)
  figure = episode_figure.figure(drawn(values))
  assert len(figure.axes[0].images) == 8 * (3 + 4)
  assert 'not all are shown' in figure.get_suptitle()


def test_images_of_another_size_and_of_three_channels(
  make_values: Values, tmp_path: pathlib.Path
) -> None:
  images = np.random.default_rng(0).integers(0, 256, (4, 5, 10, 20, 3), np.uint8)
  np.save(tmp_path / 'wide.npy', images)
  values = make_values(data_numpy_dir=str(tmp_path), train_dataset='wide:0-3')
  found = drawn(values)
  assert found.before.support.shape[1:] == (10, 20, 3)
  assert found.after.support.shape[1:] == (12, 12, 3)
  assert episode_figure.figure(found).axes[0].images


def test_other_numbers_of_channels_are_refused(make_values: Values, tmp_path: pathlib.Path) -> None:
  np.save(
    tmp_path / 'two.npy', np.random.default_rng(0).integers(0, 256, (4, 5, 12, 12, 2), np.uint8)
  )
  with pytest.raises(InputError, match='has 2 channels; 1 or 3 can be drawn'):
    drawn(make_values(data_numpy_dir=str(tmp_path), train_dataset='two:0-3'))
