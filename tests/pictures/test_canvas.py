"""Colours, texts, and images that become pictures."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas

RNG = np.random.default_rng(3)


@pytest.mark.parametrize('colours', [canvas.sequential, canvas.diverging])
def test_colours_are_told_apart_by_their_brightness_too(colours: object) -> None:
  """From the middle of a diverging scale, and from the start of a sequential one, it falls."""
  values = np.linspace(0, 1, 30)
  brightness = colours(values).astype(float) @ (0.299, 0.587, 0.114)  # type: ignore[operator]
  assert (np.diff(brightness) < 0).all()


def test_images_of_the_model_become_the_pixels_that_were_read() -> None:
  read = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  seen = read.astype(np.float32) / 128 - 1
  np.testing.assert_array_equal(canvas.pixels(seen), read.repeat(3, axis=-1))
  np.testing.assert_array_equal(canvas.pixels(read), read.repeat(3, axis=-1))


def test_an_image_is_fitted_into_a_square() -> None:
  for height, width in ((8, 8), (5, 9), (90, 30)):
    image = RNG.integers(0, 255, (height, width, 3)).astype(np.uint8)
    assert canvas.fitted(image, 16).shape == (16, 16, 3)


def test_long_texts_are_wrapped() -> None:
  short, long = (canvas.heading('title', 'many ' * count, width=200) for count in (2, 40))
  assert long.shape[1] == short.shape[1] == 200
  assert len(long) > 2 * len(short)
