r"""Measure what the evaluation of a task costs.

  taskset -c 1 python benchmarks/evaluate.py --data_numpy_dir=./data_numpy_dir [--tasks=100] \
    [flags of a run]

A task has one support set and --num_eval_batches query batches of --eval_batch_size images. The
model is that of the flags of a run, with initial values; without such flags it is that of
scripts/omniglot_1shot_v1.sh (16 batches of 100). Times are given in units of the yardstick
(calibrate.py) and in milliseconds; docs/performance.md explains the units.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import yardstick  # isort: skip  (first: it chooses TensorFlow's kernels)

import tensorflow.compat.v1 as tf
from absl import app, flags

from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset
from hypertransformer.settings.config import Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training.graph import Inputs

from train_step import time_parts  # isort: skip  (beside this file)

TASKS = flags.DEFINE_integer('tasks', 100, 'tasks to time')
# Tasks of one evaluation, and of the one before the clock starts. To begin an evaluation costs as
# much as a few tasks.
WARM_UP = 50


def untrained(settings: Settings, inputs: Inputs, folder: str) -> str:
  """Write a checkpoint of the model with its initial values, and return its path."""
  with tf.Graph().as_default(), tf.Session() as session:
    graph_lib.build(settings, inputs)
    session.run(tf.global_variables_initializer())
    return tf.train.Saver().save(session, str(pathlib.Path(folder) / 'model'))


def main(argv: list[str]) -> None:
  """Measure and print the cost of a task."""
  del argv
  settings = yardstick.settings(num_task_evals=WARM_UP, seed=1)
  inputs, config = graph_lib.open_inputs(settings, seed=1), settings.evaluation
  preset = Preset('test', settings.data.test_dataset, inputs.test.class_set)
  evaluator = Evaluator(settings, [preset])
  with tempfile.TemporaryDirectory() as folder:
    evaluator.restore(untrained(settings, inputs, folder))
  evaluator.evaluate('test')
  units, cpu, wall = time_parts(
    lambda: evaluator.evaluate('test'), max(2, TASKS.value // WARM_UP), 2
  )
  cpu, wall = cpu / WARM_UP, wall / WARM_UP
  print(f'tensorflow {tf.__version__}; {units}')
  print(
    f'evaluation: {units.of(cpu):.2f} units per task of {config.num_batches} x '
    f'{config.batch_size} queries ({cpu:.1f} ms CPU, {wall:.1f} ms wall, {TASKS.value} tasks)'
  )


if __name__ == '__main__':
  app.run(main, argv=yardstick.begin(sys.argv[1:]))
