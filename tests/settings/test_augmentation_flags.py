"""The flags of random changes of images: those of training, and those of the test set."""

from __future__ import annotations

import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings import flags
from hypertransformer.settings.config import AugmentationConfig

OWN_PROBABILITIES = {
  'rotation_probability': 0.1,
  'smooth_probability': 0.2,
  'contrast_probability': 0.3,
  'resize_probability': 0.4,
  'negate_probability': 0.6,
  'roll_probability': 0.7,
  'angle_range': 30.0,
}


def test_every_flag_of_the_augmentation_in_training_arrives(values):
  v = values(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label_augmentation=True,
    apply_image_augmentations=True,
    augment_images_individually=True,
  )
  assert flags.settings_from(v).train_augmentation == AugmentationConfig(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label=True,
    photographic=True,
    photographic_individually=True,
  )


def test_the_test_set_follows_training_where_its_flag_is_minus_one(values):
  """This holds for the values, but not for switches: the test set has its own two switches, and no
  changes of photographs.
  """
  v = values(
    **OWN_PROBABILITIES,
    random_rotate_by_90=True,
    per_label_augmentation=True,
    apply_image_augmentations=True,
  )
  assert flags.settings_from(v).test_augmentation == AugmentationConfig(**OWN_PROBABILITIES)


@pytest.mark.parametrize('name', OWN_PROBABILITIES)
def test_each_test_flag_replaces_its_own_value_only(name, values):
  for value in (0.0, 0.05):  # 0 is a value, not "unset"
    chosen = flags.settings_from(
      values(**OWN_PROBABILITIES, **{f'test_{name}': value})
    ).test_augmentation
    assert chosen == AugmentationConfig(**{**OWN_PROBABILITIES, name: value})


@pytest.mark.parametrize('value', [-0.5, 1.5])
def test_a_probability_of_the_test_set_outside_0_to_1_is_refused(value, values):
  with pytest.raises(
    InputError, match=f'test_roll_probability is {value}; it must be a probability from 0 to 1'
  ):
    flags.settings_from(values(test_roll_probability=value))


def test_the_test_set_has_switches_of_its_own(values):
  chosen = flags.settings_from(
    values(test_random_rotate_by_90=True, test_per_label_augmentation=True)
  ).test_augmentation
  assert chosen.random_rotate_by_90
  assert chosen.per_label
