"""What TensorBoard shows of a run: event files, scalars, images, text cards and hyperparameters."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pathlib
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as layout_summary
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.text import summary as text_summary

from hypertransformer.settings import flags

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


# Flags that say where a run reads and writes, or how a checkpoint is evaluated: they are no
# hyperparameters.
_NO_HPARAMS = {
  'data_numpy_dir',
  'data_dir',
  'train_log_dir',
  'restore_shared_features_from',
  'steps_between_saves',
  'kernel_threads',
  'image_summaries',
  'eval_once',
  'eval_checkpoint',
  'eval_timeout_secs',
  *(flag.name for flag in flags.EVALUATION_FLAGS),
  *flags.WITHOUT_EFFECT,
}

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
  """The hyperparameters of a run.

  The folders of training and evaluator each get them, with the name of the run. So TensorBoard puts
  the last scalars of both into one row of its table.

  Args:
    values: the value of every flag by its name.
    log_dir: the folder of the run, whose path is its name.
  """
  shown = {
    name: value
    for name, value in values.items()
    if name not in _NO_HPARAMS and name in flags.defaults() and value is not None
  }
  return hparams_summary.session_start_pb(shown, group_name=os.path.abspath(log_dir))


def ended(well: bool) -> tf.Summary:
  """Says that a run has ended: as it should, or because its loss was no longer a number."""
  return hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS if well else api_pb2.STATUS_FAILURE)


def layout() -> tf.Summary:
  """The layout of the page "Custom scalars": charts with lines of training and evaluator."""
  charts = [
    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
    for title, tags in _CHARTS.items()
  ]
  category = layout_pb2.Category(title='hypertransformer', chart=charts)
  return layout_summary.pb(layout_pb2.Layout(category=[category]))


def flags_page(values: Mapping[str, Any]) -> tf.Summary:
  """A page of text with two tables: flags that have been set, and flags at their defaults."""
  defaults = flags.defaults()
  known = {name: values[name] for name in defaults if name in values}
  changed = {name: value for name, value in known.items() if value != defaults[name]}
  unchanged = {name: value for name, value in known.items() if name not in changed}
  parts = [
    '### Flags that are not at their defaults',
    _table(('flag', 'value', 'default'), [(n, v, defaults[n]) for n, v in changed.items()]),
    '### Flags at their defaults',
    _table(('flag', 'value'), list(unchanged.items())),
  ]
  return text_summary.pb('run/flags', '\n\n'.join(parts))


def variables_page(table: str) -> tf.Summary:
  """A page of text with the table of the CNN's variables: what is generated and what is trained.

  Args:
    table: lines of text in columns, as getter.table makes them.
  """
  code = '\n'.join(f'    {line}' for line in table.splitlines())
  return text_summary.pb('run/cnn', f'### The variables of the CNN\n\n{code}')


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """A table in Markdown."""
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(map(_cell, line)) + ' |' for line in lines)


def _cell(value: Any) -> str:
  """A value as a text that does not break the table."""
  return str(value).replace('|', '\\|').replace('\n', ' ') or '(empty)'


_VERSION = 'brain.Event:2'  # of the format; the first event of a file says it


_MOST_WAITING = 1000  # events that are kept while they cannot be written; then the oldest are lost


class EventLog:
  """Writes summaries into event files in a folder, each at once."""

  def __init__(self, folder: pathlib.Path) -> None:
    """Keeps the folder; a file is made with the first summary."""
    self._folder = folder
    self._path: pathlib.Path | None = None
    self._writer: tf.io.TFRecordWriter | None = None
    self._waiting: collections.deque[tf.Event] = collections.deque(maxlen=_MOST_WAITING)
    self._files = 0

  def add(self, summary: tf.Summary, step: int) -> None:
    """Takes a summary, to be written by `flush`."""
    self._waiting.append(tf.Event(wall_time=time.time(), step=step, summary=summary))

  def add_graph(self, graph: tf.Graph) -> None:
    """Takes a graph that TensorBoard is to show, to be written by `flush`."""
    definition = graph.as_graph_def(add_shapes=True).SerializeToString()
    self._waiting.append(tf.Event(wall_time=time.time(), graph_def=definition))

  def flush(self) -> None:
    """Writes what was added, into a new file if the one before was deleted.

    Raises:
      OSError, tf.errors.OpError: it cannot be written. It is not lost: the next call writes it into
        a new file, as nobody could read on behind a summary that is cut off.
    """
    if not self._waiting:
      return
    if self._path is None or not self._path.exists():
      self.close()
      self._open()
    assert self._writer is not None
    try:
      for event in self._waiting:
        self._writer.write(event.SerializeToString())
      self._writer.flush()
    except tf.errors.OpError:
      self.close()
      raise
    self._waiting.clear()

  def close(self) -> None:
    """Closes the file, if one is open."""
    writer, self._writer, self._path = self._writer, None, None
    if writer is not None:
      with contextlib.suppress(tf.errors.OpError):  # nobody reads the end of this file
        writer.close()

  def _open(self) -> None:
    """Opens a new file, whose name comes behind those of all before."""
    self._folder.mkdir(parents=True, exist_ok=True)
    name = f'{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{self._files:04d}'
    self._files += 1
    path = self._folder / f'events.out.tfevents.{name}'
    first = tf.Event(wall_time=time.time(), file_version=_VERSION)
    try:
      self._writer = tf.io.TFRecordWriter(str(path))
      self._writer.write(first.SerializeToString())
      self._writer.flush()
    except tf.errors.OpError:
      self.close()
      path.unlink(missing_ok=True)
      raise
    self._path = path


class EventWriter:
  """An `EventLog` that never ends the work that its summaries are about.

  If summaries cannot be written, there is one warning, and they wait until they can be.
  """

  def __init__(self, folder: str, graph: tf.Graph | None = None) -> None:
    """Keeps the folder.

    Args:
      folder: the folder of the event files.
      graph: a graph that TensorBoard is to show.
    """
    self._folder = folder
    self._log = EventLog(pathlib.Path(folder))
    self._has_warned = False
    if graph is not None:
      self._log.add_graph(graph)

  def add_summary(self, summary: tf.Summary | bytes, step: int) -> None:
    """Writes a summary for a step."""
    self._log.add(
      summary if isinstance(summary, tf.Summary) else tf.Summary.FromString(summary), step
    )
    self.flush()

  def flush(self) -> None:
    """Writes what waits."""
    try:
      self._log.flush()
    except (OSError, tf.errors.OpError) as error:
      if not self._has_warned:
        logging.warning(
          'Events for TensorBoard cannot be written to %s (%s): make room. The work goes on.',
          self._folder,
          str(error).splitlines()[0],
        )
      self._has_warned = True

  def close(self) -> None:
    """Writes what is left, and closes the file."""
    self.flush()
    self._log.close()
