"""Summaries for TensorBoard, under exactly the tags that are given."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping

import tensorflow.compat.v1 as tf
from absl import logging


class EventWriter(tf.summary.FileWriter):
  """Writes summaries into an event file, and into a new one if somebody deletes that.

  TensorFlow itself would go on writing into the deleted file, where TensorBoard sees nothing.
  """

  def __init__(self, folder: str, graph: tf.Graph | None = None) -> None:
    """Makes the folder if it is not there, and a new event file in it.

    Args:
      folder: the folder of the event files.
      graph: a graph that TensorBoard is to show.
    """
    self._folder = folder
    self._others = self._files()  # those of earlier writers
    self._is_begun = False
    super().__init__(folder, graph)

  def add_summary(self, summary: tf.Summary | bytes, global_step: int | None = None) -> None:
    """Writes a summary for a step."""
    if self._is_begun and not self._files() - self._others:
      logging.warning('The event file in %s was deleted: a new one is begun.', self._folder)
      self.close()
      os.makedirs(self._folder, exist_ok=True)
      self.reopen()
      self._is_begun = False
    super().add_summary(summary, global_step)
    if not self._is_begun:
      self.flush()  # TensorFlow makes the file only now
      self._is_begun = True

  def _files(self) -> set[str]:
    return set(glob.glob(os.path.join(glob.escape(self._folder), 'events.out.tfevents.*')))


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
