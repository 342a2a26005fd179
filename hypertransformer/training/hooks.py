"""Session hooks of training: episode streams, TensorBoard, progress, and signals.

Checkpoints, the steps per second and the end of the run are the work of TensorFlow's own hooks; see
loop.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from tqdm import tqdm

from hypertransformer.pictures import episode as episode_pictures
from hypertransformer.progress import show
from hypertransformer.runtime import tensorboard
from hypertransformer.runtime.signals import StopSignal
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.training import optimizer
from hypertransformer.training.graph import TrainGraph

STEPS_PER_SUMMARY = 100
STEPS_PER_HISTOGRAM = 500  # a multiple of STEPS_PER_SUMMARY
STEPS_PER_FIGURE = 2000  # at least, and a multiple of the others; see `figure_steps`
MOST_FIGURES = 100  # of each kind in a run, so that its event file stays small
TEST_EPISODE = 'test_episode'  # its name in tags

Scalars = Mapping[str, float]  # by TensorBoard tag


class StreamHook(tf.train.SessionRunHook):
  """Starts the episode streams at the position of the restored step.

  A resumed run therefore gets the episodes that it would have got without the interruption.
  """

  def __init__(self, graph: TrainGraph, with_test: bool = True) -> None:
    """Keep the graph; without `with_test`, its test stream is not used."""
    self._graph = graph
    self._test = graph.test_stream if with_test else None

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Initialize the streams when the variables have been initialized or restored."""
    del coord
    step, train = session.run(self._graph.global_step), self._graph.train_stream
    session.run(train.initializer, {train.first: train.share.taken(step) * train.together})
    if self._test is not None:
      tests = step // STEPS_PER_SUMMARY
      session.run(self._test.initializer, {self._test.first: tests * self._test.together})


class ReportHook(tf.train.SessionRunHook):
  """Writes scalars, histograms and figures for TensorBoard, and reports progress.

  A training scalar is written as its mean over the steps since the last record. The test episode,
  and what is generated for it, have a session run of their own after the step: in the run of the
  step, some variables would be read before their update and some after.

  The kernels generated for a test episode are compared with those of the training episode of the
  same step. Only one update lies between the two, so the difference is that of the episodes.
  """

  def __init__(self, graph: TrainGraph, writer: EventWriter, bar: tqdm, figures: bool) -> None:
    """Build the histograms.

    Args:
      graph: The training graph, which is the default graph.
      writer: Writes the tensorboard.
      bar: Shows the progress; its total is the number of updates in all.
      figures: Whether figures of test episodes and histograms of gradients are written.
    """
    self._graph = graph
    self._writer = writer
    self._bar = bar
    self._fetches: dict[str, Any] = {'step': graph.step_done, 'metrics': graph.metrics}
    self._histograms = tensorboard.histogram_summary(graph.objective.weights)
    self._figure_steps = figure_steps(bar.total) if figures else 0
    if figures:
      self._figure_fetches = {
        'gradients': tensorboard.histogram_summary(optimizer.by_layer(graph.gradients)),
        'kernels': graph.objective.shown.get('kernels', {}),
      }
    self._records: list[dict[str, float]] = []  # the scalars of each step since the last record
    self._seen = 0  # the number of updates done after the last step

  def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
    """Read the step at which the run starts."""
    del coord
    self._seen = int(session.run(self._graph.global_step))

  def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
    """Fetch the scalars of the step, and what figures need if they are due."""
    del run_context
    if self._figure_steps and (self._seen + 1) % self._figure_steps == 0:
      return tf.train.SessionRunArgs({**self._fetches, 'figures': self._figure_fetches})
    return tf.train.SessionRunArgs(self._fetches)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """Keep the scalars of the step; write a record if it is due."""
    self._records.append(run_values.results['metrics'])
    step = int(run_values.results['step'])
    if self._passed(step, STEPS_PER_SUMMARY) or step >= self._bar.total:
      self._record(step, run_context.session, run_values.results.get('figures'))
    else:
      show(self._bar, step, '' if self._bar.postfix else describe(self._records[0]))
    self._seen = step

  def _passed(self, step: int, every: int) -> bool:
    """Return whether a multiple of `every` was reached; other workers make steps in between."""
    return step // every > self._seen // every

  def _record(self, step: int, session: tf.Session, figures: dict[str, Any] | None) -> None:
    """Write a record, with the values of `_figure_fetches` in this step if they were due."""
    means = means_of(self._records)
    self._records = []
    fetches: dict[str, Any] = {'metrics': self._graph.test_metrics}
    if self._passed(step, STEPS_PER_HISTOGRAM):
      if self._histograms is not None:
        fetches['histograms'] = self._histograms
      if self._figure_steps and self._graph.test_stream is not None:
        # Also if no figures are due: one more set of fetches would cost more, once, than this.
        fetches['shown'] = self._graph.objective.shown
    # One test episode for all of them: StreamHook counts one per record.
    test = session.run(fetches, {self._graph.testing: True})
    means |= {tag: float(value) for tag, value in test['metrics'].items()}
    scalars = {**means, tensorboard.CPU_SECONDS: time.process_time()}
    self._writer.add_summary(tensorboard.scalar_summary(scalars), step)
    if 'histograms' in test:
      self._writer.add_summary(test['histograms'], step)
    if figures is not None:
      self._writer.add_summary(figures['gradients'], step)
      if 'shown' in test:
        self._write_figures(step, test['shown'], figures['kernels'])
    show(self._bar, step, describe(means))

  def _write_figures(self, step: int, shown: dict[str, Any], before: dict[str, Any]) -> None:
    """Draw a test episode, and compare its kernels with those of the training episode."""
    record = episode_pictures.Record(**shown)
    changes = episode_pictures.kernel_changes(record, before, TEST_EPISODE)
    self._writer.add_summary(tensorboard.scalar_summary(changes), step)
    figures = episode_pictures.pictures(record, before, TEST_EPISODE)
    self._writer.add_summary(tensorboard.image_summary(figures), step)


def figure_steps(train_steps: int) -> int:
  """Return the number of steps between two figures, a multiple of STEPS_PER_FIGURE."""
  return STEPS_PER_FIGURE * max(1, -(-train_steps // (MOST_FIGURES * STEPS_PER_FIGURE)))


def means_of(records: Sequence[Scalars]) -> dict[str, float]:
  """Return the mean of each scalar, by tag; all records have the same tags."""
  return {tag: float(np.mean([record[tag] for record in records])) for tag in records[0]}


def describe(means: Scalars) -> str:
  """Return the loss and the accuracies of a record as one line; other scalars are ignored."""
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


class SignalHook(StopSignal, tf.train.SessionRunHook):
  """Ends the run after the current step on SIGTERM or Ctrl-C, so that a checkpoint is saved.

  The hook must also be the context of the whole run, as in `with SignalHook() as signals`. Then a
  signal that comes while the graph is built ends the run after its first step.
  """

  def __init__(self) -> None:
    """Say what the program does after the first signal."""
    super().__init__('saving a checkpoint and stopping after this step')

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    """End the run if a signal came."""
    del run_values
    if self.received is not None:
      run_context.request_stop()
