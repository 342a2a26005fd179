"""Photographic augmentation against NumPy, given the settings that were drawn."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import photographic
from hypertransformer.errors import InputError


def evaluate(build):
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build())


def random_images(count, size, channels, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, size, size, channels)).astype(np.float32) / 128 - 1


def augmented(images, seed=(1, 2), individually=False):
  return evaluate(
    lambda: photographic.augment_photographic(tf.constant(images), tf.constant(seed), individually)
  )


def draws(count, seed=(1, 2)):
  def build():
    draw = photographic.draw_photographic(count, tf.constant(seed))
    return draw.flip, draw.hue, draw.brightness, draw.contrast, draw.boxes

  return evaluate(build)


def numpy_crop(image, box):
  """Crops with bilinear interpolation; the corners of the box are on the corner pixels."""
  size = image.shape[0]
  rows = np.linspace(box[0], box[2], size) * (size - 1)
  columns = np.linspace(box[1], box[3], size) * (size - 1)
  result = np.zeros_like(image, np.float64)
  for r, y in enumerate(rows):
    for c, x in enumerate(columns):
      y0, x0 = int(y), int(x)
      wy, wx = y - y0, x - x0
      y1, x1 = min(y0 + 1, size - 1), min(x0 + 1, size - 1)
      result[r, c] = (1 - wy) * ((1 - wx) * image[y0, x0] + wx * image[y0, x1]) + wy * (
        (1 - wx) * image[y1, x0] + wx * image[y1, x1]
      )
  return result


def numpy_grey(image, flip, brightness, contrast, box):
  """Makes all changes of one grey image, without rounding to whole levels."""
  colours = (image[:, ::-1] if flip else image).astype(np.float64) * 128 + 128
  colours = np.clip(colours + 255 * brightness, 0, 255)
  colours = np.clip((colours - colours.mean()) * contrast + colours.mean(), 0, 255)
  return numpy_crop(colours / 128 - 1, box)


@pytest.mark.parametrize('seed', [(1, 2), (3, 4), (5, 6)])
@pytest.mark.parametrize('individually', [False, True])
def test_grey_images_follow_the_settings_drawn(seed, individually):
  images = random_images(4, 11, 1)
  flip, _, brightness, contrast, boxes = draws(4 if individually else 1, seed)
  ours = augmented(images, seed, individually)
  for i, image in enumerate(images):
    j = i if individually else 0
    expected = numpy_grey(image, flip[j], brightness[j], contrast[j], boxes[j])
    # Colours are cut to whole levels twice.
    np.testing.assert_allclose(ours[i], expected, atol=2.5 / 128)


def test_a_hue_turn_of_a_third_swaps_the_channels():
  images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
  ours = evaluate(lambda: photographic.shift_hue(tf.constant(images), 1 / 3))
  np.testing.assert_allclose(ours.astype(int), np.roll(images, 1, axis=-1).astype(int), atol=1)


def test_rgb_images_get_a_hue_shift_and_grey_ones_none():
  with tf.Graph().as_default() as graph:
    photographic.augment_photographic(tf.zeros([2, 8, 8, 1]), tf.constant([1, 2]))
    assert not [op for op in graph.get_operations() if 'Hue' in op.type]
    photographic.augment_photographic(tf.zeros([2, 8, 8, 3]), tf.constant([1, 2]))
    assert [op for op in graph.get_operations() if 'Hue' in op.type]


@pytest.mark.parametrize('channels', [1, 3])
def test_equal_images_stay_equal_per_batch_and_differ_individually(channels):
  images = np.repeat(random_images(1, 12, channels), 3, axis=0)
  together, apart = augmented(images), augmented(images, individually=True)
  assert together.shape == apart.shape == images.shape
  assert together.dtype == apart.dtype == np.float32
  np.testing.assert_array_equal(together[0], together[2])
  assert abs(apart[0] - apart[1]).max() > 0.05
  assert abs(apart[1] - apart[2]).max() > 0.05


@pytest.mark.parametrize('individually', [False, True])
def test_the_result_depends_on_the_seed_alone(individually):
  images = random_images(3, 12, 3)
  first = augmented(images, (7, 8), individually)
  np.testing.assert_array_equal(first, augmented(images, (7, 8), individually))
  assert abs(first - augmented(images, (7, 9), individually)).max() > 0.05


def test_settings_fill_their_ranges():
  flip, hue, brightness, contrast, boxes = draws(4000)
  assert abs(flip.mean() - 0.5) < 0.03
  for values, low, high in ((hue, -0.2, 0.2), (brightness, -0.3, 0.3), (contrast, 0.8, 1.2)):
    assert low <= values.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < values.max() <= high
  sides = boxes[:, 2:] - boxes[:, :2]
  np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-5)
  assert 0.6 - 1e-5 <= sides.min() < 0.605
  assert 0.995 < sides.max() <= 1.0
  assert boxes.min() >= 0.0
  assert boxes.max() < 1.0
  settings = np.stack([flip, hue, brightness, contrast, sides[:, 0]])
  assert abs(np.corrcoef(settings) - np.eye(5)).max() < 0.06


def test_a_crop_that_ends_at_the_last_pixel_is_not_filled_with_zeros():
  def build():
    sides = tf.constant(np.linspace(0.6, 1.0, 2000), tf.float32)
    last = tf.fill([2000], tf.constant(1.0 - 2**-24))
    boxes = photographic._square_boxes(sides, last, last)
    return photographic.crop(tf.ones([2000, 28, 28, 1]), boxes)

  np.testing.assert_allclose(evaluate(build), 1.0, atol=1e-5)


def test_other_numbers_of_channels_are_refused():
  with tf.Graph().as_default(), pytest.raises(InputError, match=r'2 channels; expected 3.*or 1'):
    photographic.augment_photographic(tf.zeros([1, 8, 8, 2]), tf.constant([1, 2]))
