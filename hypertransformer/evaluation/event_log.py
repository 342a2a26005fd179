"""The event files for TensorBoard, written such that an evaluator survives what happens to them.

TensorFlow's FileWriter writes in a thread, goes on writing into a file that was deleted, and cannot
go on after a disk was full.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import time

import tensorflow.compat.v1 as tf

_VERSION = 'brain.Event:2'  # of the format; the first event of a file says it


class EventLog:
  """Writes summaries into event files in a folder, each at once."""

  def __init__(self, folder: pathlib.Path) -> None:
    """Keeps the folder; a file is made with the first summary."""
    self._folder = folder
    self._path: pathlib.Path | None = None
    self._writer: tf.io.TFRecordWriter | None = None
    self._waiting: list[tf.Event] = []
    self._files = 0

  def add(self, summary: tf.Summary, step: int) -> None:
    """Takes a summary, to be written by `flush`."""
    self._waiting.append(tf.Event(wall_time=time.time(), step=step, summary=summary))

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
