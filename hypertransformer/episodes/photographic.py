"""Photographic augmentation of normalised images: flip, hue, brightness, contrast, square crop.

The original's `apply_image_augmentations` (spec/data.md section 4), for training on RGB images;
grey images go through it without the hue shift.
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
  """Random settings, each a tensor [draws]: one draw for a batch or one per image.

  `flip` is bool; `hue` and `brightness` are shifts, `contrast` a factor; `boxes` [draws, 4] holds
  y1, x1, y2, x2 as fractions of the image.
  """

  flip: tf.Tensor
  hue: tf.Tensor
  brightness: tf.Tensor
  contrast: tf.Tensor
  boxes: tf.Tensor


def draw_photographic(num_draws: int | tf.Tensor, seed: tf.Tensor) -> PhotographicDraw:
  """Settings for `num_draws` images (1: one for a whole batch), a pure function of `seed` [2]."""
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
  """Boxes [n, 4] of `side` whose free play is divided as y and x (0: top left, 1: bottom right)."""
  top, left = y * (1.0 - side), x * (1.0 - side)
  return tf.minimum(tf.stack([top, left, top + side, left + side], axis=1), _LAST_EDGE)


def to_uint8(images: tf.Tensor) -> tf.Tensor:
  """Normalised float32 images back to uint8 colours: (image + 1) * 128, truncated."""
  return tf.saturate_cast((images + 1.0) * 128.0, tf.uint8)


def flip_left_right(images: tf.Tensor) -> tf.Tensor:
  """Mirrors images [..., H, W, C]."""
  return tf.reverse(images, axis=[-2])


def shift_hue(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
  """Turns the hue of uint8 RGB images by a scalar fraction of a turn."""
  return tf.image.adjust_hue(images, delta)


def shift_brightness(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
  """Adds a scalar fraction of full brightness to uint8 images, saturating."""
  return tf.image.adjust_brightness(images, delta)


def scale_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """Scales uint8 images by a scalar about the mean of each image and channel."""
  return tf.image.adjust_contrast(images, factor)


def crop(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
  """Cuts boxes [n or 1, 4] (y1, x1, y2, x2, fractions) out of images [n, H, W, C], as H x W."""
  return crop_to(images, boxes, image_ops.static_size(images))


def crop_to(images: tf.Tensor, boxes: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """`crop` to another (height, width); float32 [n, height, width, C]."""
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
  """Flips, changes colours and crops normalised images at random.

  Args:
    images: float32 [n, H, W, C] in [-1, 0.9921875], C = 3 (RGB) or 1 (grey: no hue shift).
    seed: integer [2]; the result is a pure function of the images and the seed.
    individually: one draw per image instead of one for all of them.

  Returns:
    float32 [n, H, W, C].

  Raises:
    InputError: neither one nor three channels.
  """
  require_channels(images.shape[-1])
  draw = draw_photographic(tf.shape(images)[0] if individually else 1, seed)
  colours = to_uint8(images)
  colours = _change_each(colours, draw) if individually else _change_all(colours, draw)
  return crop(tf.cast(colours, tf.float32) / 128.0 - 1.0, draw.boxes)


def _change_all(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Flip and colours by the only draw there is."""
  return _change(images, draw.flip[0], draw.hue[0], draw.brightness[0], draw.contrast[0])


def _change_each(images: tf.Tensor, draw: PhotographicDraw) -> tf.Tensor:
  """Flip and colours by one draw per image; tf.image's colour changes take scalars only."""
  settings = (images, draw.flip, draw.hue, draw.brightness, draw.contrast)
  changed = tf.map_fn(lambda one: _change(*one), settings, fn_output_signature=tf.uint8)
  return tf.ensure_shape(changed, images.shape)


def _change(
  images: tf.Tensor, flip: tf.Tensor, hue: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor
) -> tf.Tensor:
  """Flip, hue (RGB only), brightness and contrast of uint8 images [..., H, W, C] by scalars."""
  images = tf.cond(flip, lambda: flip_left_right(images), lambda: tf.identity(images))
  if images.shape[-1] == 3:
    images = shift_hue(images, hue)
  images = shift_brightness(images, brightness)
  return scale_contrast(images, contrast)
