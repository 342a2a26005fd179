"""The evaluator that runs beside a continual training: what it writes, where and how often.

A stand-in takes the place of the evaluator of sequences and finds matrices.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

from hypertransformer.evaluation.measured import ResultFile
from hypertransformer.evaluation.sequence_evaluator import SequenceScores
from hypertransformer.settings import flags
from hypertransformer.settings.config import ContinualConfig

VALUES = flags.defaults() | {'continual_scenario': 'class_incremental', 'eval_num_tasks': 2}
SIZES = {'num_episodes': 2, 'num_batches': 1, 'batch_size': 75, 'values': VALUES}


@pytest.fixture
def continual(bench: Any) -> Any:
  """A bench whose evaluator finds the accuracies of two sequences of 2 tasks.

  Their mean is that of the checkpoint + .25 after the first task, and that of the checkpoint after
  the second.
  """

  def evaluate(preset: str, progress: Callable[[int, float], None]) -> SequenceScores:
    bench.evaluator.evaluated.append((preset, bench.evaluator.accuracy))
    bench.evaluator.during(preset, len(bench.evaluator.evaluated))
    progress(1, 0.5)
    mean = bench.evaluator.accuracy
    cells = [
      [[mean + 0.25, np.nan], [mean + shift - 0.05, mean + shift + 0.05]] for shift in (-0.05, 0.05)
    ]
    return SequenceScores(
      np.array(cells), np.array([0.25, 0.5]), ContinualConfig('class_incremental')
    )

  bench.evaluator.evaluate = evaluate
  bench.evaluator.unit = 'sequences'
  return bench


def table(folder: pathlib.Path) -> list[dict[str, str]]:
  with (folder / 'eval' / 'continual.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def test_a_line_has_the_ordinary_keys_and_the_matrix(continual: Any) -> None:
  continual.save(5, 0.5)
  continual.run(**SIZES)
  (line,) = continual.results()
  found = line.pop('continual')
  half = 1.959964 * 0.05  # the half-width of the interval of two values that are .1 apart
  assert {
    key: line[key] for key in ('checkpoint', 'step', 'preset', 'num_tasks', 'num_queries')
  } == {'checkpoint': 'model-5', 'step': 5, 'preset': 'val', 'num_tasks': 2, 'num_queries': 75}
  assert (line['accuracy'], line['ci95'], line['accuracy_disjoint']) == pytest.approx(
    (0.5, half, 0.375)
  )
  assert found['matrix'][0] == [pytest.approx(0.75), None]
  assert found['matrix'][1] == pytest.approx([0.45, 0.55])
  assert found['matrix_ci95'] == [[0.0, None], pytest.approx([half, half])]
  assert found['average_accuracy'] == pytest.approx([0.75, 0.5])
  assert (found['forgetting'], found['backward_transfer']) == pytest.approx((0.3, -0.3))
  assert found['forgetting_ci95'] == pytest.approx(half)
  assert (found['scenario'], found['method'], found['num_tasks']) == (
    'class_incremental',
    'continual_hypertransformer',
    2,
  )


def test_the_table_grows_with_the_lines_and_presets_may_have_any_name(continual: Any) -> None:
  continual.save(5, 0.5)
  continual.run(presets=('val', '../a, "b"/c'), **SIZES)
  continual.save(10, 0.25)
  continual.run(presets=('val', '../a, "b"/c'), **SIZES)
  last = [
    (row['step'], row['preset'], float(row['value']))
    for row in table(continual.folder)
    if row['measure'] == 'average_accuracy' and row['after_task'] == '2'
  ]
  assert last == [
    (str(line['step']), line['preset'], line['accuracy']) for line in continual.results()
  ]
  assert len(last) == 4
  assert {
    path.name
    for path in (continual.folder / 'eval').iterdir()
    if not path.name.startswith('events.')
  } == {'results.jsonl', 'flags.json', 'continual.csv'}


def test_a_restarted_evaluator_repeats_nothing_and_restores_the_table(continual: Any) -> None:
  """Flags that matter in training only may differ; those of the sequences may not."""
  continual.save(5, 0.5)
  continual.run(**SIZES)
  before = (continual.folder / 'eval' / 'continual.csv').read_text()
  (continual.folder / 'eval' / 'continual.csv').unlink()
  changes = {'num_tasks': 9, 'continual_loss_terms': 'last', 'gradient_norm_clip': 1.0}
  continual.run(**SIZES | {'values': VALUES | changes})
  assert continual.steps() == [5]
  assert (continual.folder / 'eval' / 'continual.csv').read_text() == before
  continual.run(**SIZES | {'values': VALUES | {'eval_num_tasks': 7}})
  assert continual.steps() == [5, 5]


def test_results_of_another_kind_do_not_count_as_done(continual: Any) -> None:
  """An evaluator of that kind may have ended before it found anything."""
  continual.save(5, 0.5)
  for values in (VALUES, VALUES | {'mixed_queries': True}, VALUES):
    continual.run(**SIZES | {'values': values})
  assert continual.steps() == [5, 5]


def test_the_best_is_the_one_with_the_best_average_after_the_last_task(continual: Any) -> None:
  for step, accuracy in ((5, 0.25), (10, 0.5), (15, 0.375)):
    continual.save(step, accuracy)
  continual.run(**SIZES)
  assert continual.best() == next(line for line in continual.results() if line['step'] == 10)


def test_tensorboard_has_scalars_and_a_picture_of_the_matrix(continual: Any) -> None:
  continual.save(5, 0.5)
  continual.run(**SIZES)
  found = {
    value.tag: (event.step, value)
    for path in (continual.folder / 'eval').glob('events.*')
    for event in tf.train.summary_iterator(str(path))
    for value in event.summary.value
    if not value.HasField('tensor')  # the pages of the run
  }
  assert {step for step, _ in found.values()} == {5}
  scalars = {
    tag: value.simple_value for tag, (_, value) in found.items() if not value.HasField('image')
  }
  assert scalars == pytest.approx(
    {
      'eval_accuracy/val': 0.5,
      'eval_accuracy_disjoint/val': 0.375,
      'eval_average_accuracy/val/after_task_1': 0.75,
      'eval_average_accuracy/val/after_task_2': 0.5,
      'eval_forgetting/val': 0.3,
      'eval_backward_transfer/val': -0.3,
    }
  )
  image = found['eval_matrix/val'][1].image
  with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
    assert picture.size == (image.width, image.height)


def test_progress_and_result_are_logged(continual: Any, monkeypatch: pytest.MonkeyPatch) -> None:
  continual.save(5, 0.5)
  clock = [0.0]
  monkeypatch.setattr(time, 'monotonic', lambda: clock[0])

  def wait(preset: str, number: int) -> None:
    clock[0] += 20.0

  continual.evaluator.during = wait
  continual.run(once=True, **SIZES)
  assert (
    'step 5  val  1 of 2 sequences  accuracy 50.0 %  0.1 sequences/s  20 s left' in continual.lines
  )
  assert (
    'step 5  val: 50.00 +- 9.80 % after 2 tasks, forgetting 30.0 +- 9.8 %, '
    'backward transfer -30.0 +- 9.8 %, 2 sequences x 75 queries of a task'
  ) in continual.lines


def test_the_result_of_a_single_sequence_is_valid_json(continual: Any) -> None:
  """There are no intervals then: they are null, and not NaN, which JSON does not know."""
  cells = np.array([[[0.5, np.nan], [0.25, 0.5]]])
  one = SequenceScores(cells, np.array([np.nan]), ContinualConfig('task_incremental'))
  continual.evaluator.evaluate = lambda preset, progress: one
  continual.save(5, 0.5)
  continual.run(**SIZES)
  text = (continual.folder / 'eval' / 'results.jsonl').read_text()
  line = json.loads(text, parse_constant=lambda word: pytest.fail(word))
  assert line['continual']['matrix_ci95'] == [[None, None], [None, None]]
  assert line['continual']['forgetting'] == 0.25
  assert ResultFile(continual.folder / 'eval' / 'results.jsonl').read() == [line]
