"""What TensorBoard shows of a run: event files, scalars, images, text cards and hyperparameters."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as layout_summary
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.text import summary as text_summary

from hypertransformer.errors import InputError
from hypertransformer.settings import flags

# Tag: CPU seconds of the process since its start. A process that resumes a run begins at zero.
CPU_SECONDS = 'cpu_seconds'
_VERSION = 'brain.Event:2'  # of the format; the first event of a file says it


def scalar_summary(values: Mapping[str, float]) -> tf.Summary:
  """Return a summary of scalars, by tag. It needs no graph."""
  return tf.Summary(
    value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
  )


def histogram_summary(tensors: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
  """Build a serialized summary [] with a histogram of each tensor, by tag.

  Returns:
    None if there are no tensors.
  """
  if not tensors:
    return None
  return tf.summary.merge(
    [tf.raw_ops.HistogramSummary(tag=tag, values=x) for tag, x in tensors.items()]
  )


def image_summary(pictures: Mapping[str, np.ndarray]) -> tf.Summary:
  """Return a summary of images, uint8 [height, width, 3], by tag. It needs no graph."""
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


# Charts by their titles, and the tags of their lines as regular expressions.
_CHARTS = {
  'accuracy: train, val and test': [
    r'^accuracy/accuracy$',
    r'^accuracy/test_accuracy$',
    r'^eval_accuracy/[^/]+$',
  ],
  'accuracy after each task of a sequence': [r'^accuracy/after_\d+$', r'^eval_average_accuracy/.+'],
  'loss': [r'^loss/loss$', r'^loss/loss/ce$'],
  'change of the generated kernels from episode to episode': [r'^kernel_change/.+'],
}


def hparams(values: Mapping[str, Any], log_dir: str) -> tf.Summary:
  """Return the hyperparameters of a run.

  The directories of training and evaluator each get them, with the name of the run. So TensorBoard
  puts the last scalars of both into one row of its table.

  Args:
    values: the value of every flag by its name.
    log_dir: the directory of the run, whose path is its name.
  """
  found = flags.values_affecting(values, 'training')
  shown = {name: value for name, value in found.items() if value is not None}
  return hparams_summary.session_start_pb(shown, group_name=os.path.abspath(log_dir))


def ended(well: bool) -> tf.Summary:
  """Return the end of a run: as it should, or because its loss became NaN."""
  return hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS if well else api_pb2.STATUS_FAILURE)


def layout() -> tf.Summary:
  """Return the layout of the page "Custom scalars": charts of training and evaluator."""
  category = layout_pb2.Category(title='hypertransformer')
  for title, tags in _CHARTS.items():
    category.chart.add(title=title).multiline.tag.extend(tags)
  return layout_summary.pb(layout_pb2.Layout(category=[category]))


def flags_page(values: Mapping[str, Any]) -> tf.Summary:
  """Return a text card with a table of all flags; those that have been set come first."""
  rows = [[name, values.get(name, old), old] for name, old in flags.defaults().items()]
  rows.sort(key=lambda row: row[1] == row[2])
  cells = [
    [str(each).replace('|', '\\|').replace('\n', ' ') or '(empty)' for each in row] for row in rows
  ]
  lines = [['flag', 'value', 'default'], ['---'] * 3, *cells]
  return text_summary.pb('run/flags', '\n'.join(f'| {" | ".join(line)} |' for line in lines))


def variables_page(table: str) -> tf.Summary:
  """Return a text card with the table of the CNN's variables, generated and trained.

  Args:
    table: lines of text in columns, as getter.table makes them.
  """
  code = '\n'.join(f'    {line}' for line in table.splitlines())
  return text_summary.pb('run/cnn', f'### The variables of the CNN\n\n{code}')


class EventWriter:
  """Writes an event file for TensorBoard, each summary at once.

  tf.summary.FileWriter is not used because it writes in a thread that ends in a traceback when the
  disk is full.
  """

  def __init__(
    self, folder: str | os.PathLike[str], graph: tf.Graph | None = None, resumed: int | None = None
  ) -> None:
    """Keep the directory; the file is made with the first event.

    Args:
      folder: the directory of the event file.
      graph: a graph that TensorBoard is to show.
      resumed: the step from which a run resumes. TensorBoard then discards what earlier event files
        of the directory have of later steps, which are done again.
    """
    self._folder = pathlib.Path(folder)
    self._file: tf.io.TFRecordWriter | None = None
    if resumed is not None:
      start = tf.SessionLog(status=tf.SessionLog.START)
      self._write(session_log=start, step=resumed + 1)
    if graph is not None:
      self._write(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString())

  def add_summary(self, summary: tf.Summary | bytes, step: int) -> None:
    """Write a summary for a step.

    Raises:
      InputError: it cannot be written.
    """
    if isinstance(summary, bytes):
      summary = tf.Summary.FromString(summary)
    self._write(summary=summary, step=step)

  def close(self) -> None:
    """Close the file; every summary is written already."""
    if self._file is not None:
      with contextlib.suppress(tf.errors.OpError):
        self._file.close()

  def _write(self, **content: Any) -> None:
    now = time.time()
    try:
      if self._file is None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f'events.out.tfevents.{now:017.6f}.{socket.gethostname()}.{os.getpid()}'
        (self._folder / name).touch(exist_ok=False)  # not through a link, as TensorFlow would
        self._file = tf.io.TFRecordWriter(str(self._folder / name))
        self._file.write(tf.Event(wall_time=now, file_version=_VERSION).SerializeToString())
      self._file.write(tf.Event(wall_time=now, **content).SerializeToString())
      self._file.flush()
    except (OSError, tf.errors.OpError) as error:
      raise InputError(
        f'events for TensorBoard cannot be written to {self._folder} '
        f'({str(error).splitlines()[0]}). Make room or make it writable, and run the same command.'
      ) from error
