"""The image operations of the augmentation, for many images at a time with a setting for each.

Images are [n, H, W, C], with colours from 0 to 255, and a setting is a tensor [n]. H, W and C must
be known when the graph is built. The numbers are those of the original (docs/spec/data.md, section
4; a test compares them with its golden numbers).
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError

# Makes 0 of an image of one colour, in place of 0 / 0; too small to be seen in any other image.
STRETCH_EPSILON = 1e-7


def static_size(images: tf.Tensor) -> tuple[int, int]:
  """Return (H, W) of images [n, H, W, C].

  Raises:
    InputError: The images have not four axes, or H, W or C is not known when the graph is built.
  """
  shape = images.shape
  if shape.rank != 4 or None in shape.as_list()[1:]:
    raise InputError(
      f'images to augment have shape {shape}; expected [images, height, width, channels] with '
      'known height, width and channels. Set the static shape of the tensor before augmenting.'
    )
  return int(shape[1]), int(shape[2])


def require_square(height: int, width: int) -> None:
  """Raise InputError for images that change their shape when they are turned by 90 degrees."""
  if height != width:
    raise InputError(
      f'images of {height} x {width} pixels cannot be turned by 90 degrees and keep their shape; '
      'expected square images. Turn off rotation by 90 degrees (random_rotate_by_90) or crop the '
      'images to squares.'
    )


def rot90(images: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
  """Turn each image counter-clockwise by quarter turns.

  Args:
    images: [n, H, W, C], any type.
    times: Integers [n], how many quarter turns each image makes.

  Raises:
    InputError: The images are not square.
  """
  height, width = static_size(images)
  require_square(height, width)
  if images.shape[3] == 1:  # without it, `reverse` works on the last axis, which is faster
    return tf.expand_dims(_rot90(tf.squeeze(images, 3), times), 3)
  return _rot90(images, times)


def _rot90(images: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
  """Do the work of `rot90` for images [n, side, side, ...]."""
  # The TF1 form of tf.where takes whole images by a vector of switches.
  times = tf.floormod(times, 4)
  transposed = tf.transpose(images, [0, 2, 1, *range(3, images.shape.rank)])
  images = tf.where(tf.equal(times % 2, 1), transposed, images)
  images = tf.where(tf.equal(times, 1) | tf.equal(times, 2), tf.reverse(images, [1]), images)
  return tf.where(times >= 2, tf.reverse(images, [2]), images)


def rotate(images: tf.Tensor, radians: tf.Tensor) -> tf.Tensor:
  """Rotate each image counter-clockwise about its centre: nearest pixel, zeros from outside.

  Args:
    images: uint8 or float32 [n, H, W, C].
    radians: float32 [n].

  Returns:
    Images of the same shape and type.
  """
  height, width = static_size(images)
  cos, sin = tf.cos(radians), tf.sin(radians)
  zeros = tf.zeros_like(radians)
  # An output pixel (x, y) reads the input at (cos x - sin y + dx, sin x + cos y + dy); the offsets
  # make the centre ((W - 1) / 2, (H - 1) / 2) the fixed point.
  dx = ((width - 1) - (cos * (width - 1) - sin * (height - 1))) / 2.0
  dy = ((height - 1) - (sin * (width - 1) + cos * (height - 1))) / 2.0
  transforms = tf.stack([cos, -sin, dx, sin, cos, dy, zeros, zeros], axis=1)
  rotated = tf.raw_ops.ImageProjectiveTransformV3(
    images=images,
    transforms=transforms,
    output_shape=[height, width],
    fill_value=0.0,
    interpolation='NEAREST',
    fill_mode='CONSTANT',
  )
  return tf.ensure_shape(rotated, images.shape)


def roll(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
  """Shift each image cyclically by int(x * H) rows and int(y * W) columns, cut towards 0.

  Args:
    images: [n, H, W, C], any type.
    x: float32 [n], a fraction of the height (the original calls this axis x).
    y: float32 [n], a fraction of the width.
  """
  for axis, fraction in ((1, x), (2, y)):
    size = static_size(images)[axis - 1]
    shift = tf.cast(fraction * float(size), tf.int32)
    source = tf.floormod(tf.range(size)[tf.newaxis, :] - shift[:, tf.newaxis], size)
    images = tf.gather(images, source, axis=axis, batch_dims=1)
  return images


def resize_and_pad(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
  """Shrink each image by the factor 0.85 + 0.15 * scale and put zeros around it.

  The filter is TF1's old bilinear one (docs/spec/data.md, section 4).

  Args:
    images: float32 [n, H, W, C].
    scale: float32 [n] in [-1, 1). The new height is int(H * (0.85 + 0.15 * scale)), and so is the
      width.

  Returns:
    float32 [n, H, W, C].
  """
  images = _resize_axis(images, scale, axis=1)
  return _resize_axis(images, scale, axis=2)


def _resize_axis(images: tf.Tensor, scale: tf.Tensor, axis: int) -> tf.Tensor:
  """Do the work of `resize_and_pad` along one axis; bilinear interpolation is separable."""
  size = static_size(images)[axis - 1]
  new_size = tf.cast(float(size) * (0.85 + 0.15 * scale), tf.int32)
  new_size = tf.maximum(new_size, 1)[:, tf.newaxis]
  position = tf.range(size)[tf.newaxis, :] - (size - new_size) // 2
  inside = tf.cast(tf.logical_and(position >= 0, position < new_size), tf.float32)
  # Legacy bilinear: the pixel's corner, not its centre, is scaled.
  source = tf.cast(position, tf.float32) * (float(size) / tf.cast(new_size, tf.float32))
  lower = tf.clip_by_value(tf.cast(tf.floor(source), tf.int32), 0, size - 1)
  upper = tf.minimum(lower + 1, size - 1)
  fraction = source - tf.cast(lower, tf.float32)
  shape = [-1, size, 1, 1] if axis == 1 else [-1, 1, size, 1]
  return tf.gather(images, lower, axis=axis, batch_dims=1) * tf.reshape(
    inside * (1.0 - fraction), shape
  ) + tf.gather(images, upper, axis=axis, batch_dims=1) * tf.reshape(inside * fraction, shape)


def contrast(images: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
  """Send colours through a tanh curve and stretch them to 0..255 per image and channel.

  The curve is tanh((1.5 + alpha) * (colour - mean) / 128), with the mean of the image and channel.

  Args:
    images: float32 [n, H, W, C].
    alpha: float32 [n] in [-1, 1), so that the strength 1.5 + alpha is 0.5 to 2.5.

  Returns:
    float32 [n, H, W, C]; an image of one colour becomes 0.
  """
  mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
  return _stretch(tf.tanh(tf.reshape(1.5 + alpha, [-1, 1, 1, 1]) * (images - mean) / 128.0))


def smooth(images: tf.Tensor) -> tf.Tensor:
  """Take the mean of 3 x 3 pixels, with zeros outside, and stretch it as `contrast` does."""
  padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
  # Sums of slices: several times faster on the CPU than pooling or convolution.
  columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
  return _stretch((columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:]) / 9.0)


def negate(images: tf.Tensor) -> tf.Tensor:
  """Make negatives: 255 - colour."""
  return 255.0 - images


def _stretch(images: tf.Tensor) -> tf.Tensor:
  """Map the smallest value of each image and channel to 0 and the largest to 255."""
  smallest = tf.reduce_min(images, axis=[1, 2], keepdims=True)
  largest = tf.reduce_max(images, axis=[1, 2], keepdims=True)
  return 255.0 * (images - smallest) / (largest - smallest + STRETCH_EPSILON)


def normalise(images: tf.Tensor, image_size: int) -> tf.Tensor:
  """Resize images if they have another size, and scale colours to colour / 128 - 1.

  The filter is TF1's old bilinear one (docs/spec/data.md, section 4).

  Args:
    images: uint8 or float32 [n, H, W, C], from 0 to 255.
    image_size: Side of the resulting images in pixels.

  Returns:
    float32 [n, image_size, image_size, C] in [-1, 0.9921875].
  """
  if static_size(images) != (image_size, image_size):
    images = tf.raw_ops.ResizeBilinear(images=images, size=[image_size, image_size])
  return tf.cast(images, tf.float32) / 128.0 - 1.0
