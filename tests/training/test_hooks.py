"""The session hooks, on a graph that counts steps: records, streams, figures and signals."""

from __future__ import annotations

import dataclasses
import os
import signal
import types
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tqdm

from hypertransformer.episodes import pipeline
from hypertransformer.progress import progress
from hypertransformer.runtime import signals as signals_lib
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.training import hooks


@dataclasses.dataclass
class Counter:
  """The tensors of a graph that counts steps.

  Attributes:
    step: the number of steps done.
    step_done: running it makes one step.
    doubled: twice the number of steps, after a step.
    testing: a placeholder, usually False.
    test: the number of steps if True is fed to `testing`, and otherwise -1.
    looked: how often `test` was run.
  """

  step: tf.Tensor
  step_done: tf.Tensor
  doubled: tf.Tensor
  testing: tf.Tensor
  test: tf.Tensor
  looked: tf.Variable


@pytest.fixture
def counter():
  """A Counter in a default graph of its own."""
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    looked = tf.get_variable('looked', initializer=0)
    with tf.control_dependencies([tf.assign_add(step, 1)]):
      done = step.read_value()
    testing = tf.placeholder_with_default(False, [])
    with tf.control_dependencies([tf.assign_add(looked, 1)]):
      test = tf.where(testing, tf.cast(step.read_value(), tf.float32), -1.0)
    yield Counter(step.read_value(), done, 2.0 * tf.cast(done, tf.float32), testing, test, looked)


def run(counter, session_hooks, steps):
  """Runs at most this many steps, and returns the number of those done."""
  last = 0
  with tf.train.MonitoredSession(hooks=session_hooks) as session:
    while last < steps and not session.should_stop():
      last = int(session.run(counter.step_done))
  return last


def report(counter, folder, train_steps):
  """A ReportHook on the counter, and the writer that it uses."""
  writer = EventWriter(str(folder))
  graph: Any = types.SimpleNamespace(
    step_done=counter.step_done,
    global_step=counter.step,
    metrics={'loss/loss': counter.doubled},
    testing=counter.testing,
    test_metrics={'accuracy/test_accuracy': counter.test},
    objective=types.SimpleNamespace(
      weights={'generated_weights/layer_1/conv/kernel': tf.stack([counter.test, 0.5])}
    ),
  )
  return hooks.ReportHook(graph, writer, progress('step', train_steps), False), writer


@pytest.fixture
def every(monkeypatch):
  """every(summary, histogram): sets the steps between two records, and between two histograms."""

  def set_steps(summary, histogram):
    monkeypatch.setattr(hooks, 'STEPS_PER_SUMMARY', summary)
    monkeypatch.setattr(hooks, 'STEPS_PER_HISTOGRAM', histogram)

  return set_steps


def test_scalars_are_means_since_the_last_record(counter, tmp_path, read_events, every):
  every(3, 6)
  hook, writer = report(counter, tmp_path, train_steps=7)
  run(counter, [hook], 7)
  writer.close()
  events = read_events(tmp_path)
  # The means of 2 * step over the steps 1..3, 4..6 and 7, which is the last one.
  assert events.scalars['loss/loss'] == {3: 4.0, 6: 10.0, 7: 14.0}
  assert events.scalars['accuracy/test_accuracy'] == {3: 3.0, 6: 6.0, 7: 7.0}
  assert events.histograms == {'generated_weights/layer_1/conv/kernel': [6]}


def test_the_test_episode_is_run_once_per_record(counter, tmp_path, every):
  """So it is also where histograms are due; a resumed run relies on it (see StreamHook)."""
  every(2, 2)
  hook, _ = report(counter, tmp_path, train_steps=100)
  looked = []

  class Look(tf.train.SessionRunHook):
    def end(self, session):
      looked.append(int(session.run(counter.looked)))

  run(counter, [hook, Look()], 6)
  assert looked == [3]


# Progress.


def test_progress_has_the_means_of_the_last_record(counter, tmp_path, lines, monkeypatch, every):
  """Before the first record, it has the scalars of the first step."""
  now = [100.0]
  monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
  every(4, 100)
  hook, _ = report(counter, tmp_path, train_steps=12)

  class Tick(tf.train.SessionRunHook):
    def after_run(self, run_context, run_values):
      now[0] += 5.0

  run(counter, [Tick(), hook], 8)
  assert [line.rpartition(', ')[0] for line in lines] == [
    'step: 2/12, loss 2.000,  0.20/s',
    # The loss is the mean of 2 * (1..4).
    'step: 4/12, loss 5.000, test 400.0 %,  0.20/s',
    'step: 6/12, loss 5.000, test 400.0 %,  0.20/s',
    'step: 8/12, loss 13.000, test 800.0 %,  0.20/s',
  ]


@pytest.mark.parametrize(
  ('means', 'text'),
  [
    (
      {'loss/loss': 1.25, 'accuracy/accuracy': 0.5, 'accuracy/test_accuracy': 0.25},
      'loss 1.250, acc 50.0 %, test 25.0 %',
    ),
    (
      {'loss/shared_head_loss': 2.0, 'accuracy/shared_head_accuracy': 0.125},
      'loss 2.000, real classes 12.5 %',
    ),
  ],
)
def test_progress_has_loss_and_accuracies(means, text):
  assert hooks.describe(means) == text


# Streams.


class Stream:
  """Takes the place of an EpisodeStream, and remembers with which episode it was started."""

  def __init__(self, together):
    self.together = together
    self.share = pipeline.ALONE
    self.first = tf.placeholder(tf.int64, [])
    self.begun = tf.get_variable(f'begun_{id(self)}', initializer=np.int64(-1))
    self.initializer = tf.assign(self.begun, self.first).op


@pytest.mark.parametrize('together', [1, 4])
def test_streams_start_at_the_restored_step(together):
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    train, test = Stream(together), Stream(together)
    graph: Any = types.SimpleNamespace(global_step=step, train_stream=train, test_stream=test)
    with tf.Session() as session:
      session.run([step.initializer, test.begun.initializer])
      session.run(step.assign(250))
      hooks.StreamHook(graph, with_test=False).after_create_session(session, tf.train.Coordinator())
      assert session.run([train.begun, test.begun]) == [250 * together, -1]
      hooks.StreamHook(graph).after_create_session(session, tf.train.Coordinator())
      assert session.run([train.begun, test.begun]) == [250 * together, 2 * together]


# Figures.


@pytest.mark.parametrize(
  ('train_steps', 'every_steps'),
  [(10, 2000), (200_000, 2000), (200_001, 4000), (4_000_000, 40_000)],
)
def test_figures_come_at_most_a_hundred_times(train_steps, every_steps):
  assert hooks.figure_steps(train_steps) == every_steps


@pytest.mark.parametrize(
  'changes', [{'episodes_per_step': 2}, {'continual_scenario': 'class_incremental'}]
)
def test_other_steps_compute_nothing_for_figures(settings_of, build, changes):
  """The ops of an ordinary step are those of a graph without figures."""
  built = build(settings_of(**changes))
  ops = built.ops
  with built.graph.as_default():
    before = len(built.graph.get_operations())
    hook = hooks.ReportHook(ops, None, progress('step', 10), True)  # type: ignore[arg-type]
    added = built.graph.get_operations()[before:]
    fetched = tf.nest.flatten(hook.before_run(None).fetches)
    names = [tensor.op.name for tensor in (*fetched, ops.objective.loss)]
    graph = tf.graph_util.extract_sub_graph(built.graph.as_graph_def(), names)
  needed = {node.name for node in graph.node}
  shown = [ops.objective.shown[name] for name in ('predicted', 'kernels', 'attention')]
  only_shown = {x.op.name for x in tf.nest.flatten(shown)}
  assert added
  assert only_shown
  assert needed.isdisjoint({op.name for op in added} | only_shown)


@pytest.mark.parametrize(
  'changes',
  [
    {'episodes_per_step': 2},
    {'continual_scenario': 'mini_batch'},
    {'continual_scenario': 'class_incremental', 'continual_method': 'constant_protonet'},
    {'warmup_steps': 2, 'unlabeled_samples_per_class': 1, 'layerwise_generator': 'separate'},
    {
      'pretrain_shared_feature': True,
      'shared_feature_extractor': '2-layer',
      'shared_features_dim': 4,
    },
  ],
  ids=str,
)
def test_every_kind_of_episode_is_drawn(
  make_values, run_training, read_events, tmp_path, monkeypatch, changes
):
  for name in ('STEPS_PER_SUMMARY', 'STEPS_PER_HISTOGRAM', 'STEPS_PER_FIGURE'):
    monkeypatch.setattr(hooks, name, 2)
  run_training(make_values(train_log_dir=str(tmp_path), train_steps=2, seed=1, **changes))
  events = read_events(tmp_path / 'train')
  figures = events.pictures
  assert any(tag.startswith('gradients/') for tag in events.histograms)
  if 'pretrain_shared_feature' in changes:
    assert figures == {}
    return
  assert {'episode/test_episode', 'confusion/test_episode'} <= set(figures)
  assert ('accuracy_matrix/test_episode' in figures) == ('continual_scenario' in changes)
  with_kernels = changes.get('continual_method') != 'constant_protonet'
  assert ('kernels/test_episode/layer_4' in figures) == with_kernels
  assert all(steps == [2] for steps in figures.values())


# Signals.


class Kill(tf.train.SessionRunHook):
  """Sends a signal to this process during step 2."""

  def __init__(self, number, step):
    self._number = number
    self._step = step

  def after_run(self, run_context, run_values):
    if run_context.session.run(self._step) == 2:
      os.kill(os.getpid(), self._number)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step(counter, lines, number):
  before = signal.getsignal(number)
  with hooks.SignalHook() as signals:
    assert run(counter, [Kill(number, counter.step), signals], 100) == 2
    assert signals.received == number
  assert signal.getsignal(number) == before
  assert number.name in lines[0]


def test_a_signal_before_the_session_ends_the_run_after_its_first_step(counter):
  with hooks.SignalHook() as signals:
    os.kill(os.getpid(), signal.SIGTERM)
    assert run(counter, [signals], 100) == 1


def test_handlers_are_put_back_when_the_run_fails():
  before = [signal.getsignal(number) for number in signals_lib.STOPPING]
  with pytest.raises(ZeroDivisionError), hooks.SignalHook():
    raise ZeroDivisionError
  assert [signal.getsignal(number) for number in signals_lib.STOPPING] == before
