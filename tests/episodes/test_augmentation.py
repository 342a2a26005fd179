"""Drawing and applying augmentation plans."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation
from hypertransformer.settings.config import AugmentationConfig

PROBABILITIES = [
  field.name
  for field in dataclasses.fields(AugmentationConfig)
  if field.name.endswith('_probability')
]


def evaluate(build):
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build())


def random_images(count, size=12, channels=1, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def drawn(config, num_groups, seed=(3, 4)):
  """Draws a plan, as a dict of arrays."""
  return evaluate(lambda: vars(augmentation.draw_plan(config, num_groups, tf.constant(seed))))


def augmented(images, groups, config, seed=(3, 4), photographic_seed=(5, 6), image_size=12):
  return evaluate(
    lambda: augmentation.photograph(
      augmentation.augment(
        tf.constant(images), tf.constant(groups), config, image_size, tf.constant(seed)
      ),
      config,
      tf.constant(photographic_seed),
    )
  )


@pytest.mark.parametrize('turns', [False, True])
def test_uint8_stays_uint8_without_an_operation_that_computes_colours(turns):
  config = AugmentationConfig(random_rotate_by_90=turns)
  images = random_images(6)

  def build():
    plan = augmentation.draw_plan(config, 6, tf.constant([1, 2]))
    return augmentation.apply_plan(config, plan, tf.constant(images)), plan.quarters

  ours, quarters = evaluate(build)
  assert ours.dtype == np.uint8
  expected = [
    np.rot90(image, times if turns else 0) for image, times in zip(images, quarters, strict=True)
  ]
  np.testing.assert_array_equal(ours, expected)


def test_switches_are_on_as_often_as_configured():
  probabilities = dict(zip(PROBABILITIES, (0.0, 0.1, 0.3, 0.5, 0.8, 1.0), strict=True))
  plan = drawn(AugmentationConfig(**probabilities), 4000)
  names = {name: name.removesuffix('_probability') for name in PROBABILITIES}
  names['rotation_probability'] = 'rotate'
  for name, probability in probabilities.items():
    switch = plan[names[name]]
    assert switch.dtype == bool
    assert abs(switch.mean() - probability) <= 4 * math.sqrt(probability * (1 - probability) / 4000)


def test_settings_fill_their_ranges_and_are_independent():
  config = AugmentationConfig(
    angle_range=90.0, random_rotate_by_90=True, **dict.fromkeys(PROBABILITIES, 0.5)
  )
  plan = drawn(config, 4000)
  ranges = {'radians': math.pi / 2, 'roll_x': 0.3, 'roll_y': 0.3, 'size': 1.0, 'alpha': 1.0}
  for name, limit in ranges.items():
    assert -limit <= plan[name].min() < -0.99 * limit
    assert 0.99 * limit < plan[name].max() <= limit
  np.testing.assert_allclose(np.bincount(plan['quarters']) / 4000, np.full(4, 0.25), atol=0.03)
  correlations = np.corrcoef(np.stack([value.astype(float) for value in plan.values()]))
  assert abs(correlations - np.eye(len(plan))).max() < 0.07


def test_a_plan_is_a_pure_function_of_its_seed():
  config = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 0.5))
  first, again, other = (drawn(config, 9, seed) for seed in ((3, 4), (3, 4), (3, 5)))
  for name, values in first.items():
    np.testing.assert_array_equal(values, again[name])
    if values.dtype == np.float32:
      assert (values != other[name]).all()


def test_an_image_whose_switch_is_off_stays_as_it_is():
  config = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 0.3))
  images = random_images(60)

  def build():
    plan = augmentation.draw_plan(config, 60, tf.constant([1, 2]))
    off = tf.logical_not(
      tf.reduce_any(
        [plan.rotate, plan.roll, plan.resize, plan.contrast, plan.smooth, plan.negate], axis=0
      )
    )
    return augmentation.apply_plan(config, plan, tf.constant(images)), off

  ours, off = evaluate(build)
  same = (ours == images).all(axis=(1, 2, 3))
  assert 0 < off.sum() < 60
  np.testing.assert_array_equal(same, off)


@pytest.mark.parametrize(
  'config',
  [
    AugmentationConfig(random_rotate_by_90=True, per_label=True),
    AugmentationConfig(rotation_probability=1.0, contrast_probability=0.5, per_label=True),
    AugmentationConfig(roll_probability=1.0, resize_probability=1.0, per_label=True),
  ],
)
def test_per_label_changes_a_class_alike_in_support_and_query(config):
  images = np.repeat(random_images(1), 20, axis=0)
  support = augmented(images, np.arange(20), config)
  queries = np.array([4, 0, 4, 7], np.int64)
  query = augmented(images[:4], queries, config, photographic_seed=(8, 9))
  np.testing.assert_array_equal(query, support[queries])
  assert len(np.unique(support, axis=0)) >= (4 if config.random_rotate_by_90 else 15)


def test_photographic_draws_differ_between_support_and_query():
  images = random_images(3, channels=3)
  config = AugmentationConfig(photographic=True)
  support = augmented(images, [0, 1, 2], config)
  np.testing.assert_array_equal(support, augmented(images, [0, 1, 2], config))
  assert abs(support - augmented(images, [0, 1, 2], config, photographic_seed=(5, 7))).max() > 0.05


def test_augment_works_in_a_dataset_and_repeats_with_its_seeds():
  config = AugmentationConfig(
    **dict.fromkeys(PROBABILITIES, 0.5),
    random_rotate_by_90=True,
    per_label=True,
    photographic=True,
    photographic_individually=True,
  )
  images = random_images(6, channels=3)

  def episode(number):
    seed = tf.stack([number, 11])
    changed = augmentation.augment(
      tf.constant(images), tf.constant([0, 0, 1, 1, 2, 2]), config, 20, seed
    )
    return augmentation.photograph(changed, config, seed + 1)

  with tf.Graph().as_default(), tf.Session() as session:
    episodes = (
      tf.data.Dataset.range(4)
      .repeat(2)
      .map(lambda number: episode(tf.cast(number, tf.int32)), num_parallel_calls=2)
    )
    following = tf.data.make_one_shot_iterator(episodes).get_next()
    assert following.shape.as_list() == [6, 20, 20, 3]
    results = [session.run(following) for _ in range(8)]
  assert all(np.isfinite(result).all() for result in results)
  for first, again in zip(results[:4], results[4:], strict=True):
    np.testing.assert_array_equal(first, again)
  assert len({result.tobytes() for result in results}) == 4
