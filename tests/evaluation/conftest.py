"""A bench for the evaluator that runs beside a training.

The checkpoints on the bench hold a single variable, the accuracy. A stand-in takes the place of the
task evaluator and reports this accuracy.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.evaluator import Found
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.task_evaluator import Scores
from hypertransformer.settings import flags
from hypertransformer.settings.config import EvalConfig

OFFSETS = np.array([-0.25, 0.0, 0.0, 0.25])  # each task's accuracy minus the mean accuracy


def _save(
  folder: pathlib.Path, step: int, accuracy: float, shape: tuple[int, ...], with_step: bool
) -> str:
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable('accuracy', initializer=np.full(shape, accuracy, np.float32))
    if with_step:
      tf.get_variable('global_step', initializer=np.int64(step))
    session.run(tf.global_variables_initializer())
    return tf.train.Saver().save(
      session, str(folder / 'model'), global_step=step, write_meta_graph=False
    )


class Evaluator:
  """Takes the place of an Evaluator, and finds the accuracy that the checkpoint holds.

  Attributes:
    evaluated: the preset and the accuracy of each evaluation so far.
    during: is called in every evaluation, with the preset and the number of the evaluation.
  """

  unit = 'tasks'

  def __init__(self) -> None:
    with tf.Graph().as_default():
      self.variables = [tf.get_variable('accuracy', [])]
    self.accuracy = math.nan
    self.evaluated: list[tuple[str, float]] = []
    self.during: Callable[[str, int], None] = lambda preset, number: None

  def restore(self, prefix: str) -> None:
    self.accuracy = float(tf.train.load_checkpoint(prefix).get_tensor('accuracy'))

  def evaluate(self, preset: str, progress: Callable[[int, float], None]) -> Found:
    self.evaluated.append((preset, self.accuracy))
    self.during(preset, len(self.evaluated))
    progress(1, 0.5)
    mean = self.accuracy + (0.125 if preset == 'train' else 0.0)
    return Scores((mean + OFFSETS).astype(np.float32), np.array([0.25, np.nan, 0.5, np.nan]))

  def pictures(self, preset: str) -> tf.Summary:
    return tf.Summary(value=[tf.Summary.Value(tag=f'episode/{preset}', image=tf.Summary.Image())])


class Bench:
  """The folder of a run, a stand-in for its evaluator, and daemons that use both.

  Attributes:
    lines: what is logged.
  """

  def __init__(self, folder: pathlib.Path, lines: list[str]) -> None:
    self.folder = folder
    self.evaluator = Evaluator()
    self.lines = lines

  def save(
    self,
    step: int,
    accuracy: float,
    shape: tuple[int, ...] = (),
    with_step: bool = True,
    folder: pathlib.Path | None = None,
  ) -> str:
    """Writes the checkpoint model-<step>, as the trainer does, and returns its path."""
    return _save(folder or self.folder, step, accuracy, shape, with_step)

  def run(
    self,
    train_steps: int = 1000,
    presets: tuple[str, ...] = ('val',),
    values: dict[str, Any] | None = None,
    **config: Any,
  ) -> None:
    """Runs a new daemon until it ends, by default when nothing new comes for a moment."""
    chosen = [Preset(name, f'tiny:{name}', None) for name in presets]  # type: ignore[arg-type]
    config = {'num_episodes': 4, 'num_batches': 2, 'batch_size': 50, 'timeout_secs': 0.1} | config
    values = values or flags.defaults()
    settings = flags.settings_from(
      values | {'train_log_dir': str(self.folder), 'train_steps': train_steps}
    )
    settings = dataclasses.replace(settings, evaluation=EvalConfig(**config), flag_values=values)
    Daemon(self.evaluator, chosen, settings).run()  # type: ignore[arg-type]

  def results(self) -> list[dict[str, Any]]:
    path = self.folder / 'eval' / 'results.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

  def steps(self) -> list[int]:
    return [line['step'] for line in self.results()]

  def warnings(self) -> list[str]:
    return [line for line in self.lines if 'is left out' in line]

  def best(self) -> dict[str, Any]:
    return json.loads((self.folder / 'best' / 'best.json').read_text())


@pytest.fixture
def bench(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
  lines: list[str] = []
  for level in ('info', 'warning', 'error'):
    monkeypatch.setattr(logging, level, lambda text, *args: lines.append(text % args))
  (tmp_path / 'logs').mkdir()
  return Bench(tmp_path / 'logs', lines)
