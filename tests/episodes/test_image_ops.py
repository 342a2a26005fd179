"""Every image operation against a plain NumPy computation, image by image."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError


def run(build):
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build())


def random_images(count, height, width, channels=1, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def numpy_stretch(images):
  low = images.min(axis=(1, 2), keepdims=True)
  high = images.max(axis=(1, 2), keepdims=True)
  return (images - low) / np.maximum(high - low, 1e-7) * 255


def legacy_bilinear(image, height, width):
  """Resizes an image [H, W, C] to [height, width, C]; corners are scaled, not centres."""
  result = np.zeros((height, width, image.shape[2]))
  for r in range(height):
    for c in range(width):
      y, x = r * image.shape[0] / height, c * image.shape[1] / width
      y0, x0 = int(y), int(x)
      y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
      top = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
      bottom = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
      result[r, c] = top * (1 - (y - y0)) + bottom * (y - y0)
  return result


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_rot90_turns_every_image_by_its_own_number_and_keeps_the_dtype(dtype):
  images = random_images(6, 5, 5, 3).astype(dtype)
  times = [0, 1, 2, 3, 1, 0]
  ours = run(lambda: image_ops.rot90(tf.constant(images), tf.constant(times)))
  assert ours.dtype == dtype
  np.testing.assert_array_equal(ours, [np.rot90(*pair) for pair in zip(images, times, strict=True)])


def test_rot90_refuses_images_that_are_not_square():
  with tf.Graph().as_default(), pytest.raises(InputError, match=r'images of 4 x 6 pixels.*square'):
    image_ops.rot90(tf.zeros([2, 4, 6, 1]), tf.constant([0, 1]))


@pytest.mark.parametrize(('height', 'width'), [(28, 28), (9, 14)])
def test_rotate_reads_the_nearest_source_pixel(height, width):
  images = random_images(4, height, width, 2).astype(np.float32) + 1
  angles = np.array([0.0, 0.7, -2.1, 3.0], np.float32)
  ours = run(lambda: image_ops.rotate(tf.constant(images), tf.constant(angles)))
  for image, angle, rotated in zip(images, angles, ours, strict=True):
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    source_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
    source_y = np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2
    column, row = np.rint(source_x).astype(int), np.rint(source_y).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    expected = np.where(
      inside[..., None], image[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)], 0
    )
    # Ties may go either way.
    clear = np.maximum(abs(source_x - column), abs(source_y - row)) < 0.499
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(rotated[clear], expected[clear])


def test_roll_shifts_rows_by_x_and_columns_by_y_truncated():
  images = random_images(4, 10, 7, 2)
  x, y = [0.29, -0.29, 0.0, -0.05], [0.1, -0.3, 0.29, 0.15]
  ours = run(lambda: image_ops.roll(tf.constant(images), tf.constant(x), tf.constant(y)))
  shifts = [(2, 0), (-2, -2), (0, 2), (0, 1)]
  expected = [np.roll(*pair, axis=(0, 1)) for pair in zip(images, shifts, strict=True)]
  assert ours.dtype == np.uint8
  np.testing.assert_array_equal(ours, expected)


def test_resize_and_pad_shrinks_each_image_by_its_own_scale():
  images = random_images(4, 20, 13, 3).astype(np.float32)
  scales = [-1.0, -0.3, 0.45, 0.999]
  ours = run(lambda: image_ops.resize_and_pad(tf.constant(images), tf.constant(scales)))
  sizes = [(14, 9), (16, 10), (18, 11), (19, 12)]  # int(s * 0.7), 0.805, 0.9175, 0.99985
  for image, (height, width), resized in zip(images, sizes, ours, strict=True):
    top, left = (20 - height) // 2, (13 - width) // 2
    expected = np.zeros_like(image)
    expected[top : top + height, left : left + width] = legacy_bilinear(image, height, width)
    np.testing.assert_allclose(resized, expected, atol=1e-3)


def test_contrast_is_a_stretched_tanh_about_the_mean():
  images = random_images(3, 12, 9, 2).astype(np.float32)
  alphas = np.array([-1.0, 0.0, 0.9], np.float32)
  ours = run(lambda: image_ops.contrast(tf.constant(images), tf.constant(alphas)))
  centred = images - images.astype(np.float64).mean(axis=(1, 2), keepdims=True)
  expected = numpy_stretch(np.tanh((1.5 + alphas)[:, None, None, None] * centred / 128))
  np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_smooth_is_a_stretched_mean_with_zeros_outside():
  images = random_images(3, 12, 9, 2).astype(np.float32)
  ours = run(lambda: image_ops.smooth(tf.constant(images)))
  padded = np.pad(images.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
  means = sum(padded[:, r : r + 12, c : c + 9] for r in range(3) for c in range(3)) / 9
  np.testing.assert_allclose(ours, numpy_stretch(means), atol=1e-3)


@pytest.mark.parametrize('colour', [0.0, 77.3, 255.0])
def test_images_of_one_colour_give_no_nan(colour):
  images = np.full((2, 11, 13, 3), colour, np.float32)
  contrast = run(lambda: image_ops.contrast(tf.constant(images), tf.constant([0.9, -0.5])))
  np.testing.assert_allclose(contrast, np.zeros_like(images), atol=0.1)
  smooth = run(lambda: image_ops.smooth(tf.constant(images)))
  assert np.isfinite(smooth).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('size', [8, 12, 17])
def test_normalise_resizes_and_scales(dtype, size):
  images = random_images(2, 12, 12, 3).astype(dtype)
  ours = run(lambda: image_ops.normalise(tf.constant(images), size))
  expected = np.array([legacy_bilinear(image, size, size) for image in images]) / 128 - 1
  assert ours.dtype == np.float32
  np.testing.assert_allclose(ours, expected, atol=1e-5)
