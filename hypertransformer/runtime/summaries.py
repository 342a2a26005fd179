"""Summaries for TensorBoard, made without the summary ops of a graph."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow.compat.v1 as tf


def scalar_summary(values: Mapping[str, float]) -> tf.Summary:
  """A summary with exactly these tags."""
  return tf.Summary(
    value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
  )


def histogram_summary(tensors: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
  """One serialised summary [] with a histogram of each tensor under its tag; None of nothing."""
  if not tensors:
    return None
  return tf.summary.merge(
    [tf.raw_ops.HistogramSummary(tag=tag, values=x) for tag, x in tensors.items()]
  )
