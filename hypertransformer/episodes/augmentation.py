"""Random changes of the images of an episode, alike for the whole episode or for each class.

See docs/spec/data.md, section 4. All that is random is a pure function of seeds given as tensors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops, photographic
from hypertransformer.episodes.image_ops import normalise
from hypertransformer.settings.config import AugmentationConfig

MAX_ROLL = 0.3  # fraction of the image size


def check(config: AugmentationConfig, image_shape: tuple[int, int, int]) -> None:
  """Check that images can take the changes that are configured, before any graph is built.

  Args:
    config: Which changes there are.
    image_shape: Height, width and channels of the images, (H, W, C).

  Raises:
    InputError: Quarter turns of images that are not square, or photographic changes of images with
      neither one nor three channels.
  """
  height, width, channels = image_shape
  if config.random_rotate_by_90:
    image_ops.require_square(height, width)
  if config.photographic:
    photographic.require_channels(channels)


@dataclasses.dataclass(frozen=True)
class AugmentationPlan:
  """The random settings of n images, or of n groups of images that are changed alike.

  Every attribute is a tensor [n].

  Attributes:
    quarters: int32, how many quarter turns to make, 0 to 3.
    rotate: bool, whether to rotate.
    radians: The angle of the rotation.
    roll: bool, whether to shift cyclically.
    roll_x: The shift along the rows' axis, as a fraction of the height; see image_ops.roll.
    roll_y: The shift along the columns' axis, as a fraction of the width.
    resize: bool, whether to shrink.
    size: How much, in [-1, 1); see image_ops.resize_and_pad.
    contrast: bool, whether to change the contrast.
    alpha: How much, in [-1, 1); see image_ops.contrast.
    smooth: bool, whether to smooth.
    negate: bool, whether to make a negative.
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
    """Return the plan of images from one of groups: image i belongs to group `groups[i]`."""
    return AugmentationPlan(
      **{
        field.name: tf.gather(getattr(self, field.name), groups)
        for field in dataclasses.fields(self)
      }
    )


def draw_plan(
  config: AugmentationConfig, num_groups: int | tf.Tensor, seed: tf.Tensor
) -> AugmentationPlan:
  """Sample the settings of groups of images.

  Args:
    config: Probabilities and ranges.
    num_groups: How many groups there are. A group gets the same settings however many are sampled.
    seed: Integers [2]. The plan is a pure function of it: each attribute has a seed of its own,
      which is split off this one.

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
  """Change images as a plan says, in the order of the original.

  Args:
    config: Which changes there are. Those of probability 0 are left out of the graph.
    plan: Settings for each image, tensors [n].
    images: uint8 or float32 [n, H, W, C], from 0 to 255.

  Returns:
    [n, H, W, C], from 0 to 255. The values are float32, or of the given type if nothing but quarter
    turns is configured.

  Raises:
    InputError: The size of the images is not known, or they are to make quarter turns and are not
      square.
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
  """Apply `operation` to the images whose switch is on; computes nothing if none is."""

  def some() -> tf.Tensor:
    # The TF1 form takes whole images by a vector of switches; broadcasting is far slower.
    return tf.where(on, operation(images), images)

  changed = tf.cond(tf.reduce_any(on), some, lambda: tf.identity(images))
  return tf.ensure_shape(changed, images.shape)


def augment(
  images: tf.Tensor, groups: tf.Tensor, config: AugmentationConfig, image_size: int, seed: tf.Tensor
) -> tf.Tensor:
  """Augment and normalize the images of an episode, except for photographic augmentation.

  Args:
    images: uint8 [n, H, W, C], support and query images together, as they are changed alike.
    groups: Integers [n], the position of each image's class in the episode. With config.per_label
      each class has settings of its own.
    config: Which changes there are.
    image_size: Side of the resulting images in pixels.
    seed: Integers [2].

  Returns:
    float32 [n, image_size, image_size, C], normalised to value / 128 - 1.

  Raises:
    InputError: See `apply_plan`.
  """
  if not config.per_label:
    groups = tf.zeros_like(groups)
  # At least one group, even if there are no images. The draw of a group does not depend on how many
  # there are.
  num_groups = tf.maximum(tf.reduce_max(groups) + 1, 1)
  plan = draw_plan(config, num_groups, seed).for_images(groups)
  return normalise(apply_plan(config, plan, images), image_size)


def photograph(images: tf.Tensor, config: AugmentationConfig, seed: tf.Tensor) -> tf.Tensor:
  """Apply the photographic changes, if configured, to the support or the query set of an episode.

  Args:
    images: Normalised float32 [n, S, S, C].
    config: Which changes there are.
    seed: Integers [2]. The two sets have a seed each, so their photographs differ.

  Returns:
    float32 [n, S, S, C].
  """
  if not config.photographic:
    return images
  return photographic.augment_photographic(images, seed, config.photographic_individually)
