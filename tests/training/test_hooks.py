"""Session hooks, each in a monitored session that counts steps in place of training a model."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tqdm

from hypertransformer.episodes import pipeline
from hypertransformer.progress import progress
from hypertransformer.runtime import tensorboard
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
def counter() -> Any:
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


def run(counter: Counter, session_hooks: Sequence[tf.train.SessionRunHook], steps: int) -> int:
  """Runs at most so many steps, and returns the number of those done."""
  last = 0
  with tf.train.MonitoredSession(hooks=session_hooks) as session:
    while last < steps and not session.should_stop():
      last = int(session.run(counter.step_done))
  return last


def report(
  counter: Counter, folder: pathlib.Path, train_steps: int, every: int, histograms_every: int
) -> tuple[hooks.ReportHook, tensorboard.EventWriter]:
  """A ReportHook on the counter, and the writer that it uses."""
  writer = tensorboard.EventWriter(str(folder))
  graph: Any = types.SimpleNamespace(
    step_done=counter.step_done,
    global_step=counter.step,
    metrics={'loss/loss': counter.doubled},
    testing=counter.testing,
    test_metrics={'accuracy/test_accuracy': counter.test},
    weights={'generated_weights/layer_1/conv/kernel': tf.stack([counter.test, 0.5])},
  )
  bar = progress('step', train_steps)
  return hooks.ReportHook(graph, writer, bar, every, histograms_every), writer


def test_scalars_are_means_since_the_last_record(
  counter: Counter, tmp_path: pathlib.Path, read_events: Callable[[pathlib.Path], Any]
) -> None:
  hook, writer = report(counter, tmp_path, train_steps=7, every=3, histograms_every=6)
  run(counter, [hook], 7)
  writer.close()
  events = read_events(tmp_path)
  # The means of 2 * step over the steps 1..3, 4..6 and 7, which is the last one.
  assert events.scalars['loss/loss'] == {3: 4.0, 6: 10.0, 7: 14.0}
  assert events.scalars['accuracy/test_accuracy'] == {3: 3.0, 6: 6.0, 7: 7.0}
  assert events.histograms == {'generated_weights/layer_1/conv/kernel': [6]}


def test_the_test_episode_is_run_once_per_record(counter: Counter, tmp_path: pathlib.Path) -> None:
  """So it is also where histograms are due; a resumed run relies on it (see StreamHook)."""
  hook, _ = report(counter, tmp_path, train_steps=100, every=2, histograms_every=2)
  looked = []

  class Look(tf.train.SessionRunHook):
    def end(self, session: tf.Session) -> None:
      looked.append(int(session.run(counter.looked)))

  run(counter, [hook, Look()], 6)
  assert looked == [3]


def test_progress_has_the_means_of_the_last_record(
  counter: Counter, tmp_path: pathlib.Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
  """Before the first record, it has the scalars of the first step."""
  now = [100.0]
  monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
  hook, _ = report(counter, tmp_path, train_steps=12, every=4, histograms_every=100)

  class Tick(tf.train.SessionRunHook):
    def after_run(self, run_context: Any, run_values: Any) -> None:
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
def test_progress_has_loss_and_accuracies(means: dict[str, float], text: str) -> None:
  assert hooks.describe(means) == text


def test_a_scalar_summary_has_exactly_these_tags() -> None:
  summary = tensorboard.scalar_summary({'a/b': 0.5, 'c': 2.0})
  assert [(value.tag, value.simple_value) for value in summary.value] == [('a/b', 0.5), ('c', 2.0)]


def test_there_is_no_histogram_summary_of_nothing() -> None:
  assert tensorboard.histogram_summary({}) is None


class Stream:
  """Takes the place of an EpisodeStream, and remembers with which episode it was started."""

  def __init__(self, together: int) -> None:
    self.together = together
    self.share = pipeline.ALONE
    self.first = tf.placeholder(tf.int64, [])
    self.begun = tf.get_variable(f'begun_{id(self)}', initializer=np.int64(-1))
    self.initializer = tf.assign(self.begun, self.first).op


@pytest.mark.parametrize('together', [1, 4])
@pytest.mark.parametrize('with_test', [True, False])
def test_streams_start_at_the_restored_step(
  tmp_path: pathlib.Path, with_test: bool, together: int
) -> None:
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    streams = [Stream(together), Stream(together)]
    hook = hooks.StreamHook(step, streams[0], streams[1] if with_test else None, 100)  # type: ignore[arg-type]
    with tf.Session() as session:
      session.run([step.initializer, streams[1].begun.initializer])
      session.run(step.assign(250))
      hook.after_create_session(session, tf.train.Coordinator())
      begun = [250 * together, 2 * together][: 1 + with_test]
      assert session.run([stream.begun for stream in streams][: 1 + with_test]) == begun


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_the_guard_keeps_variables_that_are_not_finite_from_being_saved(
  counter: Counter, tmp_path: pathlib.Path, lines: list[str], bad: float
) -> None:
  weights = tf.get_variable('weights', initializer=np.zeros(3, np.float32))
  spoil = tf.assign(weights, [0.0, bad, 0.0])

  class Spoil(tf.train.SessionRunHook):
    """Spoils a variable after step 2, when the loss has been computed."""

    def after_run(self, run_context: Any, run_values: Any) -> None:
      if run_context.session.run(counter.step) == 2:
        run_context.session.run(spoil)

  saver = tf.train.CheckpointSaverHook(
    str(tmp_path),
    save_steps=1,
    checkpoint_basename='model',
    saver=tf.train.Saver(),
    listeners=[hooks.FiniteGuard()],
  )
  with pytest.raises(tf.train.NanLossDuringTrainingError):
    run(counter, [Spoil(), saver], 5)
  assert sorted(path.name for path in tmp_path.glob('*.index')) == [
    'model-0.index',
    'model-1.index',
  ]
  assert lines == ['Variables are not finite after step 2: no checkpoint is written.']


class Kill(tf.train.SessionRunHook):
  """Sends a signal to this process during step 2."""

  def __init__(self, number: int, test: tf.Tensor) -> None:
    self._number = number
    self._test = test

  def after_run(self, run_context: Any, run_values: Any) -> None:
    if run_context.session.run(self._test) == 2:
      os.kill(os.getpid(), self._number)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step(
  counter: Counter, lines: list[str], number: signal.Signals
) -> None:
  before = signal.getsignal(number)
  with hooks.SignalHook() as signals:
    assert signal.getsignal(number) != before
    assert run(counter, [Kill(number, counter.step), signals], 100) == 2
    assert signals.received == number
  assert signal.getsignal(number) == before
  assert lines == [f'{number.name}: saving a checkpoint and ending after this step.']


def test_a_signal_before_the_session_ends_the_run_after_its_first_step(
  counter: Counter, lines: list[str]
) -> None:
  with hooks.SignalHook() as signals:
    os.kill(os.getpid(), signal.SIGTERM)
    assert run(counter, [signals], 100) == 1


def test_handlers_are_put_back_when_the_run_fails() -> None:
  before = [signal.getsignal(number) for number in hooks.SignalHook.SIGNALS]
  with pytest.raises(ZeroDivisionError), hooks.SignalHook():
    raise ZeroDivisionError
  assert [signal.getsignal(number) for number in hooks.SignalHook.SIGNALS] == before
