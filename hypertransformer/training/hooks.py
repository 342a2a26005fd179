"""Session hooks of the training loop: streams, reports, NaN guard, signals. Checkpoints, steps/s
and the end of the run are TensorFlow's own hooks (loop.py).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import progress
from hypertransformer.episodes.pipeline import EpisodeStream
from hypertransformer.runtime.summaries import scalar_summary


class StreamHook(tf.train.SessionRunHook):
  """Starts the episode streams where the restored step is: a resumed run sees the episodes that it
  would have.
  """

  def __init__(
    self,
    global_step: tf.Tensor,
    train: EpisodeStream,
    test: EpisodeStream | None,
    steps_per_test: int,
  ) -> None:
    self._global_step = global_step
    self._train = train
    self._test = test
    self._steps_per_test = steps_per_test

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    del coord
    step = session.run(self._global_step)
    session.run(self._train.initializer, {self._train.first: step * self._train.together})
    if self._test is not None:
      tests = step // self._steps_per_test
      session.run(self._test.initializer, {self._test.first: tests * self._test.together})


class ReportHook(tf.train.SessionRunHook):
  """Writes scalars and histograms for TensorBoard, and progress lines.

  A training scalar is its mean over the steps since the last record. The test episode, and the
  histograms of the tensors generated for it, are run on their own after the step: not in the same
  run, where some variables would be read before their update and some after.
  """

  def __init__(
    self,
    step_done: tf.Tensor,
    metrics: Mapping[str, tf.Tensor],
    testing: tf.Tensor,
    test_metrics: Mapping[str, tf.Tensor],
    histograms: tf.Tensor | None,
    writer: tf.summary.FileWriter,
    train_steps: int,
    every: int,
    histograms_every: int,
  ) -> None:
    """step_done: global step after this run's update. testing: fed with True for a test episode.
    histograms: a serialised summary [] of the generated tensors. every, histograms_every: steps.
    """
    self._fetches = {'step': step_done, 'metrics': dict(metrics)}
    self._testing = testing
    self._test_metrics = dict(test_metrics)
    self._histograms = histograms
    self._writer = writer
    self._train_steps = train_steps
    self._every = every
    self._histograms_every = histograms_every
    self._records: list[dict[str, float]] = []
    self._line_records: list[dict[str, float]] = []
    self._rate: progress.Rate | None = None

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    del run_context
    return tf.train.SessionRunArgs(self._fetches)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    self._records.append(run_values.results['metrics'])
    step = int(run_values.results['step'])
    if self._rate is None:
      self._rate = progress.Rate(step, self._train_steps)
    if step % self._every == 0 or step == self._train_steps:
      self._report(step, run_context.session)
    elif not self._line_records and self._rate.seconds_since_mark >= progress.SECONDS_BETWEEN_LINES:
      self._print(step, self._records)  # slow steps: a line before the first record

  def _report(self, step: int, session: tf.Session) -> None:
    means = _means(self._records)
    self._records = []
    fetches: dict[str, Any] = {'metrics': self._test_metrics}
    if self._histograms is not None and step % self._histograms_every == 0:
      fetches['histograms'] = self._histograms
    test = session.run(
      fetches, {self._testing: True}
    )  # one episode for both: StreamHook counts on one per report
    means |= {tag: float(value) for tag, value in test['metrics'].items()}
    self._writer.add_summary(scalar_summary(means), step)
    if 'histograms' in test:
      self._writer.add_summary(test['histograms'], step)
    self._line_records.append(means)
    assert self._rate is not None
    if self._rate.seconds_since_mark >= progress.SECONDS_BETWEEN_LINES or step == self._train_steps:
      self._print(step, self._line_records)
      self._line_records = []

  def _print(self, step: int, records: list[dict[str, float]]) -> None:
    assert self._rate is not None
    rate, left = self._rate.mark(step)
    logging.info(
      'step %d of %d  %s  %.1f steps/s  %s left',
      step,
      self._train_steps,
      describe(_means(records)),
      rate,
      progress.duration(left),
    )


def _means(records: list[dict[str, float]]) -> dict[str, float]:
  return {tag: float(np.mean([record[tag] for record in records])) for tag in records[0]}


def describe(means: Mapping[str, float]) -> str:
  """The few numbers of a progress line."""
  loss = means.get('loss/loss', means.get('loss/shared_head_loss', float('nan')))
  parts = [f'loss {loss:.3f}']
  for tag, name in (
    ('accuracy/accuracy', 'accuracy'),
    ('accuracy/test_accuracy', 'test'),
    ('accuracy/shared_head_accuracy', 'real classes'),
  ):
    if tag in means:
      parts.append(f'{name} {100 * means[tag]:.1f} %')
  return '  '.join(parts)


class FiniteGuard(tf.train.CheckpointSaverListener):
  """Keeps a checkpoint with NaN or infinite variables from being written over the last good one."""

  def __init__(self) -> None:
    self._finite: tf.Tensor | None = None

  def begin(self) -> None:
    variables = [v for v in tf.global_variables() if v.dtype.base_dtype.is_floating]
    self._finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in variables])

  def before_save(self, session: tf.Session, global_step_value: int) -> None:
    if not session.run(self._finite):
      logging.error(
        'Variables are not finite after step %d: no checkpoint is written.', global_step_value
      )
      raise tf.train.NanLossDuringTrainingError


class SignalHook(tf.train.SessionRunHook):
  """SIGTERM and Ctrl-C end the run after the step at hand, so that a checkpoint is saved. A second
  one kills.

  Use it as a context, too, around all of the run: `with SignalHook() as signals`. A signal while
  the graph is built then ends the run after its first step.
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
    del frame
    logging.info('%s: saving a checkpoint and ending after this step.', signal.Signals(number).name)
    self.received = number
    self._restore()

  def _restore(self) -> None:
    """Puts the former signal handlers back."""
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before = {}

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    del run_values
    if self.received is not None:
      run_context.request_stop()
