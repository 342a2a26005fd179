"""Summaries have the tags and the content that they are given."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hypertransformer.runtime import tensorboard


def test_an_image_summary_is_the_picture_as_png() -> None:
  picture = np.random.default_rng(0).integers(0, 255, (7, 9, 3)).astype(np.uint8)
  summary = tensorboard.image_summary({'a/b': picture, 'c': 255 - picture})
  assert [value.tag for value in summary.value] == ['a/b', 'c']
  image = summary.value[0].image
  assert (image.height, image.width) == (7, 9)
  with Image.open(io.BytesIO(image.encoded_image_string)) as decoded:
    assert decoded.format == 'PNG'
    np.testing.assert_array_equal(np.asarray(decoded), picture)
