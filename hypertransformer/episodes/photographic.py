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
  """Random settings of photographic changes: one draw for a whole batch, or one for each image.

  Attributes:
    flip: bool [draws], whether to mirror left and right.
    hue: float32 [draws], how far to turn the hue, as a fraction of a full turn.
    brightness: float32 [draws], what to add, as a fraction of full brightness.
    contrast: float32 [draws], the factor of the contrast.
    boxes: float32 [draws, 4], the crop: y1, x1, y2, x2 as fractions of the image.
  """

  flip: tf.Tensor
  hue: tf.Tensor
  brightness: tf.Tensor
  contrast: tf.Tensor
  boxes: tf.Tensor


def draw_photographic(num_draws: int | tf.Tensor, seed: tf.Tensor) -> PhotographicDraw:
  """Draws settings, as a pure function of the seed.

  Args:
    num_draws: How many settings; 1 for a whole batch.
    seed: Integers [2].
  """
  seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 7)))

  def uniform(low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([num_draws], next(seeds), low, high)

  return PhotographicDraw(
    flip=uniform(0.0, 1.0) < 0.5,
    hue=uniform(-MAX_HUE_SHIFT, MAX_HUE_SHIFT),
    brightness=uniform(-MAX_BRIGHTNESS_SHIFT, MAX_BRIGHTNESS_SHIFT),
    contrast=uniform(*CONTRAST_RANGE),
    boxes=_square_boxes(uniform(*CROP_RANGE), uniform(0.0, 1.0), uniform(0.0, 1.0)),
  )


def _square_boxes(side: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
  """Places square boxes in images.

  Args:
    side: float32 [n], the sides of the boxes as fractions of the image.
    y: float32 [n], where a box is between the top (0) and the bottom (1).
    x: float32 [n], the same from left to right.

  Returns:
    float32 [n, 4]: y1, x1, y2, x2 as fractions of the image.
  """
  top, left = y * (1.0 - side), x * (1.0 - side)
  return tf.minimum(tf.stack([top, left, top + side, left + side], axis=1), _LAST_EDGE)


def to_uint8(images: tf.Tensor) -> tf.Tensor:
  """Turns normalised float32 images back into uint8: (value + 1) * 128, cut to whole numbers."""
  return tf.saturate_cast((images + 1.0) * 128.0, tf.uint8)


def flip_left_right(images: tf.Tensor) -> tf.Tensor:
  """Mirrors images [..., H, W, C] left and right."""
  return tf.reverse(images, axis=[-2])


def shift_hue(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
  """Turns the hue of uint8 RGB images by a fraction of a full turn, a scalar."""
  return tf.image.adjust_hue(images, delta)


def shift_brightness(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
  """Adds a fraction of full brightness, a scalar, to uint8 images, and keeps them within 0..255."""
  return tf.image.adjust_brightness(images, delta)


def scale_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """Scales uint8 images by a scalar factor about the mean of each image and channel."""
  return tf.image.adjust_contrast(images, factor)


def crop(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
  """Cuts boxes out of images and resizes them to the size of the images.

  Args:
    images: [n, H, W, C].
    boxes: float32 [n, 4], or [1, 4] for all images: y1, x1, y2, x2 as fractions of the image.

  Returns:
    float32 [n, H, W, C].
  """
  return crop_to(images, boxes, image_ops.static_size(images))


def crop_to(images: tf.Tensor, boxes: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """Does the same as `crop`, but resizes to another (height, width)."""
  count = tf.shape(images)[0]
  boxes = tf.broadcast_to(boxes, [count, 4])
  return tf.image.crop_and_resize(images, boxes, box_indices=tf.range(count), crop_size=size)


def require_channels(channels: int) -> None:
  """Raises InputError for images that are neither RGB nor grey."""
  if channels not in (1, 3):
    raise InputError(
      f'photographic augmentation got images of {channels} channels; expected 3 (RGB) or 1 '
      '(grey). Turn off apply_image_augmentations for such images.'
    )


def augment_photographic(
  images: tf.Tensor, seed: tf.Tensor, individually: bool = False
) -> tf.Tensor:
  """Flips normalised images, changes their colours and crops them, all at random.

  Args:
    images: float32 [n, H, W, C] in [-1, 0.9921875], with C = 3 (RGB) or 1 (grey, no change of hue).
    seed: Integers [2]. The result is a pure function of the images and the seed.
    individually: Whether each image has settings of its own, and not all the same ones.

  Returns:
    float32 [n, H, W, C].

  Raises:
    InputError: There is neither one channel nor three.
  """
  require_channels(images.shape[-1])
  draw = draw_photographic(tf.shape(images)[0] if individually else 1, seed)
  colours = to_uint8(images)
  colours = _change_each(colours, draw) if individually else _change_all(colours, draw)
  return crop(tf.cast(colours, tf.float32) / 128.0 - 1.0, draw.boxes)


def _change_all(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Flips images and changes their colours by the only draw there is."""
  return _change(images, draw.flip[0], draw.hue[0], draw.brightness[0], draw.contrast[0])


def _change_each(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Flips images and changes their colours, each by its own draw.

  They go one by one, since the functions of tf.image take scalars only.
  """
  settings = (images, draw.flip, draw.hue, draw.brightness, draw.contrast)
  changed = tf.map_fn(lambda one: _change(*one), settings, fn_output_signature=tf.uint8)
  return tf.ensure_shape(changed, images.shape)


def _change(
  images: tf.Tensor, flip: tf.Tensor, hue: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor
) -> tf.Tensor:
  """Flips uint8 images [..., H, W, C] and changes their hue (RGB only), brightness and contrast."""
  images = tf.cond(flip, lambda: flip_left_right(images), lambda: tf.identity(images))
  if images.shape[-1] == 3:
    images = shift_hue(images, hue)
  images = shift_brightness(images, brightness)
  return scale_contrast(images, contrast)
