"""Session hooks of the training loop: for streams, reports, variables that are NaN, and signals.

Checkpoints, the steps per second and the end of the run are the work of TensorFlow's own hooks; see
loop.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging
from tqdm import tqdm

from hypertransformer.episodes.pipeline import EpisodeStream
from hypertransformer.progress import show
from hypertransformer.runtime import tensorboard
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.training.episode_watch import EpisodeWatch
from hypertransformer.training.graph import TrainGraph


class StreamHook(tf.train.SessionRunHook):
  """Starts the episode streams at the place that belongs to the restored step.

  So a run that is resumed sees the episodes that it would have seen without the interruption.
  """

  def __init__(
    self,
    global_step: tf.Tensor,
    train: EpisodeStream,
    test: EpisodeStream | None,
    steps_per_test: int,
  ) -> None:
    """Keeps what is needed when the session is created.

    Args:
      global_step: the number of updates done.
      train: the stream of training episodes.
      test: the stream of test episodes, if there is one.
      steps_per_test: how many updates there are from one test episode to the next.
    """
    self._global_step = global_step
    self._train = train
    self._test = test
    self._steps_per_test = steps_per_test

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Initialises the streams, when the variables have been initialised or restored."""
    del coord
    step = session.run(self._global_step)
    taken = self._train.share.taken(step)
    session.run(self._train.initializer, {self._train.first: taken * self._train.together})
    if self._test is not None:
      tests = step // self._steps_per_test
      session.run(self._test.initializer, {self._test.first: tests * self._test.together})


class ReportHook(tf.train.SessionRunHook):
  """Writes scalars and histograms for TensorBoard, and tells a person how far the training is.

  A scalar of training is written as its mean over the steps since the last record. The test
  episode, and the histograms of the tensors generated for it, have a session run of their own after
  the step. In the run of the step, some variables would be read before their update and some after.
  """

  def __init__(
    self,
    graph: TrainGraph,
    writer: EventWriter,
    bar: tqdm,
    every: int,
    histograms_every: int,
    watch: EpisodeWatch | None = None,
  ) -> None:
    """Builds the histograms of the generated tensors.

    Args:
      graph: the training graph, which is the default graph.
      writer: writes the summaries.
      bar: shows every step, with the means of the last record.
      every: how many steps there are from one record of scalars to the next.
      histograms_every: the same for histograms; a multiple of `every`.
      watch: writes pictures of test episodes and histograms of gradients; None for none of them.
        Its steps are among those of histograms.
    """
    self._fetches: dict[str, Any] = {'step': graph.step_done, 'metrics': graph.metrics}
    self._graph = graph
    self._histograms = tensorboard.histogram_summary(graph.weights)
    self._writer = writer
    self._bar = bar
    self._every = every
    self._histograms_every = histograms_every
    self._watch = watch
    self._records: list[dict[str, float]] = []  # the scalars of each step since the last record
    self._seen = 0  # the number of updates done after the last step

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Finds out at which step the run starts."""
    del coord
    self._seen = int(session.run(self._graph.global_step))

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    """Asks for the scalars of the step, and for what is watched where that is due."""
    del run_context
    if self._watch is not None and (self._seen + 1) % self._watch.every == 0:
      return tf.train.SessionRunArgs({**self._fetches, 'watched': self._watch.step_fetches})
    return tf.train.SessionRunArgs(self._fetches)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Keeps the scalars of the step, and reports where it is time to."""
    self._records.append(run_values.results['metrics'])
    step = int(run_values.results['step'])
    if self._passed(step, self._every) or step >= self._bar.total:
      self._report(step, run_context.session, run_values.results.get('watched'))
    else:
      show(self._bar, step, '' if self._bar.postfix else describe(self._records[0]))
    self._seen = step

  def _passed(self, step: int, every: int) -> bool:
    """Whether a multiple of `every` was reached. Steps of other workers may have come between."""
    return step // every > self._seen // every

  def _report(self, step: int, session: tf.Session, watched: dict[str, Any] | None) -> None:
    """Writes a record for TensorBoard, and passes it on to the lines of progress.

    Args:
      step: the number of updates done.
      session: runs the test episode.
      watched: what the step was asked for beside its scalars; None if nothing was due.
    """
    means = means_of(self._records)
    self._records = []
    fetches: dict[str, Any] = {'metrics': self._graph.test_metrics}
    if self._passed(step, self._histograms_every):
      if self._histograms is not None:
        fetches['histograms'] = self._histograms
      if self._watch is not None:
        # Also where it is not due: one more set of fetches would cost more, once, than this.
        fetches['watched'] = self._watch.test_fetches
    # One episode for both: StreamHook relies on one test episode per record.
    test = session.run(fetches, {self._graph.testing: True})
    means |= {tag: float(value) for tag, value in test['metrics'].items()}
    scalars = {**means, tensorboard.CPU_SECONDS: time.process_time()}
    self._writer.add_summary(tensorboard.scalar_summary(scalars), step)
    if 'histograms' in test:
      self._writer.add_summary(test['histograms'], step)
    if self._watch is not None and watched is not None:
      self._watch.write(self._writer, step, watched, test['watched'])
    show(self._bar, step, describe(means))


def means_of(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """The mean of each scalar, by tag; all records have the same tags."""
  return {tag: float(np.mean([record[tag] for record in records])) for tag in records[0]}


def describe(means: Mapping[str, float]) -> str:
  """The loss and the accuracies of a line of progress, as a text.

  Args:
    means: scalars by TensorBoard tag. Those without a place in the line are left out.
  """
  loss = means.get('loss/loss', means.get('loss/shared_head_loss', float('nan')))
  parts = [f'loss {loss:.3f}']
  for tag, name in (
    ('accuracy/accuracy', 'acc'),
    ('accuracy/test_accuracy', 'test'),
    ('accuracy/shared_head_accuracy', 'real classes'),
  ):
    if tag in means:
      parts.append(f'{name} {100 * means[tag]:.1f} %')
  return ', '.join(parts)


class FiniteGuard(tf.train.CheckpointSaverListener):
  """Ends the run in place of saving variables that are NaN or infinite.

  So the newest checkpoint is always a good one.
  """

  def __init__(self) -> None:
    self._finite: tf.Tensor | None = None

  def begin(self) -> None:
    """Builds the check of all floating variables of the graph."""
    variables = [v for v in tf.global_variables() if v.dtype.base_dtype.is_floating]
    self._finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in variables])

  def before_save(self, session: tf.Session, global_step_value: int) -> None:
    """Raises NanLossDuringTrainingError if a variable is not finite."""
    if not session.run(self._finite):
      logging.error(
        'Variables are not finite after step %d: no checkpoint is written.', global_step_value
      )
      raise tf.train.NanLossDuringTrainingError


class SignalHook(tf.train.SessionRunHook):
  """Lets SIGTERM and Ctrl-C end the run after the current step, so that a checkpoint is saved.

  A second signal ends the program at once, without a checkpoint. The hook must also be the context
  of the whole run, as in `with SignalHook() as signals`. Then a signal that comes while the graph
  is built ends the run after its first step.

  Attributes:
    received: the number of the signal that has come, or None.
  """

  SIGNALS = (signal.SIGTERM, signal.SIGINT)

  def __init__(self) -> None:
    self.received: int | None = None
    self._before: dict[int, Callable | int | None] = {}

  def __enter__(self) -> SignalHook:
    for number in self.SIGNALS:
      self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *exception: object) -> None:
    self._restore()

  def _note(self, number: int, frame: FrameType | None) -> None:
    """Is called when a signal comes."""
    del frame
    name = signal.Signals(number).name
    if self.received is None:
      logging.info('%s: saving a checkpoint and ending after this step.', name)
      self.received = number
      return
    logging.info('%s for the second time: ending at once, without a checkpoint.', name)
    # The process is to end as one that nobody keeps from it, so that who waits for it sees why.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

  def _restore(self) -> None:
    """Puts the signal handlers back that were there before."""
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before = {}

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Ends the run if a signal has come."""
    del run_values
    if self.received is not None:
      run_context.request_stop()
