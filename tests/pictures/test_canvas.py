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


def test_values_outside_of_a_scale_have_its_last_colours() -> None:
  np.testing.assert_array_equal(canvas.sequential(np.array([-1, 2])), canvas.sequential([0, 1]))  # type: ignore[arg-type]


def test_images_of_the_model_become_the_pixels_that_were_read() -> None:
  read = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  seen = read.astype(np.float32) / 128 - 1
  np.testing.assert_array_equal(canvas.pixels(seen), read.repeat(3, axis=-1))
  np.testing.assert_array_equal(canvas.pixels(read), read.repeat(3, axis=-1))


@pytest.mark.parametrize(('height', 'width'), [(8, 8), (5, 9), (90, 30), (16, 16)])
def test_an_image_is_fitted_into_a_square(height: int, width: int) -> None:
  image = RNG.integers(0, 255, (height, width, 3)).astype(np.uint8)
  fitted = canvas.fitted(image, 16)
  assert fitted.shape == (16, 16, 3)
  if (height, width) == (8, 8):
    np.testing.assert_array_equal(fitted, canvas.enlarged(image, 2))


def test_long_texts_are_wrapped_and_lose_no_word() -> None:
  text = 'rows are weight tokens and columns are support samples of ' + 'many ' * 20
  lines = canvas._wrapped(text, 200, 10)
  assert ' '.join(lines).split() == text.split()
  assert all(canvas.font(10).getlength(line) <= 200 for line in lines)
