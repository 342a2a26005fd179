"""A bench for the evaluator that runs beside a training.

The checkpoints on the bench hold a single variable, the accuracy. A stand-in takes the place of the
evaluator and reports this accuracy.
"""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.evaluation import daemon
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.metrics import Scores
from hypertransformer.evaluation.presets import Preset
from hypertransformer.settings import flags

OFFSETS = np.array([-0.25, 0.0, 0.0, 0.25])  # each task's accuracy minus the mean accuracy
VALUES = {
  'samples_transformer': 8,
  'num_task_evals': 4,
  'num_eval_batches': 2,
  'eval_batch_size': 20,
  'eval_timeout_secs': 0.1,
  'train_steps': 1000,
}


class StandIn:
  """Takes the place of an Evaluator, and finds the accuracy that the checkpoint holds.

  Attributes:
    evaluated: the preset and the accuracy of each evaluation so far.
    during: is called in every evaluation, with the preset and the number of the evaluation.
    scores: makes the scores from the mean accuracy.
  """

  unit = 'tasks'

  def __init__(self) -> None:
    with tf.Graph().as_default():
      self.variables = [tf.get_variable('accuracy', [])]
    self.accuracy = math.nan
    self.evaluated: list[tuple[str, float]] = []
    self.during: Callable[[str, int], None] = lambda preset, number: None
    self.scores: Callable[[float], Scores] = lambda mean: Scores(
      (mean + OFFSETS)[:, None, None], np.array([0.25, np.nan, 0.5, np.nan]), np.full(4, 0.75)
    )

  def restore(self, prefix: str) -> None:
    self.accuracy = float(tf.train.load_checkpoint(prefix).get_tensor('accuracy'))

  def evaluate(self, preset: str, progress: Callable[[int, float], None]) -> Scores:
    self.evaluated.append((preset, self.accuracy))
    self.during(preset, len(self.evaluated))
    progress(1, 0.5)
    return self.scores(self.accuracy)

  def pictures(self, preset: str) -> tf.Summary:
    return tf.Summary(value=[tf.Summary.Value(tag=f'episode/{preset}', image=tf.Summary.Image())])


class Bench:
  """The directory of a run, a stand-in for its evaluator, and daemons that use both.

  Attributes:
    lines: what is logged.
  """

  def __init__(self, folder: pathlib.Path, data_folder: pathlib.Path, lines: list[str]) -> None:
    self.folder = folder
    self.evaluator = StandIn()
    self.lines = lines
    self._classes = DataFolder(str(data_folder)).open('tiny:0-29')

  def save(
    self,
    step: int,
    accuracy: float,
    shape: tuple[int, ...] = (),
    with_step: bool = True,
    folder: pathlib.Path | None = None,
  ) -> str:
    """Writes the checkpoint model-<step>, as the trainer does, and returns its path."""
    with tf.Graph().as_default(), tf.Session() as session:
      tf.get_variable('accuracy', initializer=np.full(shape, accuracy, np.float32))
      if with_step:
        tf.get_variable('global_step', initializer=np.int64(step))
      session.run(tf.global_variables_initializer())
      return tf.train.Saver().save(
        session, str((folder or self.folder) / 'model'), global_step=step, write_meta_graph=False
      )

  def delete(self, step: int) -> None:
    """Deletes a checkpoint, as the trainer does."""
    for path in self.folder.glob(f'model-{step}.*'):
      path.unlink()

  def run(self, *presets: str, **changes: Any) -> None:
    """Runs a new daemon with flags until it ends, by default when nothing new comes for a moment.

    Args:
      presets: what it evaluates on; 'val' by default.
      changes: values of flags that are not those of VALUES.
    """
    chosen = [Preset(name, f'tiny:{name}', self._classes) for name in presets or ('val',)]
    values = flags.defaults() | VALUES | {'train_log_dir': str(self.folder)} | changes
    Daemon(self.evaluator, chosen, flags.settings_from(values)).run()  # type: ignore[arg-type]

  def results(self) -> list[dict[str, Any]]:
    path = self.folder / 'eval' / 'results.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

  def steps(self) -> list[int]:
    return [line['step'] for line in self.results()]

  def skipped(self) -> list[str]:
    return [line for line in self.lines if line.startswith('Skipping a checkpoint: ')]

  def best(self) -> dict[str, Any]:
    return json.loads((self.folder / 'best' / 'best.json').read_text())


@pytest.fixture
def bench(
  tmp_path: pathlib.Path, data_folder: pathlib.Path, lines: list[str], monkeypatch: Any
) -> Bench:
  monkeypatch.setattr(daemon, 'BASELINE_TASKS', 2)
  monkeypatch.setattr(daemon, 'SECONDS_BETWEEN_POLLS', 0.1)
  (tmp_path / 'logs').mkdir()
  return Bench(tmp_path / 'logs', data_folder, lines)
