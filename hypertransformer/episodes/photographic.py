"""Photographic changes of normalised images: flip, hue, brightness, contrast and a square crop.

They are what the flag apply_image_augmentations stands for (docs/spec/data.md, section 4,
"Photographs"). They are meant for RGB images; grey ones have no change of hue.
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError

MAX_HUE_SHIFT = 0.2  # fraction of a turn
MAX_BRIGHTNESS_SHIFT = 0.3  # fraction of full brightness
CONTRAST_RANGE = (0.8, 1.2)
CROP_RANGE = (0.6, 1.0)  # side of the crop as a fraction of the image side

# crop_and_resize fills a row with zeros when rounding puts it beyond the last pixel.
_LAST_EDGE = 1.0 - 1e-6


@dataclasses.dataclass(frozen=True)
class PhotographicDraw:
  """Random settings of the photographic augmentation of n images.

  There is one hue, brightness and contrast for the whole batch, or one for each image.

  Attributes:
    boxes: float32 [n, 4], the crop: y1, x1, y2, x2 as fractions of the image. The crop is mirrored
      left and right where x1 > x2.
    hue: float32 [1] or [n], the shift of the hue, as a fraction of a full turn.
    brightness: float32 [1] or [n], what is added, as a fraction of full brightness.
    contrast: float32 [1] or [n], the contrast factor.
  """

  boxes: tf.Tensor
  hue: tf.Tensor
  brightness: tf.Tensor
  contrast: tf.Tensor


def draw_photographic(
  num_images: int | tf.Tensor, seed: tf.Tensor, individually: bool
) -> PhotographicDraw:
  """Sample settings, as a pure function of the seed.

  Args:
    num_images: n, the number of images.
    seed: Integers [2].
    individually: Whether hue, brightness and contrast are sampled for each image. The flip and the
      crop always are.
  """
  seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 7)))

  def uniform(count: int | tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([count], next(seeds), low, high)

  num_colours = num_images if individually else 1
  return PhotographicDraw(
    boxes=_square_boxes(
      uniform(num_images, *CROP_RANGE),
      uniform(num_images, 0.0, 1.0),
      uniform(num_images, 0.0, 1.0),
      uniform(num_images, 0.0, 1.0) < 0.5,
    ),
    hue=uniform(num_colours, -MAX_HUE_SHIFT, MAX_HUE_SHIFT),
    brightness=uniform(num_colours, -MAX_BRIGHTNESS_SHIFT, MAX_BRIGHTNESS_SHIFT),
    contrast=uniform(num_colours, *CONTRAST_RANGE),
  )


def _square_boxes(side: tf.Tensor, y: tf.Tensor, x: tf.Tensor, mirror: tf.Tensor) -> tf.Tensor:
  """Place square boxes in images.

  Args:
    side: float32 [n], the sides of the boxes as fractions of the image.
    y: float32 [n], where a box is between the top (0) and the bottom (1).
    x: float32 [n], the same from left to right.
    mirror: bool [n], whether x1 and x2 are exchanged.

  Returns:
    float32 [n, 4]: y1, x1, y2, x2 as fractions of the image.
  """
  top, left = y * (1.0 - side), x * (1.0 - side)
  bottom, right = top + side, left + side
  x1, x2 = tf.where(mirror, right, left), tf.where(mirror, left, right)
  return tf.minimum(tf.stack([top, x1, bottom, x2], axis=1), _LAST_EDGE)


def to_uint8(images: tf.Tensor) -> tf.Tensor:
  """Turn normalised float32 images back into uint8: (value + 1) * 128, truncated."""
  return tf.saturate_cast((images + 1.0) * 128.0, tf.uint8)


def crop(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
  """Cut boxes out of images, mirrored where x1 > x2, and resize them to the size of the images.

  Args:
    images: [n, H, W, C].
    boxes: float32 [n, 4]: y1, x1, y2, x2 as fractions of the image.

  Returns:
    float32 [n, H, W, C].
  """
  return crop_to(images, boxes, image_ops.static_size(images))


def crop_to(images: tf.Tensor, boxes: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """Do the same as `crop`, but resize to another (height, width)."""
  count = tf.shape(images)[0]
  return tf.image.crop_and_resize(images, boxes, box_indices=tf.range(count), crop_size=size)


def require_channels(channels: int) -> None:
  """Raise InputError for images that are neither RGB nor grey."""
  if channels not in (1, 3):
    raise InputError(
      f'photographic augmentation got images of {channels} channels; expected 3 (RGB) or 1 '
      '(grey). Turn off apply_image_augmentations for such images.'
    )


def augment_photographic(
  images: tf.Tensor, seed: tf.Tensor, individually: bool = False
) -> tf.Tensor:
  """Flips, recolours and crops normalised images at random.

  Args:
    images: float32 [n, H, W, C] in [-1, 0.9921875], with C = 3 (RGB) or 1 (grey, no hue shift).
    seed: Integers [2]. The result is a pure function of the images and the seed.
    individually: Whether hue, brightness and contrast are sampled for each image and not once for
      all of them. The flip and the crop box are sampled for each image in any case.

  Returns:
    float32 [n, H, W, C].

  Raises:
    InputError: There is neither one channel nor three.
  """
  require_channels(images.shape[-1])
  draw = draw_photographic(tf.shape(images)[0], seed, individually)
  colours = to_uint8(images)
  colours = _recolour_each(colours, draw) if individually else _recolour_all(colours, draw)
  return crop(tf.cast(colours, tf.float32) / 128.0 - 1.0, draw.boxes)


def _recolour_all(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Change the colours of all images by the only settings there are."""
  return _recolour(images, draw.hue[0], draw.brightness[0], draw.contrast[0])


def _recolour_each(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Change the colours of each image by its own settings.

  The images are processed one by one, since the functions of tf.image take only scalars.
  """
  settings = (images, draw.hue, draw.brightness, draw.contrast)
  changed = tf.map_fn(lambda one: _recolour(*one), settings, fn_output_signature=tf.uint8)
  return tf.ensure_shape(changed, images.shape)


def _recolour(
  images: tf.Tensor, hue: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor
) -> tf.Tensor:
  """Change hue (RGB only), brightness and contrast of uint8 images [..., H, W, C]."""
  if images.shape[-1] == 3:
    images = tf.image.adjust_hue(images, hue)
  images = tf.image.adjust_brightness(images, brightness)
  return tf.image.adjust_contrast(images, contrast)
