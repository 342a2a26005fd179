"""Random augmentation of an episode: one setting for the episode, or one per class.

Everything random is a pure function of seed tensors. Source: spec/data.md section 4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops, photographic
from hypertransformer.episodes.image_ops import normalise
from hypertransformer.settings.data_config import AugmentationConfig

MAX_ROLL = 0.3  # fraction of the image size


def check(config: AugmentationConfig, image_shape: tuple[int, int, int]) -> None:
  """Raises InputError, before any graph is built, for images (H, W, C) that the configured changes
  cannot take.
  """
  height, width, channels = image_shape
  if config.random_rotate_by_90:
    image_ops.require_square(height, width)
  if config.photographic:
    photographic.require_channels(channels)


@dataclasses.dataclass(frozen=True)
class AugmentationPlan:
  """Random settings, each a tensor [n], n groups (`draw_plan`) or n images (`for_images`).

  Switches (bool): `rotate`, `roll`, `resize`, `contrast`, `smooth`, `negate`. Settings: `quarters`
  int32 0..3; `radians`; `roll_x`, `roll_y` fractions of the size; `size` and `alpha` in [-1, 1),
  see image_ops.resize_and_pad and image_ops.contrast.
  """

  quarters: tf.Tensor
  rotate: tf.Tensor
  radians: tf.Tensor
  roll: tf.Tensor
  roll_x: tf.Tensor
  roll_y: tf.Tensor
  resize: tf.Tensor
  size: tf.Tensor
  contrast: tf.Tensor
  alpha: tf.Tensor
  smooth: tf.Tensor
  negate: tf.Tensor

  def for_images(self, groups: tf.Tensor) -> AugmentationPlan:
    """The plan of images whose settings are at index `groups` (integers [n]) of this plan."""
    return AugmentationPlan(
      **{
        field.name: tf.gather(getattr(self, field.name), groups)
        for field in dataclasses.fields(self)
      }
    )


def draw_plan(
  config: AugmentationConfig, num_groups: int | tf.Tensor, seed: tf.Tensor
) -> AugmentationPlan:
  """Draws the settings of `num_groups` groups of images.

  Args:
    config: probabilities and ranges.
    num_groups: how many; group g gets the same settings however many groups are drawn.
    seed: integer [2]; the plan is a pure function of it. Every variable has a seed of its own,
      split off this one.

  Returns:
    A plan of tensors [num_groups].
  """
  count = len(dataclasses.fields(AugmentationPlan))
  seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, count)))

  def uniform(low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([num_groups], next(seeds), low, high)

  def switch(probability: float) -> tf.Tensor:
    return uniform(0.0, 1.0) < probability

  angle_range = math.radians(config.angle_range)
  return AugmentationPlan(
    quarters=tf.cast(tf.floor(uniform(-2.0, 2.0) + 2.0), tf.int32),
    rotate=switch(config.rotation_probability),
    radians=uniform(-angle_range, angle_range),
    roll=switch(config.roll_probability),
    roll_x=uniform(-MAX_ROLL, MAX_ROLL),
    roll_y=uniform(-MAX_ROLL, MAX_ROLL),
    resize=switch(config.resize_probability),
    size=uniform(-1.0, 1.0),
    contrast=switch(config.contrast_probability),
    alpha=uniform(-1.0, 1.0),
    smooth=switch(config.smooth_probability),
    negate=switch(config.negate_probability),
  )


def apply_plan(config: AugmentationConfig, plan: AugmentationPlan, images: tf.Tensor) -> tf.Tensor:
  """Applies the configured operations in the order of the original.

  Args:
    config: operations of probability 0 are left out of the graph.
    plan: settings per image, tensors [n].
    images: uint8 or float32 [n, H, W, C], 0..255.

  Returns:
    [n, H, W, C], 0..255: float32, or the given dtype when nothing but turns by 90 is configured.

  Raises:
    InputError: unknown image size; turns by 90 of images that are not square.
  """
  if config.random_rotate_by_90:
    images = image_ops.rot90(images, plan.quarters)
  if config.needs_floats:
    images = tf.cast(images, tf.float32)
  if config.rotation_probability:
    images = _switched(plan.rotate, lambda x: image_ops.rotate(x, plan.radians), images)
  if config.roll_probability:
    images = _switched(plan.roll, lambda x: image_ops.roll(x, plan.roll_x, plan.roll_y), images)
  if config.resize_probability:
    images = _switched(plan.resize, lambda x: image_ops.resize_and_pad(x, plan.size), images)
  if config.contrast_probability:
    images = _switched(plan.contrast, lambda x: image_ops.contrast(x, plan.alpha), images)
  if config.smooth_probability:
    images = _switched(plan.smooth, image_ops.smooth, images)
  if config.negate_probability:
    images = _switched(plan.negate, image_ops.negate, images)
  return images


def _switched(
  on: tf.Tensor, operation: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tf.Tensor:
  """`operation` on the images whose switch is on; not computed at all when none is."""

  def some() -> tf.Tensor:
    # The TF1 form takes whole images by a vector of switches; broadcasting is far slower.
    return tf.where(on, operation(images), images)

  changed = tf.cond(tf.reduce_any(on), some, lambda: tf.identity(images))
  return tf.ensure_shape(changed, images.shape)


def augment(
  images: tf.Tensor, groups: tf.Tensor, config: AugmentationConfig, image_size: int, seed: tf.Tensor
) -> tf.Tensor:
  """Changes and normalises the images of an episode, all but `photograph`.

  Args:
    images: uint8 [n, H, W, C], support and query together: they are changed alike.
    groups: integers [n], position of each image's class in the episode; used with `per_label`.
    config: what to do.
    image_size: side of the result in pixels.
    seed: integer [2].

  Returns:
    float32 [n, image_size, image_size, C], normalised (image / 128 - 1).

  Raises:
    InputError: see `apply_plan`.
  """
  if not config.per_label:
    groups = tf.zeros_like(groups)
  # At least one group, for a part of no images; group g's draw does not depend on the number.
  num_groups = tf.maximum(tf.reduce_max(groups) + 1, 1)
  plan = draw_plan(config, num_groups, seed).for_images(groups)
  return normalise(apply_plan(config, plan, images), image_size)


def photograph(images: tf.Tensor, config: AugmentationConfig, seed: tf.Tensor) -> tf.Tensor:
  """The photographic changes, if configured, of one part (support or query) of an episode.

  Args:
    images: normalised, [n, S, S, C].
    config: what to do.
    seed: integer [2], of this part only: photographs of one class differ.
  """
  if not config.photographic:
    return images
  return photographic.augment_photographic(images, seed, config.photographic_individually)
