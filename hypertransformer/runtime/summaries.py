"""Summaries for TensorBoard, under exactly the tags that are given."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image

# Tag: CPU seconds of the process since its start. A process that resumes a run begins at zero.
CPU_SECONDS = 'cpu_seconds'


def scalar_summary(values: Mapping[str, float]) -> tf.Summary:
  """A summary of scalars, by tag. It needs no graph."""
  return tf.Summary(
    value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
  )


def histogram_summary(tensors: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
  """Builds a serialised summary [] with a histogram of each tensor, by tag.

  Returns:
    None if there are no tensors.
  """
  if not tensors:
    return None
  return tf.summary.merge(
    [tf.raw_ops.HistogramSummary(tag=tag, values=x) for tag, x in tensors.items()]
  )


def image_summary(pictures: Mapping[str, np.ndarray]) -> tf.Summary:
  """A summary of pictures, uint8 [height, width, 3], by tag. It needs no graph."""
  return tf.Summary(
    value=[tf.Summary.Value(tag=tag, image=_png(picture)) for tag, picture in pictures.items()]
  )


def _png(picture: np.ndarray) -> tf.Summary.Image:
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'PNG')
  height, width, channels = picture.shape
  return tf.Summary.Image(
    height=height, width=width, colorspace=channels, encoded_image_string=file.getvalue()
  )
